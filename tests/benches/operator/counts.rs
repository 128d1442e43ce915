//! What the audit logs say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// Requests by what they are.
pub(crate) type ByKind = BTreeMap<String, usize>;

/// Requests of a while.
pub(crate) struct Counts {
    /// Of the operator to the API server, by verb and resource.
    pub(crate) kubernetes: ByKind,
    /// To Vault, by operation and path, names left out.
    pub(crate) vault: ByKind,
    /// The most that concern roles, in any ten seconds.
    pub(crate) busiest: usize,
}

/// The objects in a log that holds other lines, too, from there on.
fn lines(log: &Path, from: u64) -> anyhow::Result<impl Iterator<Item = Value>> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let lines = BufReader::new(file).split(b'\n');
    Ok(lines
        .map_while(Result::ok)
        .filter(|line| line.starts_with(b"{"))
        .filter_map(|line| serde_json::from_slice(&line).ok()))
}

/// Requests of this user to the API server.
pub(crate) fn kubernetes(log: &Path, from: u64, user: &str) -> anyhow::Result<ByKind> {
    let mut found = ByKind::new();
    for event in lines(log, from)? {
        if event["user"]["username"] != user {
            continue;
        }
        let verb = event["verb"].as_str().unwrap_or("?");
        // A watch is told of when it begins and when it ends.
        if verb == "watch" && event["stage"] != "ResponseStarted" {
            continue;
        }
        let resource = event["objectRef"]["resource"].as_str().unwrap_or("?");
        let part = event["objectRef"]["subresource"].as_str();
        let part = part.map(|part| format!("/{part}")).unwrap_or_default();
        *found.entry(format!("{verb} {resource}{part}")).or_default() += 1;
    }
    Ok(found)
}

/// Adds the requests to Vault.
pub(crate) fn with_vault(kubernetes: ByKind, logs: &[(&PathBuf, u64)]) -> anyhow::Result<Counts> {
    let (mut vault, mut times) = (ByKind::new(), Vec::new());
    for (log, from) in logs {
        for entry in lines(log, *from)? {
            if entry["type"] != "request" {
                continue;
            }
            let path = entry["request"]["path"].as_str().unwrap_or("?");
            let operation = entry["request"]["operation"].as_str().unwrap_or("?");
            let (kind, is_role) = kind(path);
            if is_role && let Some(at) = entry["time"].as_str().and_then(|at| at.parse::<Timestamp>().ok()) {
                times.push(at);
            }
            *vault.entry(format!("{operation} {kind}")).or_default() += 1;
        }
    }
    times.sort_unstable();
    let mut first = 0;
    let mut busiest = 0;
    for (at, time) in times.iter().enumerate() {
        while time.duration_since(times[first]).as_secs() >= 10 {
            first += 1;
        }
        busiest = busiest.max(at - first + 1);
    }
    Ok(Counts {
        kubernetes,
        vault,
        busiest,
    })
}

/// A path without the name of the role in it, and whether there was one.
fn kind(path: &str) -> (String, bool) {
    let is_name = |step: &&str| step.starts_with("apps-") && step.contains('.');
    let has_name = path.split('/').any(|step| is_name(&step));
    let steps: Vec<&str> = path
        .split('/')
        .map(|step| if is_name(&step) { "<role>" } else { step })
        .collect();
    (steps.join("/"), has_name)
}

/// All of them in one cell of a table, the most frequent first.
pub(crate) fn words(counts: &ByKind) -> String {
    let mut list: Vec<_> = counts.iter().collect();
    list.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), (*kind).clone()));
    let total: usize = counts.values().sum();
    let words: Vec<String> = list
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    format!("{total}: {}", words.join(", "))
}
