//! Reads variables out of a rendered file: lines `NAME=value`, or one JSON object. Pure; no value appears in an error.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value;

/// Why a file holds no variables.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VariablesError {
    #[error("line {line} {reason}")]
    Line { line: usize, reason: &'static str },
    #[error("it begins with a brace and is no JSON object")]
    Json,
    #[error("the key {key:?} {reason}")]
    Key { key: String, reason: &'static str },
}

const NAME_RULE: &str = "has no name for a variable (letters, digits, '_', '-' and '.', no digit first)";

/// Reads the text of a file. Of two values for one name the later counts.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, SecretString>, VariablesError> {
    if text.trim_start().starts_with('{') {
        object(text)
    } else {
        lines(text)
    }
}

fn object(text: &str) -> Result<BTreeMap<String, SecretString>, VariablesError> {
    // Its own words may quote the text.
    let Ok(Value::Object(entries)) = serde_json::from_str::<Value>(text) else {
        return Err(VariablesError::Json);
    };
    let mut variables = BTreeMap::new();
    for (key, value) in entries {
        let fault = |reason| VariablesError::Key {
            key: key.clone(),
            reason,
        };
        if !is_name(&key) {
            return Err(fault(NAME_RULE));
        }
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                return Err(fault("is a list or an object: give a text (toJSON makes one)"));
            }
        };
        if value.contains('\0') {
            return Err(fault("holds a zero byte"));
        }
        variables.insert(key, SecretString::from(value));
    }
    Ok(variables)
}

fn lines(text: &str) -> Result<BTreeMap<String, SecretString>, VariablesError> {
    let mut variables = BTreeMap::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let fault = |reason| VariablesError::Line { line, reason };
        let (this, _) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = this.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after_line(rest);
            line += 1;
            continue;
        }
        let (name, _) = this.split_once('=').ok_or(fault("holds no '='"))?;
        let offset = name.len() + 1;
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        if !is_name(name) {
            return Err(fault(NAME_RULE));
        }
        let (value, length) = value(&rest[offset..]).map_err(fault)?;
        if value.contains('\0') {
            return Err(fault("holds a zero byte"));
        }
        let used = &rest[..offset + length];
        line += used.matches('\n').count() + 1;
        rest = after_line(&rest[offset + length..]);
        variables.insert(name.to_owned(), SecretString::from(value));
    }
    Ok(variables)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

/// The value at the beginning of this text and its length there: to the end of the line, or up to a closing quote.
fn value(text: &str) -> Result<(String, usize), &'static str> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let line = text.split('\n').next().unwrap_or("");
        return Ok((line.strip_suffix('\r').unwrap_or(line).to_owned(), line.len()));
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' if quote == '"' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            _ if character == quote => {
                let after = text[position + 1..].split('\n').next().unwrap_or("");
                return if after.trim().is_empty() {
                    Ok((value, position + 1))
                } else {
                    Err("goes on after its closing quote")
                };
            }
            _ => value.push(character),
        }
    }
    Err("opens a quote that is never closed")
}

/// What Kubernetes takes as a variable's name.
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || "_-.".contains(c);
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn of(text: &str) -> Vec<(String, String)> {
        let variables = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        variables
            .into_iter()
            .map(|(name, value)| (name, value.expose_secret().to_owned()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn lines_are_taken_to_their_end_and_nothing_in_them_is_special() {
        let text = "# comment\n\nexport A=one two # three\nB=a=b $C `d` \\n\r\n  C=\n\nspring.url=x";
        let wanted = [
            ("A", "one two # three"),
            ("B", "a=b $C `d` \\n"),
            ("C", ""),
            ("spring.url", "x"),
        ];
        assert_eq!(of(text), pairs(&wanted));
    }

    #[test]
    fn quoted_values_may_span_lines_and_only_double_quotes_escape() {
        let text = "A=\"one\ntwo\\n\\\"three\\\" \\x\"\nB='it is \\n\nraw'\nC=last";
        let wanted = [
            ("A", "one\ntwo\n\"three\" \\x"),
            ("B", "it is \\n\nraw"),
            ("C", "last"),
        ];
        assert_eq!(of(text), pairs(&wanted));
    }

    #[test]
    fn an_object_gives_texts_numbers_and_bools() {
        let text = " {\"A\": \"x\\ny\", \"B\": 5432, \"C\": true, \"D\": null}";
        assert_eq!(
            of(text),
            pairs(&[("A", "x\ny"), ("B", "5432"), ("C", "true"), ("D", "")])
        );
    }

    #[test]
    fn the_later_of_two_values_counts() {
        assert_eq!(of("A=1\nA=2"), pairs(&[("A", "2")]));
    }

    #[test]
    fn a_mistake_is_told_by_its_line_and_without_its_value() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("A='x\ny'\n1B=hunter2", 3),
            ("A=\"hunter2\n", 1),
            ("A=\"x\" hunter2", 1),
            ("A B=hunter2", 1),
            ("A=hunter2\0", 1),
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                matches!(error, VariablesError::Line { line: at, .. } if at == line),
                "{text:?} has its mistake in line {line}: {error}"
            );
            assert!(
                !error.to_string().contains("hunter2"),
                "the value is shown: {error}"
            );
        }
        for text in [
            "{\"A\": [\"hunter2\"]}",
            "{\"A\": \"hunter2\"",
            "{\"1\": \"hunter2\"}",
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "the value is shown: {error}");
        }
    }

    mod any_text {
        use proptest::prelude::*;
        use secrecy::ExposeSecret as _;

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2000))]

            #[test]
            fn no_file_makes_it_panic(text in "[A-Z=\"'\\\\#\n\r \0{}:,ä]{0,60}") {
                let _ = super::parse(&text);
            }

            #[test]
            fn any_value_comes_through_double_quotes(value in "[^\0]{0,60}") {
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                let variables = super::parse(&format!("A=1\nexport B=\"{quoted}\"\nC=3")).unwrap();
                prop_assert_eq!(variables["B"].expose_secret(), value.as_str());
                prop_assert_eq!(variables.len(), 3);
            }

            #[test]
            fn any_value_comes_through_json(value in "[^\0]{0,60}") {
                let text = serde_json::json!({"A": value}).to_string();
                let variables = super::parse(&text).unwrap();
                prop_assert_eq!(variables["A"].expose_secret(), value.as_str());
            }
        }
    }
}
