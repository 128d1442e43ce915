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

    fn flow_node(&mut self) -> Parse<Value> {
        let properties = self.properties()?;
        self.flow_space()?;
        let tag = properties.tag.as_deref();
        let value = match self.peek() {
            Some('[') => self.nested(Self::flow_list)?,
            Some('{') => self.nested(Self::flow_map)?,
            Some('*') => self.alias()?,
            Some('"') => resolve(&read_scalar::double_quoted(self)?, Style::Quoted, tag),
            Some('\'') => resolve(&read_scalar::single_quoted(self)?, Style::Quoted, tag),
            Some(',' | ']' | '}' | ':') => Value::Null,
            _ => resolve(&read_scalar::plain_flow(self), Style::Plain, tag),
        };
        Ok(self.finish(properties, value))
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
            let value = self.flow_node()?;
            self.flow_space()?;
            if self.peek() == Some(':') {
                // A pair in a list is a map of one.
                self.at += 1;
                self.flow_space()?;
                let key = self.as_key(&value)?;
                let entry = self.flow_node()?;
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
            let key = self.flow_node()?;
            self.flow_space()?;
            let value = if self.peek() == Some(':') {
                self.at += 1;
                self.flow_space()?;
                self.flow_node()?
            } else {
                Value::Null
            };
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
