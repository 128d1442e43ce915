//! Makes a tree of the words.

use super::super::document::{Node, Value};
use super::HclError;
use super::scan::{Position, Scanner, Token};

/// How deep objects and lists may lie in each other.
const DEPTH: usize = 64;

/// Reads a text.
///
/// # Errors
/// The text is not HCL, with the place of the first mistake.
pub(in super::super) fn parse(text: &str) -> Result<Node, HclError> {
    // The mark that some editors put at the start of a file.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut parser = Parser::new(&text)?;
    let entries = parser.entries(0)?;
    match parser.token {
        Token::End => Ok(Node {
            line: Some(1),
            value: Value::Object(entries),
        }),
        _ => parser.wrong("a closing bracket that nothing opened"),
    }
}

/// Looks at one word and takes it when it fits.
struct Parser<'a> {
    scanner: Scanner<'a>,
    token: Token,
    position: Position,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, HclError> {
        let mut scanner = Scanner::new(text);
        let (token, position) = scanner.next()?;
        Ok(Self {
            scanner,
            token,
            position,
        })
    }

    /// Takes the word and looks at the next one.
    fn take(&mut self) -> Result<Token, HclError> {
        let (token, position) = self.scanner.next()?;
        self.position = position;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn wrong<T>(&self, reason: &'static str) -> Result<T, HclError> {
        self.scanner.error(self.position, reason)
    }

    /// What stands in an object, up to its end.
    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Node)>, HclError> {
        let mut entries = Vec::new();
        while !matches!(self.token, Token::CloseObject | Token::End) {
            entries.push(self.entry(depth)?);
            if self.token == Token::Comma {
                self.take()?;
            }
        }
        Ok(entries)
    }

    /// `key = value`, `key {` or `key "name" {`.
    fn entry(&mut self, depth: usize) -> Result<(String, Node), HclError> {
        let line = Some(self.scanner.line(self.position));
        let Some(key) = self.name()? else {
            return self.wrong("a key is expected");
        };
        let mut labels = Vec::new();
        while let Some(label) = self.name()? {
            labels.push(label);
            if labels.len() > DEPTH {
                return self.wrong("too many names of a block");
            }
        }
        let value = match self.token {
            Token::Assign if labels.is_empty() => {
                self.take()?;
                self.value(depth)?
            }
            Token::OpenObject => self.object(depth)?,
            Token::Assign => return self.wrong("after a name an object is expected, without ="),
            _ => return self.wrong("= or { is expected after a key"),
        };
        let mut node = Node { line, value };
        for label in labels.into_iter().rev() {
            let value = Value::Labelled(label, Box::new(node));
            node = Node { line, value };
        }
        Ok((key, node))
    }

    /// A name, with or without quotes, if one is next.
    fn name(&mut self) -> Result<Option<String>, HclError> {
        match &self.token {
            Token::Ident(name) | Token::Text(name) => {
                let name = name.clone();
                self.take()?;
                Ok(Some(name))
            }
            _ => Ok(None),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, HclError> {
        match self.token {
            Token::OpenObject => self.object(depth),
            Token::OpenList => self.list(depth),
            Token::Text(_) | Token::Heredoc(_) | Token::Number(_) | Token::Bool(_) => {
                Ok(match self.take()? {
                    Token::Text(text) | Token::Heredoc(text) => Value::Text(text),
                    Token::Number(number) => Value::Number(number),
                    Token::Bool(value) => Value::Bool(value),
                    _ => Value::Null,
                })
            }
            Token::Ident(_) => self.wrong("a value is expected; a text needs quotes"),
            _ => self.wrong("a value is expected"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, HclError> {
        let depth = self.deeper(depth)?;
        let start = self.position;
        self.take()?;
        let entries = self.entries(depth)?;
        if self.token == Token::End {
            return self.scanner.error(start, "a { without its }");
        }
        self.take()?;
        Ok(Value::Object(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Value, HclError> {
        let depth = self.deeper(depth)?;
        self.take()?;
        let mut items = Vec::new();
        while self.token != Token::CloseList {
            // Vault's parser takes a comma wherever a value may begin.
            if self.token == Token::Comma {
                self.take()?;
                continue;
            }
            let line = Some(self.scanner.line(self.position));
            let value = self.value(depth)?;
            items.push(Node { line, value });
            if !matches!(self.token, Token::Comma | Token::CloseList) {
                return self.wrong("a comma or ] is expected in a list");
            }
        }
        self.take()?;
        Ok(Value::List(items))
    }

    fn deeper(&self, depth: usize) -> Result<usize, HclError> {
        if depth >= DEPTH {
            return self.wrong("too many objects in each other");
        }
        Ok(depth + 1)
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
