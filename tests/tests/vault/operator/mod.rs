//! The operator in this process, against a real API server and real Vault servers.

mod audit_receiver;
mod auto_unseal;
mod bootstrap;
mod certificates;
mod certificates_of_others;
mod claims;
mod configuration;
mod configuration_drift;
mod configuration_failing;
mod configuration_refused;
mod consul;
mod crash;
mod faults;
mod kubelet_stand_in;
mod login;
mod names;
mod ownership;
mod pods;
mod readiness;
mod rendered;
mod roles;
mod rollout;
mod rollout_watch;
mod seals;
mod side_data;
pub(crate) mod stage;
mod storage;
