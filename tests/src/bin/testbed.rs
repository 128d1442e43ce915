//! The testbed's program: see `vaultkeeper_tests::cli`.
fn main() {}
