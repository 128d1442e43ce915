//! Makes the tree out of the tokens, as Go's text/template/parse does: every function and variable is known afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lex::{Kind, LexError, Lexer, Token};
use super::literal;
use super::{Call, Chain, List, Node, Pos, Range};
use crate::parse::{Delims, ParseError};

/// How deep blocks and parentheses may be nested together. The parser and the renderer recurse on it.
const MAX_DEPTH: usize = 100;
/// How many `else if` or `else with` one chain may have; each is looked at in turn.
const MAX_BRANCHES: usize = 1000;

/// A parsed text.
pub(crate) struct Syntax {
    pub(crate) main: List,
    pub(crate) defines: BTreeMap<Arc<str>, List>,
}

/// Parses a text.
pub(crate) fn parse(text: &str, delims: &Delims) -> Result<Syntax, ParseError> {
    let mut parser = Parser {
        source: text,
        lexer: Lexer::new(text, delims),
        waiting: Vec::new(),
        scope: Scope::default(),
        depth: 0,
        open: Vec::new(),
        defines: BTreeMap::new(),
    };
    let main = parser.top()?;
    let Parser { defines, .. } = parser;
    Ok(Syntax { main, defines })
}

/// What is known inside the body of a template or definition.
pub(super) struct Scope {
    pub(super) variables: Vec<Arc<str>>,
    /// How many bodies of `range` are around.
    ranges: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            variables: vec![Arc::from("$")],
            ranges: 0,
        }
    }
}

pub(super) struct Parser<'a> {
    source: &'a str,
    lexer: Lexer<'a>,
    /// Tokens that were looked at and given back, the next one last.
    pub(super) waiting: Vec<Token<'a>>,
    pub(super) scope: Scope,
    depth: usize,
    /// Where the blocks begin that are open.
    open: Vec<Pos>,
    defines: BTreeMap<Arc<str>, List>,
}

pub(super) type Parse<T> = Result<T, ParseError>;

/// What ended a list.
enum Stop<'a> {
    End,
    /// With the token behind `else`.
    Else(Token<'a>),
}

impl<'a> Parser<'a> {
    pub(super) fn error<T>(&self, pos: Pos, message: impl Into<String>) -> Parse<T> {
        Err(ParseError::at(self.source, pos, message.into()))
    }

    pub(super) fn next(&mut self) -> Parse<Token<'a>> {
        if let Some(token) = self.waiting.pop() {
            return Ok(token);
        }
        self.lexer
            .next()
            .map_err(|LexError { pos, message }| ParseError::at(self.source, pos, message))
    }

    pub(super) fn peek(&mut self) -> Parse<Token<'a>> {
        let token = self.next()?;
        self.waiting.push(token);
        Ok(token)
    }

    pub(super) fn next_solid(&mut self) -> Parse<Token<'a>> {
        loop {
            let token = self.next()?;
            if token.kind != Kind::Space {
                return Ok(token);
            }
        }
    }

    pub(super) fn peek_solid(&mut self) -> Parse<Token<'a>> {
        let token = self.next_solid()?;
        self.waiting.push(token);
        Ok(token)
    }

    pub(super) fn unexpected<T>(&self, token: Token<'a>, context: &str) -> Parse<T> {
        match token.kind {
            Kind::End => self.error(token.pos, "unexpected EOF"),
            _ => self.error(
                token.pos,
                format!("unexpected {:?} in {context}", shorten(token.text)),
            ),
        }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parse<Token<'a>> {
        let token = self.next_solid()?;
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(token, context)
        }
    }

    /// One level deeper.
    pub(super) fn nested<T>(&mut self, pos: Pos, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(
                pos,
                format!("nested deeper than {MAX_DEPTH} blocks and parentheses"),
            );
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// One level deeper, in a block that an `end` must close.
    fn inside<T>(&mut self, begin: Pos, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.open.push(begin);
        let result = self.nested(begin, parse);
        self.open.pop();
        result
    }

    fn top(&mut self) -> Parse<List> {
        let mut list = List::new();
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::End => return Ok(list),
                Kind::LeftDelim => {
                    self.next()?;
                    let first = self.next_solid()?;
                    if first.kind == Kind::Keyword && first.text == "define" {
                        self.inside(first.pos, |parser| parser.definition(first.pos))?;
                        continue;
                    }
                    self.waiting.push(first);
                    match self.action(token)? {
                        Ok(node) => list.push(node),
                        Err(Stop::End) => return self.error(token.pos, "unexpected {{end}}"),
                        Err(Stop::Else(_)) => return self.error(token.pos, "unexpected {{else}}"),
                    }
                }
                Kind::Text => {
                    self.next()?;
                    list.push(Node::Text(token.text.into()));
                }
                _ => return self.unexpected(token, "input"),
            }
        }
    }

    /// What stands in a block, up to its `end` or `else`.
    fn list(&mut self) -> Parse<(List, Stop<'a>)> {
        let mut list = List::new();
        loop {
            let token = self.next_solid()?;
            match token.kind {
                Kind::End => {
                    let begin = self.open.last().copied().unwrap_or(token.pos);
                    return self.error(begin, "unexpected EOF: this block has no {{end}}");
                }
                Kind::Text => list.push(Node::Text(token.text.into())),
                Kind::LeftDelim => match self.action(token)? {
                    Ok(node) => list.push(node),
                    Err(stop) => return Ok((list, stop)),
                },
                _ => return self.unexpected(token, "input"),
            }
        }
    }

    /// A list that an `end` must end.
    fn list_to_end(&mut self, context: &str) -> Parse<List> {
        match self.list()? {
            (list, Stop::End) => Ok(list),
            (_, Stop::Else(token)) => self.error(token.pos, format!("unexpected {{{{else}}}} in {context}")),
        }
    }

    fn definition(&mut self, pos: Pos) -> Parse<()> {
        let name = self.name("define clause")?;
        self.expect(Kind::RightDelim, "define clause")?;
        self.define(pos, name, "define clause")
    }

    /// The body of a definition, with variables of its own.
    fn define(&mut self, pos: Pos, name: Arc<str>, context: &str) -> Parse<()> {
        let outer = std::mem::take(&mut self.scope);
        let body = self.list_to_end(context);
        self.scope = outer;
        let body = body?;
        match self.defines.get(&name) {
            // Go lets an empty definition stand beside a real one, and refuses two real ones.
            Some(_) if is_empty(&body) => {}
            Some(earlier) if !is_empty(earlier) => {
                return self.error(pos, format!("multiple definition of template {name:?}"));
            }
            _ => {
                self.defines.insert(name, body);
            }
        }
        Ok(())
    }

    /// An action behind its delimiter, or what ends the list that it stands in.
    fn action(&mut self, delim: Token<'a>) -> Parse<Result<Node, Stop<'a>>> {
        let token = self.next_solid()?;
        if token.kind != Kind::Keyword {
            self.waiting.push(token);
            return self
                .pipe("command", Kind::RightDelim)
                .map(|pipe| Ok(Node::Action(pipe)));
        }
        let node = match token.text {
            "if" => Node::If(self.inside(delim.pos, |parser| parser.chain("if"))?),
            "with" => Node::With(self.inside(delim.pos, |parser| parser.chain("with"))?),
            "range" => self.inside(delim.pos, |parser| parser.range(token.pos))?,
            "block" => self.inside(delim.pos, |parser| parser.block(token.pos))?,
            "template" => self.call(token.pos)?,
            "break" | "continue" => {
                self.expect(Kind::RightDelim, token.text)?;
                if self.scope.ranges == 0 {
                    return self.error(token.pos, format!("{{{{{}}}}} outside {{{{range}}}}", token.text));
                }
                if token.text == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }
            }
            "end" => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Err(Stop::End));
            }
            "else" => {
                let next = self.peek_solid()?;
                if !(next.kind == Kind::Keyword && matches!(next.text, "if" | "with")) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Err(Stop::Else(next)));
            }
            "define" => {
                return self.error(token.pos, "unexpected {{define}}: it stands inside another block");
            }
            // `nil` alone.
            _ => {
                self.waiting.push(token);
                return self
                    .pipe("command", Kind::RightDelim)
                    .map(|pipe| Ok(Node::Action(pipe)));
            }
        };
        Ok(Ok(node))
    }

    /// `if` or `with`, with every `else if` or `else with` behind it.
    fn chain(&mut self, keyword: &str) -> Parse<Chain> {
        let outside = self.scope.variables.len();
        let mut branches = Vec::new();
        let otherwise = loop {
            let pipe = self.pipe(keyword, Kind::RightDelim)?;
            let (body, stop) = self.list()?;
            branches.push((pipe, body));
            match stop {
                Stop::End => break List::new(),
                Stop::Else(next) if next.kind == Kind::Keyword && next.text == keyword => {
                    if branches.len() > MAX_BRANCHES {
                        return self.error(
                            next.pos,
                            format!(
                                "more than {MAX_BRANCHES} else {keyword}: a map or templates can do that"
                            ),
                        );
                    }
                    self.next_solid()?;
                }
                Stop::Else(next) if next.kind == Kind::Keyword => {
                    return self.unexpected(next, "else");
                }
                Stop::Else(_) => break self.list_to_end(keyword)?,
            }
        };
        self.scope.variables.truncate(outside);
        Ok(Chain { branches, otherwise })
    }

    fn range(&mut self, pos: Pos) -> Parse<Node> {
        let outside = self.scope.variables.len();
        let pipe = self.pipe("range", Kind::RightDelim)?;
        self.scope.ranges += 1;
        let list = self.list();
        self.scope.ranges -= 1;
        let (body, stop) = list?;
        let otherwise = match stop {
            Stop::End => List::new(),
            Stop::Else(next) if next.kind == Kind::Keyword => return self.unexpected(next, "else"),
            Stop::Else(_) => self.list_to_end("range")?,
        };
        self.scope.variables.truncate(outside);
        Ok(Node::Range(Box::new(Range {
            pos,
            pipe,
            body,
            otherwise,
        })))
    }

    /// A definition and a call of it at once.
    fn block(&mut self, pos: Pos) -> Parse<Node> {
        let name = self.name("block clause")?;
        let pipe = self.pipe("block clause", Kind::RightDelim)?;
        self.define(pos, Arc::clone(&name), "block clause")?;
        Ok(Node::Call(Call {
            pos,
            name,
            pipe: Some(pipe),
        }))
    }

    fn call(&mut self, pos: Pos) -> Parse<Node> {
        let name = self.name("template clause")?;
        let token = self.next_solid()?;
        let pipe = if token.kind == Kind::RightDelim {
            None
        } else {
            self.waiting.push(token);
            Some(self.pipe("template clause", Kind::RightDelim)?)
        };
        Ok(Node::Call(Call { pos, name, pipe }))
    }

    /// The name of a template.
    fn name(&mut self, context: &str) -> Parse<Arc<str>> {
        let token = self.next_solid()?;
        if !matches!(token.kind, Kind::Quoted | Kind::RawString) {
            return self.unexpected(token, context);
        }
        let bytes = literal::unquote(token.text);
        match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(name) => Ok(name.into()),
            None => self.error(token.pos, "invalid syntax"),
        }
    }
}

/// Whether there is nothing but blanks and definitions: what may be defined again.
fn is_empty(list: &List) -> bool {
    list.iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// The beginning of a token, for an error.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(20).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
