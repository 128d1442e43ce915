//! The program of the agent; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider in the whole process, before anything could connect.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    vaultkeeper_agent::main(std::env::args().skip(1), &|name| std::env::var(name).ok())
}
