//! No rule is written that no test breaks: the tests beside this one name each rule by its words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vaultkeeper_tests::helm;

/// So many characters of a message are enough to tell it from others.
const TELLING: usize = 16;

/// The message of every rule below a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                let message = rule["message"].as_str();
                let message = message.unwrap_or_else(|| panic!("a rule without words: {rule}"));
                found.insert(message.to_owned());
            }
            map.values().for_each(|inner| messages(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| messages(inner, found)),
        _ => {}
    }
}

/// The sources of the tests of the rules.
fn sources() -> String {
    let folder = helm::repository().join("tests/tests/api");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut text = read(&folder.join("crds.rs"));
    for file in fs::read_dir(folder.join("crds")).unwrap() {
        text += &read(&file.unwrap().path());
    }
    text
}

/// Whether a text in quotes begins with words of this message.
fn is_named(message: &str, sources: &str) -> bool {
    let letters: Vec<char> = message.chars().collect();
    letters.windows(TELLING.min(letters.len())).any(|words| {
        let quoted: String = std::iter::once('"').chain(words.iter().copied()).collect();
        sources.contains(&quoted)
    })
}

#[test]
fn every_rule_is_broken_by_a_spec_in_these_tests() {
    let mut rules = BTreeSet::new();
    for manifest in vaultkeeper_crds::generate::manifests().unwrap() {
        messages(&serde_yaml::from_str(&manifest.yaml).unwrap(), &mut rules);
    }
    assert!(rules.len() > 100, "there are more rules than {}", rules.len());
    let sources = sources();
    let unknown: String = "nettirw sah ydobon taht elur a fo sdrow eht".chars().rev().collect();
    assert!(!is_named(&unknown, &sources), "this test could not fail");
    let silent: Vec<&String> = rules.iter().filter(|rule| !is_named(rule, &sources)).collect();
    assert!(
        silent.is_empty(),
        "no test shows a spec that these rules refuse, and its neighbour that they take: {silent:#?}"
    );
}
