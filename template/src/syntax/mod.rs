//! The tree of a template: what the parser makes and the renderer walks.

mod lex;
mod literal;
mod parse;
mod pipes;
mod show;

use std::sync::Arc;

use crate::functions::Function;
use crate::value::Value;

pub(crate) use literal::{Number, float, integer};
pub(crate) use parse::{Syntax, parse};

/// A place in the text, in bytes from its start.
pub(crate) type Pos = usize;

/// What stands one after the other.
pub(crate) type List = Vec<Node>;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(Box<str>),
    /// An action that prints its value, or only declares a variable.
    Action(Pipe),
    /// A chain of `if … else if … else`.
    If(Chain),
    /// A chain of `with … else with … else`.
    With(Chain),
    Range(Box<Range>),
    Call(Call),
    Break,
    Continue,
}

/// Conditions in order, each with what is walked when it is the first that holds.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) branches: Vec<(Pipe, List)>,
    pub(crate) otherwise: List,
}

#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) pos: Pos,
    pub(crate) pipe: Pipe,
    pub(crate) body: List,
    pub(crate) otherwise: List,
}

/// `{{template "name" pipe}}`
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) pos: Pos,
    pub(crate) name: Arc<str>,
    pub(crate) pipe: Option<Pipe>,
}

/// Commands, each with the value of the one before it as its last argument.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) pos: Pos,
    /// Whether the variables exist already.
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<Arc<str>>,
    pub(crate) commands: Vec<Command>,
}

/// A term with its arguments. There is always a first term.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) terms: Vec<Term>,
}

#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) pos: Pos,
    pub(crate) kind: TermKind,
}

#[derive(Debug, Clone)]
pub(crate) enum TermKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Box<Number>),
    /// A string, with the way it was written.
    Text(Value, Box<str>),
    /// `.a.b`
    Field(Vec<Arc<str>>),
    /// `$x.a.b`
    Variable(Arc<str>, Vec<Arc<str>>),
    Function(Arc<str>, Function),
    Pipe(Box<Pipe>),
    /// The fields of a parenthesised pipe or of what a function gives.
    Chain(Box<Term>, Vec<Arc<str>>),
}
