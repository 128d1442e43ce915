//! The main job on a real cluster: the chart from Helm, the quickstart as a newcomer applies it, and what holds then.
//!
//! All tests of this module share one installation; each takes it for itself and leaves it as it was.

mod active_client;
mod agent_pod;
mod audit;
mod certificates;
mod fail_over;
mod full_node;
mod identities;
mod injection;
mod installation;
mod leader_watch;
mod liveness;
mod logins;
mod members;
mod operator;
mod restarts;
mod rollout;
mod root;
mod services;
mod shell;
mod volumes;
