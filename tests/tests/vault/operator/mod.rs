//! The operator in this process, against a real API server and real Vault servers.

mod bootstrap;
mod crash;
mod faults;
mod ownership;
mod roles;
mod seals;
pub(crate) mod stage;
