//! Reads YAML 1.1 as yaml.v2 does: the first document, aliases, merge keys, the core tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read_scalar::{self, Style};
use super::scalar;
use crate::value::{Entries, Key, Map, Value};

/// How deep blocks and brackets may be nested.
const MAX_NESTED: usize = 100;

/// A text that is not YAML. Says where, never what: the text is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not valid YAML in line {line}: {what}")]
pub(crate) struct ParseError {
    line: usize,
    what: &'static str,
}

pub(super) type Parse<T> = Result<T, ParseError>;

/// Reads the first document.
pub(crate) fn parse(text: &str) -> Parse<Value> {
    let mut parser = Parser {
        text: text.trim_start_matches('\u{feff}').chars().collect(),
        at: 0,
        anchors: BTreeMap::new(),
        nested: 0,
    };
    parser.start()?;
    let is_open = parser.is_open();
    let value = parser.block(-1)?;
    parser.end(is_open)?;
    Ok(value)
}

/// What may stand before a node.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) tag: Option<String>,
    anchor: Option<String>,
}

impl Properties {
    /// Whether there is a tag or an anchor.
    pub(super) fn are_there(&self) -> bool {
        self.tag.is_some() || self.anchor.is_some()
    }
}

pub(super) struct Parser {
    text: Vec<char>,
    pub(super) at: usize,
    anchors: BTreeMap<String, Value>,
    nested: usize,
}

fn is_blank(c: Option<char>) -> bool {
    matches!(c, Some(' ' | '\t'))
}

fn is_end(c: Option<char>) -> bool {
    matches!(c, None | Some('\n' | '\r'))
}

impl Parser {
    pub(super) fn error<T>(&self, what: &'static str) -> Parse<T> {
        let before = self.text.get(..self.at.min(self.text.len())).unwrap_or_default();
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        Err(ParseError { line, what })
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn ahead(&self, distance: usize) -> Option<char> {
        self.text.get(self.at + distance).copied()
    }

    /// The column of the next character, from 0.
    pub(super) fn column(&self) -> i32 {
        let before = self.text.get(..self.at).unwrap_or_default();
        let length = before.iter().rev().take_while(|c| **c != '\n').count();
        i32::try_from(length).unwrap_or(i32::MAX)
    }

    pub(super) fn skip_blanks(&mut self) {
        while is_blank(self.peek()) {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) {
        let after_blank =
            self.at == 0 || matches!(self.text.get(self.at - 1), Some(' ' | '\t' | '\n' | '\r'));
        if self.peek() == Some('#') && after_blank {
            while !is_end(self.peek()) {
                self.at += 1;
            }
        }
    }

    /// Steps over blanks, comments and empty lines.
    pub(super) fn skip_to_content(&mut self) {
        loop {
            self.skip_blanks();
            self.skip_comment();
            match self.peek() {
                Some('\n' | '\r') => self.at += 1,
                _ => return,
            }
        }
    }

    /// Whether a line `---` or `...` starts here.
    pub(super) fn at_marker(&self) -> bool {
        let three = |c| (0..3).all(|distance| self.ahead(distance) == Some(c));
        let closed = is_blank(self.ahead(3)) || is_end(self.ahead(3));
        self.column() == 0 && closed && (three('-') || three('.'))
    }

    fn start(&mut self) -> Parse<()> {
        self.skip_to_content();
        let mut is_directed = false;
        while self.peek() == Some('%') && self.column() == 0 {
            let start = self.at;
            while !is_end(self.peek()) {
                self.at += 1;
            }
            let line: String = self.text.get(start..self.at).unwrap_or_default().iter().collect();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["%YAML", "1.1", ..] | ["%TAG", _, _, ..] => is_directed = true,
                ["%YAML", ..] => return self.error("found incompatible YAML document"),
                _ => return self.error("found unknown directive name"),
            }
            self.skip_to_content();
        }
        if self.at_marker() && self.peek() == Some('-') {
            self.at += 3;
        } else if is_directed {
            return self.error("did not find expected <document start>");
        }
        Ok(())
    }

    /// Whether the document is a map or list by its lines: its end has to be found. Any other value ends by itself.
    fn is_open(&mut self) -> bool {
        let start = self.at;
        self.skip_to_content();
        let has_properties = self.properties().is_ok_and(|properties| properties.are_there());
        self.skip_to_content();
        let is_open = self.at_entry() || self.is_key();
        let is_open = is_open || (has_properties && !matches!(self.peek(), Some('[' | '{' | '"' | '\'')));
        self.at = start;
        is_open
    }

    fn end(&mut self, is_open: bool) -> Parse<()> {
        self.skip_to_content();
        if self.peek().is_none() || self.at_marker() {
            return Ok(());
        }
        if is_open {
            return self.error("something follows the value");
        }
        // The library looks at the next word, whatever it is, and at no more.
        match self.peek() {
            Some('@' | '`' | '%') => self.error("found character that cannot start any token"),
            Some('"') => read_scalar::double_quoted(self).map(drop),
            Some('\'') => read_scalar::single_quoted(self).map(drop),
            _ => Ok(()),
        }
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nested >= MAX_NESTED {
            return self.error("nested too deeply");
        }
        self.nested += 1;
        let result = parse(self);
        self.nested -= 1;
        result
    }

    /// Whether a sequence's entry starts here.
    fn at_entry(&self) -> bool {
        self.peek() == Some('-') && (is_blank(self.ahead(1)) || is_end(self.ahead(1)))
    }

    /// A node that stands further right than its parent; nothing when there is none.
    fn block(&mut self, parent: i32) -> Parse<Value> {
        self.skip_to_content();
        if self.peek().is_none() || self.at_marker() || self.column() <= parent {
            return Ok(Value::Null);
        }
        self.nested(|parser| parser.block_node(parent))
    }

    fn block_node(&mut self, parent: i32) -> Parse<Value> {
        let line = self.line_start();
        if line.iter().take_while(|c| c.is_whitespace()).any(|c| *c == '\t') {
            return self.error("a tab where the indentation is");
        }
        let column = self.column();
        if self.at_entry() {
            return self.sequence(column);
        }
        if self.is_key() {
            return self.mapping(column);
        }
        let properties = self.properties()?;
        if is_end(self.peek()) || self.peek() == Some('#') {
            let value = self.block(parent)?;
            return Ok(self.finish(properties, value));
        }
        if properties.tag.is_some() || properties.anchor.is_some() {
            // What has properties may still be the first key of a map: then they are the key's, and rarely meant.
            if self.is_key() {
                return self.error("properties of a key are not read");
            }
        }
        self.inline(parent, properties)
    }

    /// The line that is being read, up to here.
    fn line_start(&self) -> Vec<char> {
        let before = self.text.get(..self.at).unwrap_or_default();
        let mut line: Vec<char> = before.iter().rev().take_while(|c| **c != '\n').copied().collect();
        line.reverse();
        line
    }

    /// Whether this line starts with a key of a map: something simple, a colon, and a blank or the line's end.
    fn is_key(&mut self) -> bool {
        if self.peek() == Some('?') && (is_blank(self.ahead(1)) || is_end(self.ahead(1))) {
            return true;
        }
        if matches!(
            self.peek(),
            Some('|' | '>' | '&' | '!' | '[' | '{' | '%' | '@' | '`')
        ) {
            return false;
        }
        let back = self.at;
        let found = self.key().is_ok() && {
            self.skip_blanks();
            self.peek() == Some(':') && (is_blank(self.ahead(1)) || is_end(self.ahead(1)))
        };
        self.at = back;
        found
    }

    /// A key on one line.
    fn key(&mut self) -> Parse<Value> {
        let start = self.at;
        let value = match self.peek() {
            Some('"') => Value::str(read_scalar::double_quoted(self)?),
            Some('\'') => Value::str(read_scalar::single_quoted(self)?),
            Some('*') => self.alias()?,
            _ => {
                let text = read_scalar::plain_line(self, false);
                if text.is_empty() {
                    return self.error("expected a key");
                }
                resolve(&text, Style::Plain, None)
            }
        };
        let read = self.text.get(start..self.at).unwrap_or_default();
        if read.contains(&'\n') {
            return self.error("a key on several lines");
        }
        Ok(value)
    }

    fn mapping(&mut self, column: i32) -> Parse<Value> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut merged: Vec<(Key, Value)> = Vec::new();
        loop {
            self.skip_to_content();
            if self.peek().is_none() || self.at_marker() || self.column() < column {
                break;
            }
            if self.column() > column || self.at_entry() || !self.is_key() {
                return self.error("expected a key at the column of the others");
            }
            let is_merge = self.peek() == Some('<');
            let key = if self.peek() == Some('?') {
                self.at += 1;
                let key = self.block(column)?;
                self.skip_to_content();
                if self.column() != column || self.peek() != Some(':') {
                    entries.push((self.as_key(&key)?, Value::Null));
                    continue;
                }
                key
            } else {
                let key = self.key()?;
                self.skip_blanks();
                key
            };
            self.at += 1;
            let value = self.entry(column)?;
            if is_merge && key == Value::str("<<") {
                self.merge(&value, &mut merged)?;
            } else {
                entries.push((self.as_key(&key)?, value));
            }
        }
        // What is said itself wins over what is merged in.
        merged.append(&mut entries);
        self.map(merged)
    }

    pub(super) fn map(&self, entries: Vec<(Key, Value)>) -> Parse<Value> {
        match Map::new(Entries::AnyKeys, entries) {
            Ok(map) => Ok(Value::Map(Arc::new(map))),
            Err(_) => self.error("nested too deeply"),
        }
    }

    /// `<<`: one map, or a list of maps of which the first wins.
    pub(super) fn merge(&self, value: &Value, into: &mut Vec<(Key, Value)>) -> Parse<()> {
        match value {
            Value::Map(map) => into.extend(map.entries().iter().cloned()),
            Value::List(list) => {
                for item in list.items().iter().rev() {
                    match item {
                        Value::Map(map) => into.extend(map.entries().iter().cloned()),
                        _ => return self.error("map merge requires map or sequence of maps as the value"),
                    }
                }
            }
            _ => return self.error("map merge requires map or sequence of maps as the value"),
        }
        Ok(())
    }

    pub(super) fn as_key(&self, value: &Value) -> Parse<Key> {
        Ok(match value {
            Value::Absent | Value::Null => Key::Nil,
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Float(value) => Key::Float(*value),
            Value::Str(text) => Key::Str(Arc::clone(text)),
            _ => return self.error("invalid map key"),
        })
    }

    /// What stands behind a colon.
    fn entry(&mut self, column: i32) -> Parse<Value> {
        self.skip_blanks();
        self.skip_comment();
        let properties = self.properties()?;
        self.skip_comment();
        if is_end(self.peek()) {
            self.skip_to_content();
            // A list may stand at the column of its key.
            let value = if self.column() == column && self.at_entry() && !self.at_marker() {
                self.nested(|parser| parser.sequence(column))?
            } else {
                self.block(column)?
            };
            return Ok(self.finish(properties, value));
        }
        if self.at_entry() {
            return self.error("a list behind a key in the same line");
        }
        let line = self.at;
        let value = self.nested(|parser| parser.inline(column, properties))?;
        let read = self.text.get(line..self.at).unwrap_or_default();
        if !read.contains(&'\n') {
            self.skip_blanks();
            self.skip_comment();
            if !is_end(self.peek()) {
                return self.error("something follows the value");
            }
        }
        Ok(value)
    }

    fn sequence(&mut self, column: i32) -> Parse<Value> {
        let mut items = Vec::new();
        loop {
            self.skip_to_content();
            if self.peek().is_none() || self.at_marker() || self.column() < column {
                break;
            }
            if self.column() > column {
                return self.error("expected an entry at the column of the others");
            }
            if !self.at_entry() {
                break;
            }
            self.at += 1;
            items.push(self.block(column)?);
        }
        Value::list(items).or_else(|_| self.error("nested too deeply"))
    }

    /// A node that is no block of maps or lists.
    fn inline(&mut self, parent: i32, properties: Properties) -> Parse<Value> {
        let tag = properties.tag.as_deref();
        let value = match self.peek() {
            Some('[') => self.flow_list()?,
            Some('{') => self.flow_map()?,
            Some('*') => self.alias()?,
            Some('|' | '>') => resolve(&read_scalar::block(self, parent)?, Style::Quoted, tag),
            Some('"') => resolve(&read_scalar::double_quoted(self)?, Style::Quoted, tag),
            Some('\'') => resolve(&read_scalar::single_quoted(self)?, Style::Quoted, tag),
            Some('%' | '@' | '`') => return self.error("a character that starts no value"),
            _ => {
                let text = read_scalar::plain(self, parent)?;
                self.skip_blanks();
                if self.peek() == Some(':') && (is_blank(self.ahead(1)) || is_end(self.ahead(1))) {
                    return self.error("mapping values are not allowed in this context");
                }
                resolve(&text, Style::Plain, tag)
            }
        };
        Ok(self.finish(properties, value))
    }

    pub(super) fn finish(&mut self, properties: Properties, value: Value) -> Value {
        let Properties { tag, anchor } = properties;
        let value = match (tag.as_deref(), value) {
            (Some("!!str"), Value::Null) => Value::str(""),
            (_, value) => value,
        };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, value.clone());
        }
        value
    }

    fn word(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '{' | '}'))
        {
            out.push(c);
            self.at += 1;
        }
        out
    }

    pub(super) fn properties(&mut self) -> Parse<Properties> {
        let mut properties = Properties::default();
        loop {
            match self.peek() {
                Some('&') if properties.anchor.is_none() => {
                    self.at += 1;
                    properties.anchor = Some(self.word());
                }
                Some('!') if properties.tag.is_none() => properties.tag = Some(self.word()),
                _ => return Ok(properties),
            }
            self.skip_blanks();
        }
    }

    pub(super) fn alias(&mut self) -> Parse<Value> {
        self.at += 1;
        let name = self.word();
        match self.anchors.get(&name) {
            Some(value) => Ok(value.clone()),
            None => self.error("unknown anchor"),
        }
    }
}

/// The value of a scalar.
pub(super) fn resolve(text: &str, style: Style, tag: Option<&str>) -> Value {
    match (style, tag) {
        (_, Some("!!str" | "!")) | (Style::Quoted, None) => Value::str(text),
        (_, Some("!!float")) => match scalar::value(text) {
            #[expect(clippy::cast_precision_loss, reason = "so does Go")]
            Value::Int(int) => Value::Float(int as f64),
            other => other,
        },
        (_, Some("!!binary")) => {
            use base64::Engine as _;
            let clean: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            match base64::engine::general_purpose::STANDARD.decode(clean) {
                Ok(bytes) => Value::from_bytes(bytes),
                Err(_) => Value::str(text),
            }
        }
        _ => scalar::value(text),
    }
}
