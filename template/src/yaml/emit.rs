//! Writes YAML with the layout of yaml.v2: its rules of indentation, quoting and folding.

use super::order;
use super::scalar::{self, analyse, is_break};
use crate::fields;
use crate::fmt::{MAX_TEXT, format_float};
use crate::value::{Key, Value};

/// A key longer than this, in bytes, stands behind a question mark.
const MAX_KEY: usize = 128;

/// Why a value has no YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EmitError {
    #[error("cannot marshal type: {0}")]
    Type(&'static str),
    #[error("the text would be larger than 16 MiB")]
    TooLong,
}

pub(super) type Emit = Result<(), EmitError>;

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Item,
    Key,
    Entry,
}

pub(super) struct Emitter {
    pub(super) out: String,
    pub(super) column: usize,
    /// -1 before the first block.
    indent: i32,
    /// The last thing written was a blank, or nothing was.
    pub(super) whitespace: bool,
    /// Nothing but indentation and indicators stands in this line.
    pub(super) indention: bool,
}

impl Emitter {
    pub(super) fn document(value: &Value) -> Result<String, EmitError> {
        let mut emitter = Self {
            out: String::new(),
            column: 0,
            indent: -1,
            whitespace: true,
            indention: true,
        };
        emitter.node(value, Place::Item)?;
        Ok(emitter.out)
    }

    pub(super) fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    pub(super) fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    pub(super) fn write_indent(&mut self) -> Emit {
        if self.out.len() > MAX_TEXT {
            return Err(EmitError::TooLong);
        }
        let indent = usize::try_from(self.indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
        Ok(())
    }

    pub(super) fn indicator(&mut self, text: &str, needs_blank: bool, is_blank: bool, keeps_indention: bool) {
        if needs_blank && !self.whitespace {
            self.put(' ');
        }
        for c in text.chars() {
            self.put(c);
        }
        self.whitespace = is_blank;
        self.indention = self.indention && keeps_indention;
    }

    fn deeper(&mut self, without_indent: bool) -> i32 {
        let before = self.indent;
        if self.indent < 0 {
            self.indent = 0;
        } else if !without_indent {
            self.indent += 2;
        }
        before
    }

    fn node(&mut self, value: &Value, place: Place) -> Emit {
        if self.out.len() > MAX_TEXT {
            return Err(EmitError::TooLong);
        }
        match value {
            Value::Absent | Value::Null | Value::NilPointer(_) => self.plain_word("null", place),
            Value::Bool(value) => self.plain_word(if *value { "true" } else { "false" }, place),
            Value::Int(value) | Value::Int64(value) => self.plain_word(&value.to_string(), place),
            Value::Uint64(value) => self.plain_word(&value.to_string(), place),
            Value::Byte(value) => self.plain_word(&value.to_string(), place),
            Value::Float(value) => self.plain_word(&float(*value), place),
            Value::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(int), _) => self.plain_word(&int.to_string(), place),
                (Err(_), Ok(value)) if value.is_finite() => self.plain_word(&float(value), place),
                _ => self.text(text, place),
            },
            Value::Str(text) => self.text(text, place),
            Value::Bytes(bytes) => self.binary(bytes, place),
            Value::List(list) => self.sequence(list.items(), place),
            Value::Map(map) => self.mapping(&order::sorted(map.entries()), place),
            Value::Dict(dict) => self.mapping(&order::sorted(dict.snapshot().entries()), place),
            Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) | Value::Certificate(_) => {
                // yaml.v2 writes the names of a struct's fields in small letters, in the order of the struct.
                let entries: Vec<(Key, Value)> = fields::all(value)
                    .into_iter()
                    .map(|(name, value)| (Key::Str(name.to_lowercase().into()), value))
                    .collect();
                self.mapping(&entries.iter().collect::<Vec<_>>(), place)
            }
            Value::Scratch => self.mapping(&[], place),
            Value::Sequence(..) => Err(EmitError::Type(value.type_name())),
        }
    }

    fn sequence(&mut self, items: &[Value], place: Place) -> Emit {
        if items.is_empty() {
            self.indicator("[", true, true, false);
            self.indicator("]", false, false, false);
            return Ok(());
        }
        // A list stays at the level of its key.
        let before = self.deeper(place != Place::Item && !self.indention);
        for item in items {
            self.write_indent()?;
            self.indicator("-", true, false, true);
            self.node(item, Place::Item)?;
        }
        self.indent = before;
        Ok(())
    }

    fn mapping(&mut self, entries: &[&(Key, Value)], _: Place) -> Emit {
        if entries.is_empty() {
            self.indicator("{", true, true, false);
            self.indicator("}", false, false, false);
            return Ok(());
        }
        let before = self.deeper(false);
        for (key, value) in entries {
            self.write_indent()?;
            let key = key.value();
            if is_simple(&key) {
                self.node(&key, Place::Key)?;
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.node(&key, Place::Entry)?;
                self.write_indent()?;
                self.indicator(":", true, false, true);
            }
            self.node(value, Place::Entry)?;
        }
        self.indent = before;
        Ok(())
    }

    fn plain_word(&mut self, text: &str, place: Place) -> Emit {
        self.plain(text, place)
    }

    fn text(&mut self, text: &str, place: Place) -> Emit {
        let stays_text = !scalar::is_other(text) && !scalar::is_base_60(text);
        let analysis = analyse(text);
        let mut style = match (text.contains('\n'), stays_text) {
            (true, _) => Style::Literal,
            (false, true) => Style::Plain,
            (false, false) => Style::DoubleQuoted,
        };
        let is_key = place == Place::Key;
        if is_key && analysis.multiline {
            style = Style::DoubleQuoted;
        }
        if style == Style::Plain && (!analysis.plain || (text.is_empty() && is_key)) {
            style = Style::SingleQuoted;
        }
        if style == Style::SingleQuoted && !analysis.single_quoted {
            style = Style::DoubleQuoted;
        }
        if style == Style::Literal && (!analysis.block || is_key) {
            style = Style::DoubleQuoted;
        }
        self.scalar(text, style, place)
    }

    /// The further lines of a scalar stand one level deeper.
    fn scalar(&mut self, text: &str, style: Style, place: Place) -> Emit {
        let before = self.indent;
        self.indent = before.max(0) + 2;
        let result = match style {
            Style::Plain => self.plain(text, place),
            Style::SingleQuoted => self.single_quoted(text, place),
            Style::DoubleQuoted => self.double_quoted(text, place),
            Style::Literal => self.literal(text),
        };
        self.indent = before;
        result
    }

    /// What is not UTF-8 becomes base64, in lines of 70.
    fn binary(&mut self, bytes: &[u8], place: Place) -> Emit {
        use base64::Engine as _;
        self.indicator("!!binary", true, false, false);
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        if text.len() < 70 {
            return self.plain(&text, place);
        }
        let mut lines = String::new();
        for line in text.as_bytes().chunks(70) {
            lines.push_str(&String::from_utf8_lossy(line));
            lines.push('\n');
        }
        let style = if place == Place::Key {
            Style::DoubleQuoted
        } else {
            Style::Literal
        };
        self.scalar(&lines, style, place)
    }
}

fn is_simple(key: &Value) -> bool {
    match key {
        Value::Str(text) => text.len() <= MAX_KEY && !text.chars().any(is_break),
        _ => true,
    }
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    format_float(value, 'g', None)
}
