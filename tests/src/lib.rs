//! The testbed: real servers on one machine, and what the tiers of tests need to run against them.
//!
//! `api` and `vault` need no root (loopback, free ports); `e2e` runs a whole node in a network namespace of its own.

pub mod agent_program;
pub mod cargo;
pub mod certs;
pub mod cli;
pub mod cluster;
pub mod consul_server;
pub mod control_plane;
pub mod coredns;
pub mod demo;
pub mod helm;
pub mod images;
pub mod invocation;
pub mod measure;
pub mod netns;
pub mod node;
pub mod packages;
pub mod points;
pub mod ports;
pub mod postgres;
pub mod proc_table;
pub mod process;
pub mod process_kubelet;
pub mod progress;
pub mod provisioner;
pub mod reaper;
pub mod run_dir;
pub mod s3_server;
pub mod servers;
pub mod suite;
pub mod vault_server;
pub mod wait;

/// Makes ring the process's only provider of TLS. Calling it again changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
