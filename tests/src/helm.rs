//! The real Helm and our chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::servers::{self, Server};

/// The chart's folder in the checkout.
pub fn chart() -> PathBuf {
    repository().join("charts/vaultkeeper")
}

/// The folder of the checkout.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A `helm` command. It keeps what it writes in `home`, and looks at no configuration of the user.
pub fn command(home: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(servers::path(Server::Helm)?);
    isolate(&mut command, home);
    Ok(command)
}

/// Points Helm's folders into `home` and takes the user's cluster and settings out of its sight.
pub fn isolate(command: &mut Command, home: &Path) {
    // HELM_KUBECONTEXT, HELM_KUBEAPISERVER, HELM_NAMESPACE and others would each lead elsewhere.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("HELM_") {
            command.env_remove(variable);
        }
    }
    command
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_DATA_HOME", home.join("data"))
        .env_remove("KUBECONFIG");
}

/// Takes the variables out of Helm's sight that lead it to another cluster, user or namespace than its arguments say.
pub fn only_where_told(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("HELM_KUBE") || name == "HELM_NAMESPACE" {
            command.env_remove(&variable);
        }
    }
}

/// Runs a command to its end and gives what it printed; its complaint is the error.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = PathBuf::from(command.get_program());
    let name = name.file_name().unwrap_or_default().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
