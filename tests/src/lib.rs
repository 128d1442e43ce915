//! The testbed: real servers on one machine, and what the tiers of tests need to run against them.
//!
//! `api` and `vault` need no root (loopback, free ports); `e2e` runs a whole node in a network namespace of its own.

pub mod cli;
pub mod proc_table;
pub mod process;
pub mod reaper;
pub mod run_dir;
pub mod wait;
