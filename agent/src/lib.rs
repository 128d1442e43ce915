//! The agent beside an application: logs in to Vault, keeps its token alive, renders secrets into files.
//!
//! What decides (configuration, schedules, backoff) is pure; what does I/O is named for it: `connection`, `login`,
//! `session`, `fetch`, `write`, `logging`, `run`. Two programs of their own are in the same binary: `exec` starts an
//! application with variables that the agent rendered, `reload` is the helper of a Vault server. It never depends on a Kubernetes client.

mod after;
mod arguments;
mod away;
mod backoff;
mod certificate;
mod check;
mod children;
pub mod config;
mod connection;
mod credentials;
mod der;
mod escape;
mod exec;
mod fetch;
mod gather;
mod install;
mod issue;
mod kv;
mod listen;
mod logging;
mod login;
mod outputs;
mod processes;
mod quiet;
mod random;
mod ready;
mod refresh;
mod reload;
mod renderer;
mod revoke;
mod run;
mod seen;
mod session;
mod side_files;
mod signals;
mod sinks;
mod store;
mod supervise;
mod templates;
mod tenure;
mod token;
mod uses;
mod version;
mod work;
mod write;

pub use run::main;
