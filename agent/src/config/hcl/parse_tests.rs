use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

/// The tree as Vault's own parser gives it to a map: every object in a list, one entry for each of its blocks.
fn as_the_peer_shows_it(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Number(number) => serde_json::from_str(number).unwrap(),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(as_the_peer_shows_it).collect(),
        Value::Object(entries) => json!([object(entries)]),
        Value::Labelled(label, body) => json!([{label: as_the_peer_shows_it(body)}]),
    }
}

fn object(entries: &[(String, Node)]) -> Json {
    let mut map = Map::new();
    for (key, node) in entries {
        let value = as_the_peer_shows_it(node);
        match (map.get_mut(key), value) {
            (Some(Json::Array(before)), Json::Array(more)) => before.extend(more),
            (_, value) => {
                map.insert(key.clone(), value);
            }
        }
    }
    Json::Object(map)
}

fn tree(text: &str) -> Json {
    match parse(text) {
        Ok(Node {
            value: Value::Object(entries),
            ..
        }) => object(&entries),
        Ok(_) => panic!("the whole is an object"),
        Err(_) => Json::Null,
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Texts with what the parser of Vault 1.21 makes of them; null where it refuses.
fn cases() -> Vec<Json> {
    let written = include_str!("../../../tests/data/hcl.json");
    let generated = include_str!("../../../tests/data/hcl_generated.json");
    let lists = [written, generated].map(|text| serde_json::from_str::<Vec<Json>>(text).unwrap());
    lists.concat()
}

#[test]
fn texts_are_read_as_vaults_own_parser_reads_them() {
    let cases = cases();
    assert!(cases.len() > 400, "all cases are there");
    let mut differences = String::new();
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let read = tree(text);
        if !same(&read, &case["tree"]) {
            let _ = writeln!(
                differences,
                "{text:?} is {} to Vault, and here {read}",
                case["tree"]
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn what_vaults_own_parser_gets_wrong_is_not_copied() {
    assert_eq!(
        tree("a = <<-EOF\nx\nEOF\n"),
        json!({"a": "x\n"}),
        "it misses an end that is not indented"
    );
    assert!(
        parse("a = \n").is_err(),
        "it takes a key without a value at the end of the file for no key"
    );
    assert_eq!(
        tree("a = <<EOF\nx\nEOF"),
        json!({"a": "x\n"}),
        "the end of the file ends a line"
    );
}

#[test]
fn a_mistake_is_told_with_its_place_and_without_the_text() {
    for (text, reason, line, column) in [
        (
            "a = 1\nb = hunter2\n",
            "a value is expected; a text needs quotes",
            2,
            5,
        ),
        ("a {\n  b = 1\n", "a { without its }", 1, 3),
        (
            "a = \"x\n",
            "a text without an end on its line; use a heredoc",
            1,
            5,
        ),
        ("é é = 1\n", "after a name an object is expected, without =", 1, 5),
        ("a = [1\n  2]\n", "a comma or ] is expected in a list", 2, 3),
    ] {
        let expected = HclError { reason, line, column };
        assert_eq!(parse(text), Err(expected), "{text:?}");
    }
}

#[test]
fn every_key_knows_its_line() {
    let node = parse("a = 1\n\n# c\nb {\n  c = <<X\n1\n2\nX\n  d = [\n   {}\n  ]\n}\n").unwrap();
    let Value::Object(entries) = node.value else {
        panic!("an object")
    };
    assert_eq!(entries[0].1.line, Some(1));
    assert_eq!(entries[1].1.line, Some(4));
    let Value::Object(inner) = &entries[1].1.value else {
        panic!("an object")
    };
    assert_eq!((inner[0].1.line, inner[1].1.line), (Some(5), Some(9)));
}

#[test]
fn nesting_has_an_end() {
    for open in ["a {", "a = [", "["] {
        let text = open.repeat(100_000);
        assert!(parse(&text).is_err(), "{open} without an end");
    }
    let names = format!("a {} {{}}", "\"b\" ".repeat(100_000));
    assert!(parse(&names).is_err(), "names without an end");
    let error = parse(&"a {".repeat(1000)).expect_err("too deep");
    assert_eq!(error.reason, "too many objects in each other");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\\n\\r\\t\"{}\\[\\]=,#/<>\\\\$.*-]){0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "\"b\"", "=", "{", "}", "[", "]", ",", "<<E\n", "<<-E\n", "E\n", "\n", "1", "0x", "-", "1e", "true",
            "/*", "*/", "#", "//", "\"${", "}\"", "\\", "\"", " ", ".", "é",
        ]), 0..30),
    ) {
        let _ = parse(&words.concat());
    }

    #[test]
    fn a_text_comes_through_quotes_and_through_a_heredoc(text in "[ -~é\\n\\t]{0,60}") {
        // Vault reads ${…} as it is, quotes and sequences in it included.
        prop_assume!(!text.contains("${"));
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        prop_assert_eq!(tree(&format!("a = \"{quoted}\"\n")), json!({"a": text}));
        let lines = format!("{text}\n");
        prop_assume!(!lines.lines().any(|line| line.trim() == "ANCHOR"));
        prop_assert_eq!(tree(&format!("a = <<ANCHOR\n{lines}ANCHOR\n")), json!({"a": lines}));
    }
}
