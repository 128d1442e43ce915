//! The operator in this process, against a real API server and real Vault servers.

mod bootstrap;
mod claims;
mod crash;
mod faults;
mod login;
mod ownership;
mod roles;
mod seals;
mod side_data;
pub(crate) mod stage;
