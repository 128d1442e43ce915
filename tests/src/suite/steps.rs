//! The Cargo commands of each tier. All name the whole workspace: with the same features nothing is compiled twice.

use std::num::NonZero;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Tier;
use crate::cargo;

/// The tiers that are one test program each, in the package of the testbed.
const SERVER_TIERS: [&str; 3] = ["api", "vault", "e2e"];

/// The crates that the agent must never contain: it runs in every pod.
const NOT_IN_AGENT: [&str; 5] = ["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi"];

/// TLS stacks other than rustls with ring.
const NOWHERE: [&str; 4] = ["openssl-sys", "aws-lc-sys", "aws-lc-rs", "native-tls"];

/// What a tier runs.
pub(super) fn of(tier: Tier) -> anyhow::Result<Vec<Command>> {
    Ok(match tier {
        Tier::Fmt => vec![cargo_with(&["fmt", "--all", "--", "--check"])],
        Tier::Lint => vec![cargo_with(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])],
        Tier::Unit => vec![unit()?],
        Tier::Api | Tier::E2e => vec![test_programs(&[tier.name()])],
        Tier::Vault => {
            let mut command = test_programs(&[tier.name()]);
            command.args(["--", &format!("--test-threads={}", waiting_threads())]);
            vec![command]
        }
        Tier::Long => {
            let mut command = test_programs(&SERVER_TIERS);
            command.args(["--", "--ignored"]);
            vec![command]
        }
    })
}

/// How many tests run at a time where they wait for servers far more than they compute: five for two cores.
fn waiting_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (5 * cores).div_ceil(2).min(8)
}

/// Unit tests, and the tests folders of all packages but ours.
fn unit() -> anyhow::Result<Command> {
    let mut command = cargo_with(&[
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--lib",
        "--bins",
    ]);
    let output = cargo_with(&["metadata", "--no-deps", "--locked", "--format-version=1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata = serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")?;
    for name in test_targets(&metadata) {
        if !SERVER_TIERS.contains(&name.as_str()) {
            command.args(["--test", &name]);
        }
    }
    Ok(command)
}

/// The names of all integration test programs, sorted.
fn test_targets(metadata: &Value) -> Vec<String> {
    let empty = Vec::new();
    let list = |value: &Value, key: &str| value[key].as_array().unwrap_or(&empty).clone();
    let mut names: Vec<String> = list(metadata, "packages")
        .iter()
        .flat_map(|package| list(package, "targets"))
        .filter(|target| list(target, "kind").contains(&Value::from("test")))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn test_programs(names: &[&str]) -> Command {
    let mut command = cargo_with(&["test", "--workspace", "--locked"]);
    for name in names {
        command.args(["--test", name]);
    }
    command
}

fn cargo_with(args: &[&str]) -> Command {
    let mut command = cargo::command();
    command.args(args);
    command
}

/// Who may not depend on what, seen in what Cargo resolves.
pub(super) fn check_dependencies() -> anyhow::Result<()> {
    check_tree(&["-p", "vaultkeeper-agent"], &NOT_IN_AGENT, "the agent")?;
    check_tree(&["--workspace"], &NOWHERE, "the workspace")
}

fn check_tree(of: &[&str], forbidden: &[&str], whose: &str) -> anyhow::Result<()> {
    let mut command = cargo_with(&[
        "tree",
        "--locked",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ]);
    let output = command.args(of).output().context("cannot run cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = found_in(&tree, forbidden);
    ensure!(
        found.is_empty(),
        "{whose} must not depend on {}: cargo tree --edges=normal {} --invert {0}",
        found.join(", "),
        of.join(" ")
    );
    Ok(())
}

fn found_in<'a>(tree: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    forbidden
        .iter()
        .copied()
        .filter(|name| names.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        let tree = "vaultkeeper-agent v0.1.0 (/x)\nkube-core v5.0.0\nkube v5.0.0\n";
        assert_eq!(
            found_in(tree, &["kube", "kube-client"]),
            ["kube"],
            "what is forbidden in {tree}"
        );
    }

    #[test]
    fn a_package_that_depends_on_what_it_must_not_is_refused() {
        let refused = check_tree(&["-p", "vaultkeeper-operator"], &NOT_IN_AGENT, "the agent");
        let message = refused
            .expect_err("the operator has a Kubernetes client")
            .to_string();
        for name in ["kube,", "kube-client", "k8s-openapi"] {
            assert!(message.contains(name), "{name} should be named: {message}");
        }
        let agent = check_tree(&["-p", "vaultkeeper-agent"], &["rustls", "ring"], "the agent");
        assert!(agent.is_err(), "it is seen what is behind other crates");
        check_dependencies().expect("the workspace keeps to its rules");
    }

    #[test]
    fn the_test_programs_of_all_packages_are_found() {
        let metadata = json!({"packages": [
            {"targets": [{"kind": ["lib"], "name": "a"}, {"kind": ["test"], "name": "golden"}]},
            {"targets": [{"kind": ["test"], "name": "api"}, {"kind": ["test"], "name": "golden"}]},
        ]});
        assert_eq!(
            test_targets(&metadata),
            ["api", "golden"],
            "the names of test programs"
        );
    }
}
