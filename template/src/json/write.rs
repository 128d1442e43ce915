//! Writes JSON.

use std::borrow::Borrow;
use std::fmt::Write as _;

use crate::fields;
use crate::fmt::{MAX_TEXT, format_float};
use crate::value::{Entries, Map, Value};

/// How JSON is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// `<`, `>` and `&` as `\u003c` and so on.
    pub escape_html: bool,
    /// Two spaces per level, one entry per line.
    pub pretty: bool,
}

/// Writes a value as Go's `encoding/json` does.
///
/// # Errors
/// There is a float that JSON does not know, a value that has no JSON, or the text would be too long.
pub fn write(value: &Value, style: Style) -> Result<String, WriteError> {
    let mut out = String::new();
    write_value(&mut out, value, style, 0)?;
    Ok(out)
}

/// Why a value has no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A float that is not finite.
    #[error("json: unsupported value: a float that is infinite or no number")]
    Float,
    /// A map with keys that are not all strings, or something that is no data.
    #[error("json: unsupported type: {0}")]
    Type(&'static str),
    /// More than 16 MiB.
    #[error("the text would be larger than 16 MiB")]
    TooLong,
}

fn new_line(out: &mut String, style: Style, level: usize) {
    if style.pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    }
}

fn write_value(out: &mut String, value: &Value, style: Style, level: usize) -> Result<(), WriteError> {
    if out.len() > MAX_TEXT {
        return Err(WriteError::TooLong);
    }
    match value {
        Value::Absent | Value::Null | Value::NilPointer(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) | Value::Int64(value) => out.push_str(&value.to_string()),
        Value::Uint64(value) => out.push_str(&value.to_string()),
        Value::Byte(value) => out.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push_str(&json_float(*value)),
        Value::Float(_) => return Err(WriteError::Float),
        // Go's own words for a number that is empty.
        Value::Number(text) if text.is_empty() => out.push('0'),
        Value::Number(text) => out.push_str(text),
        Value::Str(text) => write_string(out, text, style),
        Value::Bytes(bytes) => write_bytes(out, bytes, style),
        Value::List(list) => write_list(out, list.items(), style, level)?,
        Value::Map(map) => write_map(out, map, style, level)?,
        Value::Dict(dict) => write_map(out, &dict.snapshot(), style, level)?,
        Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) | Value::Certificate(_) => {
            // A list of Go's that was never filled is nil.
            let filled = |value: Value| match value {
                Value::List(list) if list.items().is_empty() => Value::Null,
                other => other,
            };
            let entries: Vec<(&str, Value)> = fields::all(value)
                .into_iter()
                .map(|(name, value)| (name, filled(value)))
                .collect();
            write_entries(out, &entries, style, level)?;
        }
        Value::Scratch => out.push_str("{}"),
        Value::Sequence(..) => return Err(WriteError::Type(value.type_name())),
    }
    Ok(())
}

fn write_list(out: &mut String, items: &[Value], style: Style, level: usize) -> Result<(), WriteError> {
    out.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        new_line(out, style, level + 1);
        write_value(out, item, style, level + 1)?;
    }
    if !items.is_empty() {
        new_line(out, style, level);
    }
    out.push(']');
    Ok(())
}

fn write_map(out: &mut String, map: &Map, style: Style, level: usize) -> Result<(), WriteError> {
    if map.kind() == Entries::AnyKeys {
        return Err(WriteError::Type(Entries::AnyKeys.map_name()));
    }
    let entries: Vec<(&str, &Value)> = map
        .entries()
        .iter()
        .map(|(key, value)| (key.text().map_or("", |key| key), value))
        .collect();
    write_entries(out, &entries, style, level)
}

fn write_entries<T: Borrow<Value>>(
    out: &mut String,
    entries: &[(&str, T)],
    style: Style,
    level: usize,
) -> Result<(), WriteError> {
    out.push('{');
    for (position, (key, value)) in entries.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        new_line(out, style, level + 1);
        write_string(out, key, style);
        out.push_str(if style.pretty { ": " } else { ":" });
        write_value(out, value.borrow(), style, level + 1)?;
    }
    if !entries.is_empty() {
        new_line(out, style, level);
    }
    out.push('}');
    Ok(())
}

/// Go writes floats in JSON plainly from 1e-6 up to 1e21.
fn json_float(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-6..1e21).contains(&size) {
        return format_float(value, 'f', None);
    }
    let text = format_float(value, 'e', None);
    // Go cleans e-09 up to e-9, and leaves e+09.
    match text.strip_suffix(|c: char| c.is_ascii_digit()) {
        Some(head) if head.ends_with("e-0") => text.replace("e-0", "e-"),
        _ => text,
    }
}

/// Each byte that is no UTF-8 becomes the escape of U+FFFD.
fn write_bytes(out: &mut String, bytes: &[u8], style: Style) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        write_letters(out, chunk.valid(), style);
        out.extend(chunk.invalid().iter().map(|_| "\\ufffd"));
    }
    out.push('"');
}

fn write_string(out: &mut String, text: &str, style: Style) {
    out.push('"');
    write_letters(out, text, style);
    out.push('"');
}

fn write_letters(out: &mut String, text: &str, style: Style) {
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
            // Raw in JSON, but not in JavaScript; Go escapes it in both styles.
            '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}
