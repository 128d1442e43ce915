//! Cuts a template into tokens, as Go's text/template/parse does.

use super::Pos;
use crate::parse::Delims;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Any other printable character: a comma.
    Char,
    CharConstant,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    Text,
    Quoted,
    Variable,
    Dot,
    /// `if`, `end` and so on; `nil` too.
    Keyword,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) pos: Pos,
    pub(super) text: &'a str,
}

/// Why a text cannot be cut.
#[derive(Debug)]
pub(super) struct LexError {
    pub(super) pos: Pos,
    pub(super) message: String,
}

pub(super) struct Lexer<'a> {
    input: &'a str,
    left: &'a str,
    right: &'a str,
    at: Pos,
    inside: bool,
    parens: usize,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const KEYWORDS: [&str; 11] = [
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

fn is_alphanumeric(c: char) -> bool {
    // Go asks for letters and decimal digits; Rust's `is_alphabetic` takes some marks too.
    c == '_' || c.is_alphanumeric()
}

fn left_trim(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(SPACES))
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str, delims: &'a Delims) -> Self {
        Self {
            input,
            left: &delims.left,
            right: &delims.right,
            at: 0,
            inside: false,
            parens: 0,
        }
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn token(&mut self, kind: Kind, length: usize) -> Token<'a> {
        let pos = self.at;
        let text = self.input.get(pos..pos + length).unwrap_or_default();
        self.at += length;
        Token { kind, pos, text }
    }

    fn error<T>(&self, pos: Pos, message: impl Into<String>) -> Result<T, LexError> {
        let _ = self;
        Err(LexError {
            pos,
            message: message.into(),
        })
    }

    /// The next token; the end again and again at the end.
    pub(super) fn next(&mut self) -> Result<Token<'a>, LexError> {
        while !self.inside {
            if let Some(token) = self.outside()? {
                return Ok(token);
            }
        }
        self.action()
    }

    /// Text up to an action, or the start of one. `None` after a comment.
    fn outside(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let rest = self.rest();
        let Some(at) = rest.find(self.left) else {
            return Ok(Some(if rest.is_empty() {
                self.token(Kind::End, 0)
            } else {
                self.token(Kind::Text, rest.len())
            }));
        };
        if at > 0 {
            let before = &rest[..at];
            let kept = if left_trim(&rest[at + self.left.len()..]) {
                before.trim_end_matches(SPACES)
            } else {
                before
            };
            let token = self.token(Kind::Text, kept.len());
            self.at = token.pos + at;
            if !kept.is_empty() {
                return Ok(Some(token));
            }
        }
        let start = self.at;
        let after = &self.rest()[self.left.len()..];
        let marker = if left_trim(after) { 2 } else { 0 };
        if after[marker..].starts_with("/*") {
            self.at += self.left.len() + marker;
            return self.comment(start).map(|()| None);
        }
        let token = self.token(Kind::LeftDelim, self.left.len());
        self.at += marker;
        self.inside = true;
        self.parens = 0;
        Ok(Some(token))
    }

    fn comment(&mut self, start: Pos) -> Result<(), LexError> {
        let Some(end) = self.rest()[2..].find("*/") else {
            return self.error(start, "unclosed comment");
        };
        self.at += 2 + end + 2;
        let Some(trim) = self.right_delim() else {
            return self.error(start, "comment ends before closing delimiter");
        };
        self.close(trim);
        Ok(())
    }

    /// Whether an action ends here, and whether it trims what follows.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        let trimmed = rest.strip_prefix(SPACES).and_then(|rest| rest.strip_prefix('-'));
        if trimmed.is_some_and(|rest| rest.starts_with(self.right)) {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    /// Steps over the end of an action.
    fn close(&mut self, trim: bool) {
        self.at += self.right.len() + if trim { 2 } else { 0 };
        if trim {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(SPACES).len();
        }
    }

    fn action(&mut self) -> Result<Token<'a>, LexError> {
        if let Some(trim) = self.right_delim() {
            if self.parens > 0 {
                return self.error(self.at, "unclosed left paren");
            }
            let token = Token {
                kind: Kind::RightDelim,
                pos: self.at,
                text: self.right,
            };
            self.close(trim);
            self.inside = false;
            return Ok(token);
        }
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else {
            return self.error(self.at, "unclosed action");
        };
        match first {
            _ if SPACES.contains(&first) => Ok(self.space()),
            '=' => Ok(self.token(Kind::Assign, 1)),
            ':' if chars.next() == Some('=') => Ok(self.token(Kind::Declare, 2)),
            ':' => self.error(self.at, "expected :="),
            '|' => Ok(self.token(Kind::Pipe, 1)),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => match rest[1..].find('`') {
                Some(end) => Ok(self.token(Kind::RawString, end + 2)),
                None => self.error(self.at, "unterminated raw quoted string"),
            },
            '$' => self.word(Kind::Variable, 1),
            '.' if !chars.next().is_some_and(|c| c.is_ascii_digit()) => self.word(Kind::Field, 1),
            '.' | '+' | '-' | '0'..='9' => self.number(),
            _ if is_alphanumeric(first) => self.word(Kind::Identifier, 0),
            '(' => {
                self.parens += 1;
                Ok(self.token(Kind::LeftParen, 1))
            }
            ')' => {
                if self.parens == 0 {
                    return self.error(self.at, "unexpected right paren");
                }
                self.parens -= 1;
                Ok(self.token(Kind::RightParen, 1))
            }
            ' '..='~' => Ok(self.token(Kind::Char, 1)),
            _ => self.error(
                self.at,
                format!("unrecognized character in action: U+{:04X}", u32::from(first)),
            ),
        }
    }

    /// Blanks, up to one that belongs to a trimming end of the action.
    fn space(&mut self) -> Token<'a> {
        let rest = self.rest();
        let all = rest.len() - rest.trim_start_matches(SPACES).len();
        let trims = rest[all..]
            .strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(self.right));
        // A single blank before the marker was seen by `right_delim`.
        self.token(Kind::Space, if trims && all > 1 { all - 1 } else { all })
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<Token<'a>, LexError> {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if c == '\n' {
                break;
            }
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                return Ok(self.token(kind, at + 1));
            }
        }
        self.error(self.at, unterminated)
    }

    fn at_terminator(&self, rest: &str) -> bool {
        match rest.chars().next() {
            None => true,
            Some(c) => {
                SPACES.contains(&c)
                    || matches!(c, '.' | ',' | '|' | ':' | ')' | '(')
                    || rest.starts_with(self.right)
            }
        }
    }

    /// An identifier, a field or a variable; `start` is what its first letter comes after.
    fn word(&mut self, kind: Kind, start: usize) -> Result<Token<'a>, LexError> {
        let rest = self.rest();
        let mut length = start;
        if start == 0 || !self.at_terminator(&rest[start..]) {
            length += rest[start..]
                .find(|c| !is_alphanumeric(c))
                .unwrap_or(rest.len() - start);
        }
        if !self.at_terminator(&rest[length..]) {
            let bad = rest[length..].chars().next().unwrap_or(' ');
            return self.error(
                self.at + length,
                format!("bad character U+{:04X} {bad:?}", u32::from(bad)),
            );
        }
        let text = &rest[..length];
        let kind = match kind {
            Kind::Field if length == 1 => Kind::Dot,
            Kind::Identifier if KEYWORDS.contains(&text) => Kind::Keyword,
            Kind::Identifier if matches!(text, "true" | "false") => Kind::Bool,
            other => other,
        };
        Ok(self.token(kind, length))
    }

    fn number(&mut self) -> Result<Token<'a>, LexError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
        let mut digits: fn(&u8) -> bool = |b| b.is_ascii_digit() || *b == b'_';
        let mut exponent: &[u8] = b"eE";
        if bytes.get(at) == Some(&b'0') {
            at += 1;
            match bytes.get(at) {
                Some(b'x' | b'X') => {
                    digits = |b| b.is_ascii_hexdigit() || *b == b'_';
                    exponent = b"pP";
                    at += 1;
                }
                Some(b'o' | b'O') => {
                    digits = |b| matches!(b, b'0'..=b'7' | b'_');
                    exponent = b"";
                    at += 1;
                }
                Some(b'b' | b'B') => {
                    digits = |b| matches!(b, b'0' | b'1' | b'_');
                    exponent = b"";
                    at += 1;
                }
                _ => {}
            }
        }
        let run = |mut at: usize, of: fn(&u8) -> bool| {
            while bytes.get(at).is_some_and(of) {
                at += 1;
            }
            at
        };
        at = run(at, digits);
        if bytes.get(at) == Some(&b'.') {
            at = run(at + 1, digits);
        }
        if bytes.get(at).is_some_and(|byte| exponent.contains(byte)) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at = run(at, |b| b.is_ascii_digit() || *b == b'_');
        }
        at += usize::from(bytes.get(at) == Some(&b'i'));
        let next = rest.get(at..).and_then(|rest| rest.chars().next());
        if next.is_some_and(|c| is_alphanumeric(c) || c == '+' || c == '-') {
            let end = at + next.map_or(0, char::len_utf8);
            return self.error(self.at, format!("bad number syntax: {:?}", &rest[..end]));
        }
        Ok(self.token(Kind::Number, at))
    }
}
