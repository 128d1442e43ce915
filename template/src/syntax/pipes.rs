//! Reads pipes: declarations, commands, terms.

use std::sync::Arc;

use super::lex::{Kind, Token};
use super::literal;
use super::parse::{Parse, Parser};
use super::{Command, Pipe, Pos, Term, TermKind};
use crate::functions::{self, Known};
use crate::value::Value;

impl Parser<'_> {
    pub(super) fn pipe(&mut self, context: &str, end: Kind) -> Parse<Pipe> {
        let pos = self.peek_solid()?.pos;
        let mut pipe = Pipe {
            pos,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_solid()?;
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => {
                    self.waiting.push(token);
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                Kind::Keyword if token.text == "nil" => {
                    self.waiting.push(token);
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(token, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.error(pos, format!("missing value for {context}"));
        }
        for (position, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.terms.first();
            if let Some(
                TermKind::Bool(_) | TermKind::Dot | TermKind::Nil | TermKind::Number(_) | TermKind::Text(..),
            ) = first.map(|term| &term.kind)
            {
                return self.error(
                    pos,
                    format!("non executable command in pipeline stage {}", position + 1),
                );
            }
        }
        Ok(pipe)
    }

    /// `$x :=`, `$x =` or, in a range, `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parse<()> {
        loop {
            let variable = self.peek_solid()?;
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next_solid()?;
            let after = self.peek()?;
            let next = self.next_solid()?;
            let declared = match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assigns = next.kind == Kind::Assign;
                    true
                }
                Kind::Char if next.text == "," => false,
                _ => {
                    // A variable that is used: everything goes back, the blank behind it too.
                    self.waiting.push(next);
                    if after.kind == Kind::Space {
                        self.waiting.push(after);
                    }
                    self.waiting.push(variable);
                    return Ok(());
                }
            };
            let name: Arc<str> = variable.text.into();
            pipe.variables.push(Arc::clone(&name));
            self.scope.variables.push(name);
            if declared {
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return self.error(variable.pos, format!("too many declarations in {context}"));
            }
            let next = self.peek_solid()?;
            if !matches!(next.kind, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                return self.error(next.pos, "range can only initialize variables");
            }
        }
    }

    fn command(&mut self) -> Parse<Command> {
        let pos = self.peek_solid()?.pos;
        let mut terms = Vec::new();
        loop {
            self.peek_solid()?;
            if let Some(term) = self.operand()? {
                terms.push(term);
            }
            let token = self.next()?;
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.waiting.push(token),
                Kind::Pipe => {}
                _ => return self.unexpected(token, "operand"),
            }
            break;
        }
        if terms.is_empty() {
            return self.error(pos, "empty command");
        }
        Ok(Command { terms })
    }

    /// A term with the fields right behind it.
    fn operand(&mut self) -> Parse<Option<Term>> {
        let Some(mut term) = self.term()? else {
            return Ok(None);
        };
        let mut names: Vec<Arc<str>> = Vec::new();
        let pos = self.peek()?.pos;
        while self.peek()?.kind == Kind::Field {
            names.push(self.next()?.text.trim_start_matches('.').into());
        }
        if names.is_empty() {
            return Ok(Some(term));
        }
        match &mut term.kind {
            TermKind::Field(fields) | TermKind::Variable(_, fields) => fields.extend(names),
            TermKind::Bool(_) | TermKind::Text(..) | TermKind::Number(_) | TermKind::Nil | TermKind::Dot => {
                return self.error(pos, format!("unexpected . after term {:?}", term.to_string()));
            }
            TermKind::Function(..) | TermKind::Pipe(_) | TermKind::Chain(..) => {
                term = Term {
                    pos,
                    kind: TermKind::Chain(Box::new(term), names),
                };
            }
        }
        Ok(Some(term))
    }

    fn term(&mut self) -> Parse<Option<Term>> {
        let token = self.next_solid()?;
        let Token { kind, pos, text } = token;
        let kind = match kind {
            Kind::Identifier => TermKind::Function(text.into(), self.function(pos, text)?),
            Kind::Dot => TermKind::Dot,
            Kind::Keyword if text == "nil" => TermKind::Nil,
            Kind::Variable => {
                if !self.scope.variables.iter().any(|known| known.as_ref() == text) {
                    return self.error(pos, format!("undefined variable {text:?}"));
                }
                TermKind::Variable(text.into(), Vec::new())
            }
            Kind::Field => TermKind::Field(vec![text.trim_start_matches('.').into()]),
            Kind::Bool => TermKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Number => {
                let number = if kind == Kind::Number {
                    literal::number(text)
                } else {
                    literal::character(text)
                };
                match number {
                    Ok(number) => TermKind::Number(Box::new(number)),
                    Err(message) => return self.error(pos, message),
                }
            }
            Kind::LeftParen => {
                let pipe = self.nested(pos, |parser| {
                    parser.pipe("parenthesized pipeline", Kind::RightParen)
                })?;
                TermKind::Pipe(Box::new(pipe))
            }
            Kind::Quoted | Kind::RawString => match literal::unquote(text) {
                Some(bytes) => TermKind::Text(Value::from_bytes(bytes), text.into()),
                None => return self.error(pos, "invalid syntax"),
            },
            _ => {
                self.waiting.push(token);
                return Ok(None);
            }
        };
        Ok(Some(Term { pos, kind }))
    }

    fn function(&self, pos: Pos, name: &str) -> Parse<functions::Function> {
        match functions::known(name) {
            Known::Yes(function) => Ok(function),
            Known::No => self.error(pos, format!("function {name:?} not defined")),
            Known::Refused(reason) => self.error(pos, format!("function {name:?} is refused: {reason}")),
        }
    }
}
