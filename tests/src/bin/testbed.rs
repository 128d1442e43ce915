//! The testbed's program: see `vaultkeeper_tests::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vaultkeeper_tests::install_crypto();
    match vaultkeeper_tests::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line of causes: a backtrace would say nothing to whoever runs a testbed.
            vaultkeeper_tests::progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
