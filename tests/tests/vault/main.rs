//! The tier `vault`: real Vault processes on loopback. Each test starts its own and takes them down with its run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod agent;
mod agent_after;
mod agent_away;
mod agent_clock;
mod agent_database;
mod agent_engines;
mod agent_faults;
mod agent_files;
mod agent_forwarder;
mod agent_kubernetes;
mod agent_login;
mod agent_members;
mod agent_outside;
mod agent_program;
mod agent_refresh;
mod agent_support;
mod agent_templates;
mod agent_token;
mod audit_rotation;
mod client;
mod client_auth;
mod client_engine;
mod client_faults;
mod client_support;
mod operator;
mod servers;

/// The program that reapers run.
const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
