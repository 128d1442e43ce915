//! No rule is written that no test breaks: the tests beside this one name each rule by its words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vaultkeeper_tests::helm;

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

/// The words that specs are refused with: the texts in `Refused("…")`, and those that have a name.
fn words(sources: &str) -> Vec<String> {
    let mut found = Vec::new();
    for before in ["Refused(", "= "] {
        let quoted = sources.split(before).skip(1);
        found.extend(quoted.filter_map(|rest| text(rest.trim_start())));
    }
    found
}

/// The text that a source begins with.
fn text(source: &str) -> Option<String> {
    let mut text = String::new();
    let mut letters = source.strip_prefix('"')?.chars();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => text.push(letters.next()?),
            letter => text.push(letter),
        }
    }
}

/// The rules that words tell: of those that hold them the shortest, since others may only end like it.
fn told<'a>(rules: &'a BTreeSet<String>, words: &[String]) -> BTreeSet<&'a str> {
    let enough = words.iter().filter(|words| words.len() > 8);
    let rule = |words: &String| {
        let holding = rules.iter().filter(|rule| rule.contains(words.as_str()));
        holding.map(String::as_str).min_by_key(|rule| rule.len())
    };
    enough.filter_map(rule).collect()
}

#[test]
fn a_rule_is_told_by_its_own_words_only() {
    let rules = BTreeSet::from(
        [
            "name must be short",
            "spec.name must be short",
            "path must be \"a\"",
        ]
        .map(str::to_owned),
    );
    let sources = r#"(a, Refused("name must be short")), (b, Refused(
        "path must be \"a\""))"#;
    let told = told(&rules, &words(sources));
    assert_eq!(told, BTreeSet::from(["name must be short", "path must be \"a\""]));
}

#[test]
fn every_rule_is_broken_by_a_spec_in_these_tests() {
    let mut rules = BTreeSet::new();
    for manifest in vaultkeeper_crds::generate::manifests().unwrap() {
        messages(&serde_yaml::from_str(&manifest.yaml).unwrap(), &mut rules);
    }
    assert!(rules.len() > 100, "there are more rules than {}", rules.len());
    let told = told(&rules, &words(&sources()));
    let silent: Vec<&String> = rules
        .iter()
        .filter(|rule| !told.contains(rule.as_str()))
        .collect();
    assert!(
        silent.is_empty(),
        "no test shows a spec that these rules refuse, and its neighbour that they take: {silent:#?}"
    );
}
