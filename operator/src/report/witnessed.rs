//! Every event that the operator makes is looked for by a test on real servers.

use std::fs;
use std::path::{Path, PathBuf};

/// Every reason, from the words of `Reason::as_str`.
fn reasons() -> Vec<String> {
    let own = include_str!("../report.rs");
    let begin = own.find("pub fn as_str").unwrap();
    let end = own.find("fn severity").unwrap();
    let words = own[begin..end].split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The statements of the tests that speak of events.
fn statements() -> Vec<String> {
    let mut folders: Vec<PathBuf> = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let about = |statement: &&str| {
                ["event", "Event", "note(", "notes("]
                    .iter()
                    .any(|w| statement.contains(w))
            };
            found.extend(text.split(';').filter(about).map(str::to_owned));
        }
    }
    found
}

#[test]
fn each_event_is_looked_for_by_a_test() {
    let (reasons, statements) = (reasons(), statements());
    assert!(reasons.len() > 20, "the reasons are not found: {reasons:?}");
    let is_unseen = |reason: &&String| {
        let (word, selector) = (format!("\"{reason}\""), format!("reason={reason}"));
        !statements
            .iter()
            .any(|statement| statement.contains(&word) || statement.contains(&selector))
    };
    let unseen: Vec<&String> = reasons.iter().filter(is_unseen).collect();
    assert!(
        unseen.is_empty(),
        "no test below tests/tests waits for an event with one of these reasons: {unseen:?}"
    );
}
