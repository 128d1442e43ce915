//! Calling Cargo from a program that Cargo itself may have started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What Cargo sets for the programs it runs, about their package. Build scripts (ring's) watch these:
/// passed on, they would make Cargo build such crates again at every call.
const LEAKING: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
];

/// The folder of the workspace's Cargo.toml.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// `cargo`, to be run in the workspace's folder, with an environment as from a shell.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| LEAKING.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command
}
