//! The operator in this process, against a real API server and real Vault servers.

mod bootstrap;
mod crash;
mod faults;
mod roles;
mod seals;
mod stage;
