//! The operator in this process, against a real API server and real Vault servers.

mod bootstrap;
mod crash;
mod roles;
mod seals;
mod stage;
