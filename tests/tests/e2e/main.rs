//! The tier `e2e`: a whole cluster with a real node, shared by all tests of this program. It needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod leftovers;
mod main_job;
mod shared;
mod smoke;
