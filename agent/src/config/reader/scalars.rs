//! Values that are no objects: texts, numbers, durations and the like.

use std::path::PathBuf;
use std::time::Duration;

use super::super::document::Value;
use super::super::duration;
use super::{Object, is_same};

impl<'a> Object<'a> {
    /// A value that `read` understands, which is `wanted`.
    fn read<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let value = read(&node.value);
        if value.is_none() {
            self.wrong(key, format!("must be {wanted}"));
        }
        value
    }

    /// A string; an empty one counts as absent, as in Vault Agent.
    pub(in crate::config) fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.read(key, "a string", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })?;
        (!text.is_empty()).then_some(text)
    }

    /// The path of a file or folder.
    pub(in crate::config) fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A string that must be there.
    pub(in crate::config) fn required(&mut self, key: &'static str) -> String {
        // What is wrong is not missing as well.
        let given = matches!(self.value_of(key), Some(value) if *value != Value::Text(String::new()));
        let text = self.text(key);
        if !given {
            self.missing(key);
        }
        text.unwrap_or_default()
    }

    fn value_of(&self, key: &str) -> Option<&'a Value> {
        let own = self.entries.iter().find(|(other, _)| is_same(other, key));
        own.map(|(_, node)| &node.value)
            .filter(|value| **value != Value::Null)
    }

    /// A bool, also as a string or number the way Go reads one.
    pub(in crate::config) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", flag)
    }

    /// One of these words, whatever their case, or a bool. Returns the place of the word, or the bool as a word.
    pub(in crate::config) fn word(
        &mut self,
        key: &'static str,
        words: &[&'static str],
    ) -> Option<&'static str> {
        let wanted = format!("one of {}", words.join(", "));
        self.read(key, &wanted, |value| {
            let given = match (flag(value), value) {
                (Some(true), _) if words.contains(&"true") => "true",
                (Some(false), _) if words.contains(&"false") => "false",
                (_, Value::Text(text)) => text,
                _ => return None,
            };
            words
                .iter()
                .copied()
                .find(|word| word.eq_ignore_ascii_case(given))
        })
    }

    /// A duration: a Go duration or a number of seconds.
    pub(in crate::config) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let wanted = "a duration such as \"5m\" or a number of seconds";
        self.read(key, wanted, |value| match value {
            Value::Text(text) if text.is_empty() => Some(None),
            Value::Text(text) => duration::parse(text).map(Some),
            Value::Number(number) => duration::seconds(number.parse().ok()?).map(Some),
            _ => None,
        })?
    }

    /// A number.
    pub(in crate::config) fn number(&mut self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", |value| match value {
            Value::Number(text) | Value::Text(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub(in crate::config) fn integer(&mut self, key: &'static str) -> Option<i64> {
        self.read(key, "a whole number", |value| match value {
            Value::Number(text) | Value::Text(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// The number of a user or group.
    pub(in crate::config) fn id(&mut self, key: &'static str) -> Option<u32> {
        self.read(key, "the number of a user or group", |value| match value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// A file mode: an octal string (`"0640"`), or a number, whose value is the mode as in Vault Agent.
    pub(in crate::config) fn mode(&mut self, key: &'static str) -> Option<u32> {
        let read = |value: &Value| {
            let mode = match value {
                Value::Text(text) if text.is_empty() => return Some(None),
                Value::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()?,
                Value::Number(number) => number.parse().ok()?,
                _ => return None,
            };
            (mode <= 0o777).then_some(Some(mode))
        };
        self.read(key, "a file mode such as \"0640\"", read)?
    }

    /// A list of strings; a single string is a list of one.
    pub(in crate::config) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "a list of strings", |value| match value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::List(items) => {
                let texts = items.iter().map(|item| match &item.value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                });
                texts.collect()
            }
            _ => None,
        })
    }

    /// Whether a key has a string or nothing.
    pub(in crate::config) fn is_text_or_absent(&self, key: &str) -> bool {
        matches!(self.value_of(key), None | Some(Value::Text(_)))
    }

    /// Whether a key has a string, where an object is possible, too.
    pub(in crate::config) fn is_text(&self, key: &str) -> bool {
        matches!(self.value_of(key), Some(Value::Text(_)))
    }
}

/// As Go's `ParseBool`.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(text) | Value::Text(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
