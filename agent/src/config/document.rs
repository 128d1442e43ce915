//! The text of a configuration as a tree: the same for JSON and HCL, with the line where the text's form tells it.

use serde_json::Value as Json;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// From 1; `None` where it is not known.
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

/// What a configuration is made of. `Debug` would show it all: it is printed by tests only.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; a key may come several times, as blocks in HCL do.
    Object(Vec<(String, Node)>),
    /// A block with a name, as `listener "tcp" {`.
    Labelled(String, Box<Node>),
}

impl From<Json> for Node {
    fn from(json: Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => Value::Number(number.to_string()),
            Json::String(text) => Value::Text(text),
            Json::Array(items) => Value::List(items.into_iter().map(Node::from).collect()),
            Json::Object(entries) => {
                let entries = entries.into_iter();
                Value::Object(entries.map(|(key, json)| (key, Node::from(json))).collect())
            }
        };
        Self { line: None, value }
    }
}

/// Puts several files together, as Vault Agent does: what there can be many of is added, of all else the last file wins.
pub(super) fn merge(files: Vec<Node>) -> Node {
    const MANY: [&str; 3] = ["template", "env_template", "listener"];
    let mut merged: Vec<(String, Node)> = Vec::new();
    let mut line = None;
    for file in files {
        let Value::Object(entries) = file.value else {
            // Refused by whoever reads it.
            return file;
        };
        line = line.or(file.line);
        let replaced = |key: &str| !MANY.contains(&key) && entries.iter().any(|(other, _)| other == key);
        merged.retain(|(key, _)| !replaced(key));
        merged.extend(entries);
    }
    Node {
        line,
        value: Value::Object(merged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(files: &[&str]) -> Vec<(String, Value)> {
        let files = files
            .iter()
            .map(|text| Node::from(serde_json::from_str::<Json>(text).unwrap()));
        let Value::Object(entries) = merge(files.collect()).value else {
            panic!("an object of objects")
        };
        entries.into_iter().map(|(key, node)| (key, node.value)).collect()
    }

    #[test]
    fn templates_of_several_files_are_added_and_settings_of_later_files_win() {
        let merged = keys(&[
            r#"{"pid_file":"a","template":1}"#,
            r#"{"pid_file":"b","template":2}"#,
        ]);
        let number = |text: &str| Value::Number(text.to_owned());
        let expected = [
            ("template".to_owned(), number("1")),
            ("pid_file".to_owned(), Value::Text("b".to_owned())),
            ("template".to_owned(), number("2")),
        ];
        assert_eq!(merged, expected);
    }
}
