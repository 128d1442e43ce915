//! What is told before anything runs: by `tests/prepare` about toolchains and packages, by the testbed about servers
//! and tiers, and by make about the demo's cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use vaultkeeper_tests::helm;

use crate::shared::TESTBED;

/// A folder of programs that say what they are told to.
struct Programs(tempfile::TempDir);

impl Programs {
    /// A machine where nothing is missing and the user has no rights.
    fn fine() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        programs.add("cargo", "");
        programs.add("rustc", "echo 'rustc 1.95.0 (59807616e 2026-04-14)'");
        programs.add("go", "echo go1.26.8");
        programs.add("id", "echo 1000");
        programs
    }

    fn add(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a copy of `tests/prepare` with this list of packages.
    fn prepare(&self, packages: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("prepare");
        fs::copy(helm::repository().join("tests/prepare"), &script).unwrap();
        fs::write(folder.path().join("packages.txt"), packages).unwrap();
        Command::new("sh")
            .arg(&script)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.path().display()))
            .output()
            .unwrap()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_machine_with_all_it_needs_is_told_nothing() {
    let output = Programs::fine().prepare("sh  dash  build\n");
    assert!(output.status.success(), "nothing is missing: {}", said(&output));
    assert_eq!(said(&output), "", "nothing should be said");
}

#[test]
fn a_toolchain_that_is_too_old_is_named_with_what_to_install() {
    let programs = Programs::fine();
    programs.add("rustc", "echo 'rustc 1.63.0 (Debian)'");
    let output = programs.prepare("");
    let expected =
        "prepare: Rust 1.63.0 is too old: install Rust 1.89 or newer (stable) from https://rustup.rs";
    assert!(
        !output.status.success() && said(&output).starts_with(expected),
        "expected {expected:?}, got: {}",
        said(&output)
    );

    let programs = Programs::fine();
    programs.add("go", "echo go1.19.8");
    let output = programs.prepare("");
    let expected = "prepare: Go 1.19.8 is too old: install Go 1.26 or newer from https://go.dev/dl/";
    assert!(
        !output.status.success() && said(&output).starts_with(expected),
        "expected {expected:?}, got: {}",
        said(&output)
    );
}

#[test]
fn a_missing_package_is_named_in_one_line_with_the_command_to_type() {
    let output = Programs::fine().prepare("no-such-program  some-package  build\n");
    let expected =
        "prepare: missing: some-package. As root: apt-get install --no-install-recommends some-package\n";
    assert!(!output.status.success(), "nothing can be built without it");
    assert_eq!(said(&output), expected);
}

#[test]
fn a_package_that_only_the_node_needs_does_not_hinder_the_other_tiers() {
    let output = Programs::fine().prepare("no-such-program  some-package  node\n");
    assert!(output.status.success(), "the tiers without a node can run");
    assert_eq!(
        said(&output),
        "prepare: the tier e2e and the demo need more packages. As root: apt-get install --no-install-recommends some-package\n"
    );
}

#[test]
fn ready_servers_are_taken_from_the_folder_that_a_variable_names() {
    let ready = Programs::fine();
    ready.add("vault", "");
    ready.add("etcd", "");
    for variable in ["TESTBED_ASSETS", "KUBEBUILDER_ASSETS"] {
        let output = Command::new(TESTBED)
            .args(["build", "vault", "etcd"])
            .env(variable, ready.path())
            .output()
            .unwrap();
        for server in ["vault", "etcd"] {
            let line = format!("{server}: {}", ready.path().join(server).display());
            assert!(
                output.status.success() && said(&output).contains(&line),
                "with {variable} the testbed should say {line:?}, it says: {}",
                said(&output)
            );
        }
    }
}

#[test]
fn a_tier_that_cannot_run_says_why_and_fails_only_in_ci() {
    // Whoever runs this: a search path without any program lacks what a node needs.
    let nothing = tempfile::tempdir().unwrap();
    let test_e2e = |ci: &str| {
        Command::new(TESTBED)
            .args(["test", "e2e"])
            .env("PATH", nothing.path())
            .env("CI", ci)
            .output()
            .unwrap()
    };
    let (for_a_person, in_ci) = (test_e2e("false"), test_e2e("true"));
    assert!(
        for_a_person.status.success() && said(&for_a_person).contains("not run: "),
        "a person should be told that the tier was not run, and why: {}",
        said(&for_a_person)
    );
    assert!(
        !in_ci.status.success() && said(&in_ci).contains("the tier e2e cannot run here, and CI is set: "),
        "in CI it should be a failure: {}",
        said(&in_ci)
    );
}

/// What `make` would run, with CLUSTER as an argument and in the environment.
fn make_would_run(verb: &str, argument: Option<&str>, environment: Option<&str>) -> String {
    let mut make = Command::new("make");
    // This test may be run by a make that was given arguments of its own.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "CLUSTER"] {
        make.env_remove(variable);
    }
    make.args(["--dry-run", "--no-print-directory", verb])
        .args(argument.map(|cluster| format!("CLUSTER={cluster}")))
        .envs(environment.map(|cluster| ("CLUSTER", cluster)))
        .current_dir(helm::repository());
    let output = make.output().unwrap();
    assert!(
        output.status.success(),
        "make {verb} should be fine: {}",
        said(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_an_argument_of_make_leads_the_demo_to_another_cluster() {
    for verb in ["demo", "demo-down"] {
        let asked = make_would_run(verb, Some("current"), Some("prod"));
        assert!(
            asked.contains(&format!("testbed {verb} --cluster=current")),
            "make {verb} CLUSTER=current should say so to the testbed, it runs: {asked}"
        );
        for exported in ["current", "prod"] {
            let plain = make_would_run(verb, None, Some(exported));
            assert!(
                plain.contains(&format!("testbed {verb}")) && !plain.contains("--cluster"),
                "with CLUSTER={exported} exported, make {verb} should stay in the testbed, it runs: {plain}"
            );
        }
    }
}
