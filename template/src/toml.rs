//! TOML as BurntSushi's encoder writes it: plain values first, then tables, each after a blank line, indented by two.

use std::fmt::Write as _;

use crate::fields;
use crate::fmt::{MAX_TEXT, format_float};
use crate::value::{Entries, Value};

/// Why a value has no TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TomlError {
    #[error("toml: top-level values must be Go maps, structs or plain values")]
    NoTable,
    #[error("toml: cannot encode array with mixed element types or nil elements")]
    Array,
    #[error("toml: cannot encode a map with non-string key type")]
    Key,
    #[error("toml: unsupported type: {0}")]
    Type(&'static str),
    #[error("the text would be larger than 16 MiB")]
    TooLong,
}

/// Writes a table as a document.
pub(crate) fn write(value: &Value) -> Result<String, TomlError> {
    let mut writer = Writer { out: String::new() };
    match value {
        nil if nil.is_nil() => return Err(TomlError::NoTable),
        table if is_table(table) => writer.table(&mut Vec::new(), entries(table)?.unwrap_or_default())?,
        tables if is_table_list(tables) => return Err(TomlError::NoTable),
        plain => writer.value(plain)?,
    }
    Ok(writer.out)
}

type Table = Vec<(String, Value)>;

/// The entries of what TOML takes for a table.
fn entries(value: &Value) -> Result<Option<Table>, TomlError> {
    if let Some(map) = value.as_map() {
        if map.kind() == Entries::AnyKeys {
            return Err(TomlError::Key);
        }
        let pairs = map.entries().iter();
        let pairs = pairs.map(|(key, value)| (key.text().map_or("", |key| key).to_owned(), value.clone()));
        return Ok(Some(pairs.collect()));
    }
    let all = fields::all(value);
    if all.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    ))
}

fn is_table(value: &Value) -> bool {
    matches!(
        value,
        Value::Map(_)
            | Value::Dict(_)
            | Value::Secret(_)
            | Value::Auth(_)
            | Value::WrapInfo(_)
            | Value::Certificate(_)
    )
}

/// Whether a list is written as `[[tables]]`: it has tables only.
fn is_table_list(value: &Value) -> bool {
    matches!(value, Value::List(list) if !list.items().is_empty() && list.items().iter().all(is_table))
}

struct Writer {
    out: String,
}

impl Writer {
    fn table(&mut self, path: &mut Vec<String>, entries: Table) -> Result<(), TomlError> {
        let (tables, plain): (Table, Table) = entries
            .into_iter()
            .filter(|(_, value)| !value.is_nil())
            .partition(|(_, value)| is_table(value) || is_table_list(value));
        for (key, value) in plain {
            if self.out.len() > MAX_TEXT {
                return Err(TomlError::TooLong);
            }
            self.indent(path.len());
            self.out.push_str(&quoted_key(&key));
            self.out.push_str(" = ");
            self.value(&value)?;
            self.out.push('\n');
        }
        for (key, value) in tables {
            if self.out.len() > MAX_TEXT {
                return Err(TomlError::TooLong);
            }
            path.push(key);
            if let Value::List(list) = &value {
                for item in list.items() {
                    self.new_line();
                    self.indent(path.len() - 1);
                    let _ = writeln!(self.out, "[[{}]]", dotted(path));
                    self.table(path, self::entries(item)?.unwrap_or_default())?;
                }
            } else {
                // A blank line before each table, except nested ones right behind their parent's header.
                if path.len() == 1 {
                    self.new_line();
                }
                self.indent(path.len() - 1);
                let _ = writeln!(self.out, "[{}]", dotted(path));
                self.table(path, self::entries(&value)?.unwrap_or_default())?;
            }
            path.pop();
        }
        Ok(())
    }

    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n("  ", level));
    }

    fn value(&mut self, value: &Value) -> Result<(), TomlError> {
        if self.out.len() > MAX_TEXT {
            return Err(TomlError::TooLong);
        }
        match value {
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) | Value::Int64(value) => self.out.push_str(&value.to_string()),
            Value::Uint64(value) => self.out.push_str(&value.to_string()),
            Value::Byte(value) => self.out.push_str(&value.to_string()),
            Value::Float(value) => self.out.push_str(&float(*value)),
            Value::Number(text) => self.number(text)?,
            Value::Str(text) => self.string(text),
            Value::Bytes(bytes) => self.string(&String::from_utf8_lossy(bytes)),
            Value::List(list) => {
                self.out.push('[');
                for (position, item) in list.items().iter().enumerate() {
                    if position > 0 {
                        self.out.push_str(", ");
                    }
                    if item.is_nil() {
                        return Err(TomlError::Array);
                    }
                    self.value(item)?;
                }
                self.out.push(']');
            }
            table if is_table(table) => {
                self.out.push('{');
                // The comma counts what is nil too, as BurntSushi's does.
                let (tables, plain): (Table, Table) = entries(table)?
                    .unwrap_or_default()
                    .into_iter()
                    .partition(|(_, value)| is_table(value) || is_table_list(value));
                let (plain_count, all) = (plain.len(), plain.len() + tables.len());
                for (position, (key, value)) in plain.into_iter().chain(tables).enumerate() {
                    if value.is_nil() {
                        continue;
                    }
                    self.out.push_str(&quoted_key(&key));
                    self.out.push_str(" = ");
                    self.value(&value)?;
                    if position + 1 < all && (position + 1 != plain_count || all > plain_count) {
                        self.out.push_str(", ");
                    }
                }
                self.out.push('}');
            }
            other => return Err(TomlError::Type(other.type_name())),
        }
        Ok(())
    }

    /// A number as Vault sent it: as an integer when it is one, else as a float.
    fn number(&mut self, text: &str) -> Result<(), TomlError> {
        if let Ok(int) = text.parse::<i64>() {
            self.out.push_str(&int.to_string());
            return Ok(());
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                self.out.push_str(&float(value));
                Ok(())
            }
            _ => Err(TomlError::Type("json.Number")),
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '\t' => self.out.push_str("\\t"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || c == '\u{7f}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn dotted(path: &[String]) -> String {
    path.iter()
        .map(|key| quoted_key(key))
        .collect::<Vec<_>>()
        .join(".")
}

fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) {
        return key.to_owned();
    }
    let mut writer = Writer { out: String::new() };
    writer.string(key);
    writer.out
}

/// A float always shows that it is one.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let plain = format_float(value, 'f', None);
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}
