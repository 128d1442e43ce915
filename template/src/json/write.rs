//! Writes JSON.

use std::fmt::Write as _;

use crate::value::{Value, go_float};

/// How JSON is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// `<`, `>` and `&` as `\u003c` and so on.
    pub escape_html: bool,
    /// Two spaces per level, one entry per line.
    pub pretty: bool,
}

/// Writes a value as Go's `encoding/json` does.
pub fn write(value: &Value, style: Style) -> String {
    let mut out = String::new();
    write_value(&mut out, value, style, 0);
    out
}

fn new_line(out: &mut String, style: Style, level: usize) {
    if style.pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    }
}

fn write_value(out: &mut String, value: &Value, style: Style, level: usize) {
    match value {
        Value::Absent | Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&json_float(*value)),
        Value::Number(text) => out.push_str(text),
        Value::Str(text) => write_string(out, text, style),
        Value::Bytes(bytes) => write_string(out, &String::from_utf8_lossy(bytes), style),
        Value::List(items, _) if items.is_empty() => out.push_str("[]"),
        Value::List(items, _) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                new_line(out, style, level + 1);
                write_value(out, item, style, level + 1);
            }
            new_line(out, style, level);
            out.push(']');
        }
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Map(entries) => {
            out.push('{');
            for (position, (key, value)) in entries.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                new_line(out, style, level + 1);
                write_string(out, key, style);
                out.push_str(if style.pretty { ": " } else { ":" });
                write_value(out, value, style, level + 1);
            }
            new_line(out, style, level);
            out.push('}');
        }
        // The whole answer as JSON is of no use to an app; its data is.
        Value::Secret(secret) => write_value(out, &secret.data, style, level),
    }
}

/// Go writes floats in JSON plainly from 1e-6 up to 1e21.
fn json_float(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    // Go cleans e-09 up to e-9.
    go_float(value).replace("e-0", "e-")
}

fn write_string(out: &mut String, text: &str, style: Style) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' if style.escape_html => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
