//! YAML as Go's yaml.v2 writes it: lists not indented under their key, strings quoted only where they would be read as something else.

use std::fmt::Write as _;

use crate::value::{Value, go_float};

/// Writes a value as one YAML document, with a line break at its end.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Map(entries) if !entries.is_empty() => block(&mut out, value, 0),
        Value::List(items, _) if !items.is_empty() => block(&mut out, value, 0),
        Value::Secret(secret) => return write(&secret.data),
        scalar => {
            write_scalar(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

fn pad(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(items, _) => !items.is_empty(),
        _ => false,
    }
}

/// Writes a map or list that is not empty, its lines at `level`; the first line is indented too.
fn block(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Map(entries) => {
            for (key, value) in entries.iter() {
                pad(out, level);
                entry(out, key, value, level);
            }
        }
        Value::List(items, _) => {
            for item in items.iter() {
                pad(out, level);
                element(out, item, level);
            }
        }
        _ => {}
    }
}

fn entry(out: &mut String, key: &str, value: &Value, level: usize) {
    string(out, key, level, false);
    out.push(':');
    match value {
        Value::Map(_) if is_block(value) => {
            out.push('\n');
            block(out, value, level + 1);
        }
        // yaml.v2 leaves a list at the level of its key.
        Value::List(..) if is_block(value) => {
            out.push('\n');
            block(out, value, level);
        }
        scalar => {
            out.push(' ');
            write_scalar(out, scalar, level + 1);
            out.push('\n');
        }
    }
}

fn element(out: &mut String, item: &Value, level: usize) {
    out.push_str("- ");
    match item {
        Value::Map(entries) if is_block(item) => {
            for (position, (key, value)) in entries.iter().enumerate() {
                if position > 0 {
                    pad(out, level + 1);
                }
                entry(out, key, value, level + 1);
            }
        }
        Value::List(items, _) if is_block(item) => {
            for (position, inner) in items.iter().enumerate() {
                if position > 0 {
                    pad(out, level + 1);
                }
                element(out, inner, level + 1);
            }
        }
        scalar => {
            write_scalar(out, scalar, level + 1);
            out.push('\n');
        }
    }
}

fn write_scalar(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Absent | Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&go_float(*value)),
        Value::Number(text) => out.push_str(text),
        Value::Str(text) => string(out, text, level, true),
        Value::Bytes(bytes) => {
            use base64::Engine as _;
            out.push_str("!!binary ");
            out.push_str(&base64::engine::general_purpose::STANDARD.encode(bytes));
        }
        Value::List(..) => out.push_str("[]"),
        Value::Map(_) | Value::Secret(_) => out.push_str("{}"),
    }
}

/// A string, plain where a reader would still take it for a string. `level` is that of the lines of a literal block.
fn string(out: &mut String, text: &str, level: usize, may_span_lines: bool) {
    let printable = text
        .chars()
        .all(|c| c == '\n' || (c >= ' ' && c != '\u{7f}' && c != '\u{feff}'));
    if text.is_empty() || !printable || resolves_to_other(text) {
        return double_quoted(out, text);
    }
    if text.contains('\n') {
        // A literal block can not hold a first line that starts with a space.
        if may_span_lines && !text.starts_with(' ') && !text.starts_with('\n') {
            return literal(out, text, level);
        }
        return double_quoted(out, text);
    }
    if plain_allowed(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn literal(out: &mut String, text: &str, level: usize) {
    out.push('|');
    let body = text.strip_suffix('\n').unwrap_or(text);
    if body.len() == text.len() {
        out.push('-');
    } else if body.ends_with('\n') {
        out.push('+');
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, level);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}' => out.push_str("\\0"),
            '\u{feff}' => out.push_str("\\uFEFF"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether YAML 1.1 would read the plain text as a bool, null, number or time.
fn resolves_to_other(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let consistent = text == lower || text == text.to_ascii_uppercase() || is_capitalised(text);
    let word = matches!(
        lower.as_str(),
        "y" | "n"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "true"
            | "false"
            | "null"
            | ".nan"
            | ".inf"
            | "+.inf"
            | "-.inf"
    );
    (word && consistent) || matches!(text, "~" | "<<") || is_number(text) || is_time(text)
}

fn is_capitalised(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase()) && letters.all(|c| c.is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let plain = digits.replace('_', "");
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = plain.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    // Sexagesimal integers (1:30) are numbers in YAML 1.1 and yaml.v2 quotes them.
    let sexagesimal = plain.contains(':')
        && plain
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
    sexagesimal || (plain.chars().all(allowed) && plain.parse::<f64>().is_ok())
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..7].iter().all(u8::is_ascii_digit)
        && bytes[7] == b'-'
        && bytes[8..10].iter().all(u8::is_ascii_digit)
        && (bytes.len() == 10 || matches!(bytes[10], b'T' | b't' | b' '))
}

fn plain_allowed(text: &str) -> bool {
    let special_first = |c: char| ",[]{}#&*!|>'\"%@`".contains(c);
    let first = text.chars().next().unwrap_or(' ');
    let second = text.chars().nth(1);
    if text.starts_with(' ')
        || text.ends_with(' ')
        || special_first(first)
        || text.starts_with("---")
        || text.starts_with("...")
    {
        return false;
    }
    if matches!(first, '-' | '?' | ':') && second.is_none_or(|c| c == ' ') {
        return false;
    }
    !(text.contains(": ") || text.ends_with(':') || text.contains(" #"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Numbers, parse};

    #[test]
    fn strings_that_would_be_read_as_something_else_are_quoted() {
        let value = parse(
            r##"{"a":"yes","b":"0x1F","c":"2024-02-29","d":"a: b","e":"#c","f":"it's","g":"plain text","h":"1_000","i":"- x","j":"tab\there"}"##,
            Numbers::AsSent,
        )
        .unwrap();
        let expected = "a: \"yes\"\nb: \"0x1F\"\nc: \"2024-02-29\"\nd: 'a: b'\ne: '#c'\nf: it's\ng: plain text\nh: \"1_000\"\ni: '- x'\nj: \"tab\\there\"\n";
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn lists_stay_at_the_level_of_their_key() {
        let value = parse(
            r#"{"l":[{"a":1,"b":[2]},[3,4],{}],"m":{"x":null}}"#,
            Numbers::AsSent,
        )
        .unwrap();
        assert_eq!(
            write(&value),
            "l:\n- a: 1\n  b:\n  - 2\n- - 3\n  - 4\n- {}\nm:\n  x: null\n"
        );
    }
}
