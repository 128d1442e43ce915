//! The tier `api`: a real etcd, API server and controller manager, shared by all tests of this program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod alerts;
mod chart;
mod control_plane;
mod crds;
mod demo;
mod docs;
mod injector;
mod leader;
mod reaper;
mod role;
mod setup;
mod shared;
mod unprivileged;
