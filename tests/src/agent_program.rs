//! The agent's program, built for this machine as cargo builds for tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;

use crate::cargo;

/// The program, built by whoever asks first.
pub fn path() -> anyhow::Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

fn build() -> anyhow::Result<PathBuf> {
    let mut command = cargo::command();
    command.args([
        "build",
        "-p",
        "vaultkeeper-agent",
        "--bin",
        "vaultkeeper-agent",
        "--locked",
        "--message-format=json",
    ]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo could not build the agent");
    let messages = String::from_utf8(output.stdout)?;
    let mut executables = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().context("cargo named no executable")
}
