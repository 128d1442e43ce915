//! Reads the lists and maps of YAML between brackets.

use super::parse::{Parse, Parser, resolve};
use super::read_scalar::{self, Style};
use crate::value::{Key, Value};

impl Parser {
    fn flow_space(&mut self) -> Parse<()> {
        self.skip_to_content();
        if self.peek().is_none() {
            return self.error("a bracket is not closed");
        }
        Ok(())
    }

    /// Nothing at all is null where that `may_be`: behind a colon, before that of a map, and with properties.
    fn flow_node(&mut self, may_be_null: bool) -> Parse<Value> {
        let properties = self.properties()?;
        let has_properties = properties.are_there();
        self.flow_space()?;
        let tag = properties.tag.as_deref();
        let value = match self.peek() {
            Some('[') => self.nested(Self::flow_list)?,
            Some('{') => self.nested(Self::flow_map)?,
            Some('*') => self.alias()?,
            Some('"') => resolve(&read_scalar::double_quoted(self)?, Style::Quoted, tag),
            Some('\'') => resolve(&read_scalar::single_quoted(self)?, Style::Quoted, tag),
            Some(',' | ']' | '}' | ':') if may_be_null || has_properties => resolve("", Style::Plain, tag),
            Some(',' | ']' | '}' | ':') => return self.error("did not find expected node content"),
            _ => resolve(&read_scalar::plain_flow(self), Style::Plain, tag),
        };
        Ok(self.finish(properties, value))
    }

    /// `? ` before a key. Whether it was there.
    fn flow_mark(&mut self) -> Parse<bool> {
        let is_there = self.peek() == Some('?') && matches!(self.ahead(1), Some(' ' | '\t' | '\n' | '\r'));
        if is_there {
            self.at += 1;
            self.flow_space()?;
        }
        Ok(is_there)
    }

    /// The value of a pair; null without a colon.
    fn flow_value(&mut self) -> Parse<Value> {
        if self.peek() != Some(':') {
            return Ok(Value::Null);
        }
        self.at += 1;
        self.flow_space()?;
        self.flow_node(true)
    }

    pub(super) fn flow_list(&mut self) -> Parse<Value> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.flow_space()?;
            if self.peek() == Some(']') {
                self.at += 1;
                return Value::list(items).or_else(|_| self.error("nested too deeply"));
            }
            let is_marked = self.flow_mark()?;
            let value = self.flow_node(is_marked)?;
            self.flow_space()?;
            if is_marked || self.peek() == Some(':') {
                // A pair in a list is a map of one.
                let key = self.as_key(&value)?;
                let entry = self.flow_value()?;
                items.push(self.map(vec![(key, entry)])?);
                self.flow_space()?;
            } else {
                items.push(value);
            }
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {}
                _ => return self.error("expected ',' or ']'"),
            }
        }
    }

    pub(super) fn flow_map(&mut self) -> Parse<Value> {
        self.at += 1;
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            self.flow_space()?;
            if self.peek() == Some('}') {
                self.at += 1;
                merged.append(&mut entries);
                return self.map(merged);
            }
            let is_merge = self.peek() == Some('<');
            let is_marked = self.flow_mark()?;
            let before_colon = self.peek() == Some(':');
            let key = self.flow_node(is_marked || before_colon)?;
            self.flow_space()?;
            let value = self.flow_value()?;
            if is_merge && key == Value::str("<<") {
                self.merge(&value, &mut merged)?;
            } else {
                entries.push((self.as_key(&key)?, value));
            }
            self.flow_space()?;
            match self.peek() {
                Some(',') => self.at += 1,
                Some('}') => {}
                _ => return self.error("expected ',' or '}'"),
            }
        }
    }
}
