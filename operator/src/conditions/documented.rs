//! `docs/conditions.md` names every condition, reason and event of the operator, and none that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words in the same files that are no reasons: kinds of Kubernetes, words of the kubelet and of clouds, values of
/// conditions, states of members.
const OTHER_WORDS: &[&str] = &[
    "AccessDenied",
    "Active",
    "AlreadyExists",
    "Backup",
    "ContainerCreating",
    "CrashLoopBackOff",
    "Event",
    "False",
    "NetworkPolicy",
    "Opaque",
    "Panicked",
    "Pending",
    "PermissionDenied",
    "PodInitializing",
    "PodMonitor",
    "PodScheduled",
    "PrometheusRule",
    "Removed",
    "Sealed",
    "Secret",
    "Standby",
    "True",
    "Uninitialized",
    "Unknown",
    "Unreachable",
    "UnrecognizedClient",
    "VaultCluster",
    "VaultRole",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources without their tests and comments.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = vec![repository().join("vault/src/error.rs")];
    let mut folders = vec![repository().join("operator/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && !path.to_string_lossy().ends_with("tests.rs")
                && !path.ends_with("conditions/documented.rs")
            {
                files.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("mod tests").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        (path, code)
    };
    files.into_iter().map(read).collect()
}

/// Words in quotes that are written like a reason.
fn words(code: &str) -> BTreeSet<&str> {
    let is_reason = |text: &&str| {
        text.len() > 1
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
            && text.contains(|c: char| c.is_ascii_lowercase())
    };
    code.split('"').filter(is_reason).collect()
}

/// The rows of all tables in the guide: first cell, last cell.
fn documented() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("docs/conditions.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let name = cells.first()?.trim_matches('`').to_owned();
        (cells.len() == 3).then(|| (name, cells[2].to_owned()))
    };
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| row(line).unwrap_or_else(|| panic!("three cells are wanted: {line}")))
        .collect()
}

#[test]
fn every_reason_is_in_the_guide_with_what_to_do() {
    let (documented, mut missing) = (documented(), Vec::new());
    for (path, code) in sources() {
        // Files that make a condition, an error or an event.
        let mut names = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if !names.any(|name| name == "reason") {
            continue;
        }
        for word in words(&code) {
            if !documented.contains_key(word) && !OTHER_WORDS.contains(&word) {
                missing.push(format!("{word} ({})", path.display()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "if these are reasons of a condition or an event, say in docs/conditions.md what they mean and what to do; \
         else add them to OTHER_WORDS in operator/src/conditions/documented.rs: {missing:#?}"
    );
}

#[test]
fn the_guide_names_no_reason_that_is_not_there_and_says_what_to_do_about_each() {
    let sources = sources();
    let used: BTreeSet<&str> = sources.iter().flat_map(|(_, code)| words(code)).collect();
    for (name, remedy) in documented() {
        assert!(
            used.contains(name.as_str()),
            "docs/conditions.md has {name}, which no code uses any more"
        );
        assert!(
            remedy.starts_with("nothing") || remedy.len() > 15,
            "docs/conditions.md should say what to do about {name}: {remedy:?}"
        );
    }
}
