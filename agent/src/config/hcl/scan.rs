//! Cuts HCL into words.

use super::HclError;
use super::text;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name without quotes.
    Ident(String),
    /// What stood between quotes.
    Text(String),
    /// What stood in a heredoc.
    Heredoc(String),
    /// A number, in decimal.
    Number(String),
    Bool(bool),
    OpenObject,
    CloseObject,
    OpenList,
    CloseList,
    Comma,
    Assign,
    End,
}

/// Where a word begins, counted from the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position(usize);

/// Reads a text word by word.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The line of the last word, and where in the text it was counted up to.
    line: usize,
    counted: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            counted: 0,
        }
    }

    /// The line of a position; positions are asked in their order.
    pub(super) fn line(&mut self, position: Position) -> usize {
        let end = position.0.max(self.counted);
        let between = self.text.get(self.counted..end).unwrap_or_default();
        self.line += between.bytes().filter(|byte| *byte == b'\n').count();
        self.counted = end;
        self.line
    }

    pub(super) fn error<T>(&self, position: Position, reason: &'static str) -> Result<T, HclError> {
        let before = self.text.get(..position.0).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Err(HclError {
            reason,
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
        })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Takes characters while `wanted`.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// The next word with its place.
    pub(super) fn next(&mut self) -> Result<(Token, Position), HclError> {
        self.skip()?;
        let start = Position(self.at);
        let Some(first) = self.take() else {
            return Ok((Token::End, start));
        };
        let token = match first {
            '{' => Token::OpenObject,
            '}' => Token::CloseObject,
            '[' => Token::OpenList,
            ']' => Token::CloseList,
            ',' => Token::Comma,
            '=' => Token::Assign,
            '"' => self.text(start)?,
            '<' => self.heredoc(start)?,
            '-' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(start)?,
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(start)?,
            first if first.is_ascii_digit() => self.number(start)?,
            first if is_letter(first) => self.ident(start),
            _ => return self.error(start, "an unexpected character"),
        };
        Ok((token, start))
    }

    /// White space and comments.
    fn skip(&mut self) -> Result<(), HclError> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let rest = self.rest();
            let start = Position(self.at);
            if rest.starts_with('#') || rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.error(start, "a comment without an end"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn from(&self, start: Position) -> &'a str {
        self.text.get(start.0..self.at).unwrap_or_default()
    }

    fn ident(&mut self, start: Position) -> Token {
        self.take_while(|c| is_letter(c) || c.is_numeric() || matches!(c, '-' | '.'));
        match self.from(start) {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            name => Token::Ident(name.to_owned()),
        }
    }

    /// Octal with a leading zero, hexadecimal with `0x`, as in Go. What follows without a space is the next word.
    fn number(&mut self, start: Position) -> Result<Token, HclError> {
        // The first character is taken: a digit, a sign or a point.
        self.take_while(|c| c.is_ascii_digit());
        if matches!(self.from(start), "0" | "-0") && matches!(self.peek(), Some('x' | 'X')) {
            self.take();
            self.take_while(|c| c.is_ascii_hexdigit());
        } else {
            if !self.from(start).contains('.') && self.peek() == Some('.') {
                self.take();
                self.take_while(|c| c.is_ascii_digit());
            }
            if matches!(self.peek(), Some('e' | 'E')) {
                self.take();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.take();
                }
                self.take_while(|c| c.is_ascii_digit());
            }
        }
        match text::number(self.from(start)) {
            Some(number) => Ok(Token::Number(number)),
            None => self.error(start, "a number that is none"),
        }
    }

    /// A text in quotes. Within `${…}` quotes mean nothing.
    fn text(&mut self, start: Position) -> Result<Token, HclError> {
        let inside = self.at;
        let mut braces = 0_usize;
        loop {
            match self.take() {
                None => return self.error(start, "a text without an end"),
                Some('\n') if braces == 0 => {
                    return self.error(start, "a text without an end on its line; use a heredoc");
                }
                Some('"') if braces == 0 => break,
                Some('$') if braces == 0 && self.peek() == Some('{') => {
                    self.take();
                    braces = 1;
                }
                Some('{') if braces > 0 => braces += 1,
                Some('}') if braces > 0 => braces -= 1,
                // What it stands for is looked at later, but not in ${…}.
                Some('\\') => match self.take() {
                    Some(
                        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"' | '0'..='7' | 'x' | 'u' | 'U',
                    ) => {}
                    _ => return self.error(start, "a text with a sequence after \\ that is none"),
                },
                Some(_) => {}
            }
        }
        let raw = self.text.get(inside..self.at - 1).unwrap_or_default();
        match text::unescaped(raw) {
            Some(text) => Ok(Token::Text(text)),
            None => self.error(start, "a text with a sequence after \\ that is none"),
        }
    }

    /// `<<EOF` or `<<-EOF`, then lines up to one that is `EOF` alone.
    fn heredoc(&mut self, start: Position) -> Result<Token, HclError> {
        if self.take() != Some('<') {
            return self.error(start, "an unexpected character; a heredoc begins with <<");
        }
        let is_indented = self.peek() == Some('-');
        if is_indented {
            self.take();
        }
        let anchor = self.take_while(|c| is_letter(c) || c.is_numeric());
        if anchor.is_empty() || self.take() != Some('\n') {
            return self.error(
                start,
                "a heredoc needs a name after <<, and nothing else on its line",
            );
        }
        let inside = self.at;
        loop {
            let line_start = self.at;
            let line = self.take_while(|c| c != '\n');
            let is_last = self.peek().is_none();
            if line.trim_start().trim_end_matches('\r') == anchor {
                let body = self.text.get(inside..line_start).unwrap_or_default();
                let indent = line.get(..line.len() - line.trim_start().len());
                let indent = indent.unwrap_or_default();
                return Ok(Token::Heredoc(text::heredoc(body, indent, is_indented)));
            }
            if is_last {
                return self.error(start, "a heredoc without an end");
            }
            self.take();
        }
    }
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}
