//! Evaluates pipes, commands and terms, and calls functions.

use std::sync::Arc;

use super::{Run, Walk};
use crate::functions::{Failure, Function, Kind, Type};
use crate::syntax::{Command, Number, Pipe, Term, TermKind};
use crate::value::Value;

/// What a function is called with: terms, and the value of the command before.
pub(super) struct Arguments<'a> {
    pub(super) terms: &'a [Term],
    pub(super) piped: Option<Value>,
}

impl Arguments<'_> {
    pub(super) const NONE: Self = Self {
        terms: &[],
        piped: None,
    };

    pub(super) fn are_none(&self) -> bool {
        self.terms.is_empty() && self.piped.is_none()
    }
}

impl<'a> Run<'a> {
    /// The value of a pipe, bound to the variables that it declares or assigns.
    pub(super) fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Walk<Value> {
        let mut last = None;
        for command in &pipe.commands {
            let value = self.command(command, dot, last)?;
            // A nil interface that leaves a command is no value any more: its fields may be asked for.
            last = Some(if let Value::Null = value {
                Value::Absent
            } else {
                value
            });
        }
        let value = last.unwrap_or(Value::Absent);
        for name in &pipe.variables {
            if pipe.assigns {
                self.set(pipe, name, value.clone())?;
            } else {
                self.variables.push((Arc::clone(name), value.clone()));
            }
        }
        Ok(value)
    }

    /// Gives a variable that is there another value.
    pub(super) fn set(&mut self, pipe: &Pipe, name: &Arc<str>, value: Value) -> Walk<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => self.error(pipe.pos, pipe, format!("undefined variable: {name}")),
        }
    }

    fn command(&mut self, command: &'a Command, dot: &Value, piped: Option<Value>) -> Walk<Value> {
        let Some((first, terms)) = command.terms.split_first() else {
            return Ok(Value::Absent);
        };
        let arguments = Arguments { terms, piped };
        match &first.kind {
            TermKind::Function(name, function) => {
                return self.call(first, command, name, *function, None, arguments, dot);
            }
            TermKind::Field(names) => return self.fields(first, dot.clone(), names, arguments, dot),
            TermKind::Chain(inner, names) => {
                let receiver = self.inner(first, inner, dot)?;
                return self.fields(first, receiver, names, arguments, dot);
            }
            TermKind::Variable(name, names) => {
                let receiver = self.variable(first, name)?;
                if !names.is_empty() {
                    return self.fields(first, receiver, names, arguments, dot);
                }
            }
            _ => {}
        }
        if !arguments.are_none() {
            return self.error(
                first.pos,
                first,
                format!("can't give argument to non-function {first}"),
            );
        }
        if let TermKind::Nil = first.kind {
            return self.error(first.pos, first, "nil is not a command");
        }
        self.value(first, dot)
    }

    fn variable(&self, term: &Term, name: &str) -> Walk<Value> {
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| known.as_ref() == name);
        match found {
            Some((_, value)) => Ok(value.clone()),
            // Declared in a branch that was not walked.
            None => self.error(term.pos, term, format!("undefined variable: {name}")),
        }
    }

    /// What the fields of a chain are taken of.
    fn inner(&mut self, chain: &Term, inner: &'a Term, dot: &Value) -> Walk<Value> {
        if let TermKind::Nil = inner.kind {
            return self.error(
                chain.pos,
                chain,
                format!("indirection through explicit nil in {chain}"),
            );
        }
        self.value(inner, dot)
    }

    /// A term by itself, of whatever type it is.
    fn value(&mut self, term: &'a Term, dot: &Value) -> Walk<Value> {
        match &term.kind {
            TermKind::Dot => Ok(dot.clone()),
            TermKind::Nil => Ok(Value::Null),
            TermKind::Bool(value) => Ok(Value::Bool(*value)),
            TermKind::Number(number) => self.constant(term, number),
            TermKind::Text(value, _) => Ok(value.clone()),
            TermKind::Field(names) => self.fields(term, dot.clone(), names, Arguments::NONE, dot),
            TermKind::Variable(name, names) => {
                let receiver = self.variable(term, name)?;
                self.fields(term, receiver, names, Arguments::NONE, dot)
            }
            TermKind::Function(name, function) => {
                self.call(term, term, name, *function, None, Arguments::NONE, dot)
            }
            TermKind::Pipe(pipe) => self.nested(term.pos, term, |run| run.pipe(pipe, dot)),
            TermKind::Chain(inner, names) => {
                let receiver = self.nested(term.pos, term, |run| run.inner(term, inner, dot))?;
                self.fields(term, receiver, names, Arguments::NONE, dot)
            }
        }
    }

    /// A number where nothing says of which type it is to be.
    fn constant(&self, term: &Term, number: &Number) -> Walk<Value> {
        match number {
            Number {
                float: Some(value),
                is_float: true,
                ..
            } => Ok(Value::Float(*value)),
            Number { int: Some(value), .. } => Ok(Value::Int(*value)),
            _ => self.error(term.pos, term, format!("{term} overflows int")),
        }
    }

    /// A term as an argument of this type.
    fn argument(&mut self, term: &'a Term, wanted: Type, dot: &Value) -> Walk<Value> {
        let found = match (&term.kind, wanted) {
            (TermKind::Nil, _) => {
                return if wanted.can_be_nil() {
                    Ok(Value::Null)
                } else {
                    self.error(term.pos, term, format!("cannot assign nil to {}", wanted.name()))
                };
            }
            (TermKind::Bool(_) | TermKind::Number(_) | TermKind::Text(..), Type::Any | Type::Reflect) => {
                return self.value(term, dot);
            }
            (TermKind::Bool(value), Type::Bool) => return Ok(Value::Bool(*value)),
            (TermKind::Text(value, _), Type::Text) => return Ok(value.clone()),
            (TermKind::Number(number), Type::Int) if number.int.is_some() => {
                return Ok(Value::Int(number.int.unwrap_or(0)));
            }
            (TermKind::Number(number), Type::Float) if number.float.is_some() => {
                return Ok(Value::Float(number.float.unwrap_or(0.0)));
            }
            (TermKind::Bool(_) | TermKind::Number(_) | TermKind::Text(..), _) => match wanted {
                Type::Bool => "expected bool",
                Type::Text => "expected string",
                Type::Int => "expected integer",
                Type::Float => "expected float",
                _ => {
                    let message = format!("can't handle {term} for arg of type {}", wanted.name());
                    return self.error(term.pos, term, message);
                }
            },
            _ => {
                let value = self.value(term, dot)?;
                return match wanted.check(value) {
                    Ok(value) => Ok(value),
                    Err(message) => self.error(term.pos, term, message),
                };
            }
        };
        self.error(term.pos, term, format!("{found}; found {term}"))
    }

    /// Calls a function, or a method of `receiver`.
    #[expect(clippy::too_many_arguments, reason = "what Go's evalCall takes")]
    pub(super) fn call(
        &mut self,
        term: &Term,
        whole: &dyn std::fmt::Display,
        name: &str,
        function: Function,
        receiver: Option<Value>,
        arguments: Arguments<'a>,
        dot: &Value,
    ) -> Walk<Value> {
        let Arguments { terms, piped } = arguments;
        let count = terms.len() + usize::from(piped.is_some());
        let Function { fixed, rest, kind } = function;
        let problem = match rest {
            Some(_) if count < fixed.len() => Some(format!("at least {} got {}", fixed.len(), terms.len())),
            None if count != fixed.len() => Some(format!("{} got {count}", fixed.len())),
            _ => None,
        };
        if let Some(problem) = problem {
            return self.error(
                term.pos,
                term,
                format!("wrong number of args for {name}: want {problem}"),
            );
        }
        if let Kind::And | Kind::Or = kind {
            return self.short_circuit(kind, terms, piped, dot);
        }
        let type_at = |at: usize| fixed.get(at).copied().or(rest).unwrap_or(Type::Any);
        let mut values = Vec::with_capacity(count + usize::from(receiver.is_some()));
        values.extend(receiver);
        for (at, term) in terms.iter().enumerate() {
            let value = self.argument(term, type_at(at), dot)?;
            values.push(value);
        }
        if let Some(value) = piped {
            match type_at(terms.len()).check(value) {
                Ok(value) => values.push(value),
                Err(message) => return self.error(term.pos, term, message),
            }
        }
        self.step(term.pos, term)?;
        let weight: usize = values.iter().map(text_weight).sum();
        let result = self.calls.spend(weight).and_then(|()| {
            if self.calls.is_denied(name) {
                return Err(Failure::new("function is disabled"));
            }
            Ok(())
        });
        let result = match (result, kind) {
            (Err(failure), _) => Err(failure),
            (Ok(()), Kind::Plain(run)) => run(&mut self.calls, &values),
            (Ok(()), _) => return self.execute_template(term, whole, &values),
        };
        match result.and_then(|value| self.calls.make(text_weight(&value)).map(|()| value)) {
            Ok(value) => Ok(value),
            Err(failure) => self.error(term.pos, whole, format!("error calling {name}: {failure}")),
        }
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        kind: Kind,
        terms: &'a [Term],
        piped: Option<Value>,
        dot: &Value,
    ) -> Walk<Value> {
        let mut value = Value::Absent;
        for term in terms {
            value = self.argument(term, Type::Reflect, dot)?;
            if value.is_true() == matches!(kind, Kind::Or) {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// `executeTemplate NAME [DOT]`: like the action `template`, but a value that can be piped on.
    fn execute_template(
        &mut self,
        term: &Term,
        whole: &dyn std::fmt::Display,
        values: &[Value],
    ) -> Walk<Value> {
        let (name, dot) = match values {
            [name] => (name, Value::Absent),
            [name, dot] => (name, dot.clone()),
            _ => {
                return self.error(
                    term.pos,
                    whole,
                    format!(
                        "error calling executeTemplate: executeTemplate: wrong number of arguments, expected 1 or 2 but got {}",
                        values.len()
                    ),
                );
            }
        };
        let name = match name {
            Value::Str(name) => Arc::clone(name),
            _ => Arc::from(""),
        };
        let template = self.template;
        let Some(body) = template.body(&name) else {
            return self.error(
                term.pos,
                whole,
                "error calling executeTemplate: the template is not defined",
            );
        };
        let dot = if let Value::Null = dot { Value::Absent } else { dot };
        let mut out = Vec::new();
        self.nested(term.pos, whole, |run| run.body(&mut out, body, &dot))?;
        match self.calls.make(out.len()) {
            Ok(()) => Ok(Value::from_bytes(out)),
            Err(failure) => self.error(
                term.pos,
                whole,
                format!("error calling executeTemplate: {failure}"),
            ),
        }
    }
}

/// What a text weighs; containers are shared, and what copies them pays for that itself.
fn text_weight(value: &Value) -> usize {
    match value {
        Value::Str(_) | Value::Bytes(_) | Value::Number(_) => value.weight(),
        _ => 0,
    }
}
