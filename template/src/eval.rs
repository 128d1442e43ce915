//! Renders a checked template: walks its tree as Go's text/template does.

use std::collections::BTreeSet;
use std::sync::Arc;

use gotmpl::parse::{
    BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr, TemplateNode,
};
use secrecy::SecretSlice;

use crate::functions::{self, Failure};
use crate::parse::{Template, column};
use crate::print;
use crate::render::{Options, Outcome, RenderError};
use crate::secrets::Secrets;
use crate::value::{Elements, Value};

/// How deep blocks, parentheses and `template` calls may be nested: more than the parser takes of one text, so that only
/// calls come near. A worker's stack of 2 MiB bears it.
const MAX_DEPTH: usize = 220;
/// How many rounds all `range` loops of one rendering may make together.
const MAX_ROUNDS: u64 = 1_000_000;
/// How large a rendered file may become, in bytes.
const MAX_OUTPUT: usize = 16 << 20;

/// Why a walk ended early.
enum Stop {
    Break,
    Continue,
    Error(Box<RenderError>),
}

type Walk<T> = Result<T, Stop>;

/// See [`Template::render`].
pub(crate) fn run(
    template: &Template,
    secrets: &dyn Secrets,
    options: &Options<'_>,
) -> Result<Outcome, RenderError> {
    let mut run = Run {
        template,
        calls: functions::Context {
            secrets,
            options,
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
        },
        variables: Vec::new(),
        depth: 0,
        rounds_left: MAX_ROUNDS,
    };
    let mut out = Vec::new();
    let result = run.body(&mut out, &template.tree, &Value::Absent);
    let functions::Context { used, missing, .. } = run.calls;
    match result {
        Ok(()) => Ok(Outcome {
            text: SecretSlice::from(out),
            used,
            missing,
            files: BTreeSet::new(),
            missing_files: BTreeSet::new(),
            writes: Vec::new(),
        }),
        // What fails on an answer that is not there yet may well succeed once it is.
        Err(_) if !missing.is_empty() => Ok(Outcome {
            text: SecretSlice::from(Vec::new()),
            used,
            missing,
            files: BTreeSet::new(),
            missing_files: BTreeSet::new(),
            writes: Vec::new(),
        }),
        Err(Stop::Error(error)) => Err(*error),
        // The parser refuses both outside a range.
        Err(Stop::Break | Stop::Continue) => Err(RenderError {
            line: 0,
            column: 0,
            at: "break or continue".to_owned(),
            message: "outside of a range".to_owned(),
        }),
    }
}

struct Run<'a> {
    template: &'a Template,
    calls: functions::Context<'a>,
    /// The variables in scope, innermost last.
    variables: Vec<(SmolStr, Value)>,
    depth: usize,
    rounds_left: u64,
}

impl<'a> Run<'a> {
    fn error<T>(&self, pos: Pos, at: String, message: impl Into<String>) -> Walk<T> {
        Err(Stop::Error(Box::new(RenderError {
            line: pos.line,
            column: column(&self.template.source, pos.offset),
            at,
            message: message.into(),
        })))
    }

    /// The body of a template or definition: its own variables, dot as `$`.
    fn body(&mut self, out: &mut Vec<u8>, list: &'a ListNode, dot: &Value) -> Walk<()> {
        let outer = std::mem::replace(&mut self.variables, vec![(SmolStr::new_static("$"), dot.clone())]);
        let result = self.list(out, list, dot);
        self.variables = outer;
        result
    }

    fn list(&mut self, out: &mut Vec<u8>, list: &'a ListNode, dot: &Value) -> Walk<()> {
        list.nodes.iter().try_for_each(|node| self.node(out, node, dot))
    }

    fn node(&mut self, out: &mut Vec<u8>, node: &'a Node, dot: &Value) -> Walk<()> {
        match node {
            Node::Text(text) => out.extend_from_slice(text.text.as_bytes()),
            Node::Action(action) => {
                let value = self.pipe(&action.pipe, dot)?;
                if action.pipe.decl.is_empty() {
                    if let Value::List(_, Elements::Sequence) = value {
                        return self.error(
                            action.pos,
                            "loop".to_owned(),
                            "can't print a sequence: range over it",
                        );
                    }
                    value.print(out, false);
                }
                if out.len() > MAX_OUTPUT {
                    return self.error(
                        action.pos,
                        "output".to_owned(),
                        "the rendered text is larger than 16 MiB",
                    );
                }
            }
            Node::If(branch) => return self.nested(branch.pos, |run| run.when(out, branch, dot, false)),
            Node::With(branch) => return self.nested(branch.pos, |run| run.when(out, branch, dot, true)),
            Node::Range(branch) => return self.nested(branch.pos, |run| run.range(out, branch, dot)),
            Node::Template(call) => return self.nested(call.pos, |run| run.call(out, call, dot)),
            Node::List(list) => return self.list(out, list, dot),
            Node::Define(_) => {}
            Node::Break(_) => return Err(Stop::Break),
            Node::Continue(_) => return Err(Stop::Continue),
        }
        Ok(())
    }

    /// One level deeper, with the variables of the level gone afterwards.
    fn nested<T>(&mut self, pos: Pos, walk: impl FnOnce(&mut Self) -> Walk<T>) -> Walk<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(
                pos,
                "template".to_owned(),
                "nested too deeply (a template that calls itself?)",
            );
        }
        let scope = self.variables.len();
        self.depth += 1;
        let result = walk(self);
        self.depth -= 1;
        self.variables.truncate(scope);
        result
    }

    fn when(&mut self, out: &mut Vec<u8>, branch: &'a BranchNode, dot: &Value, with: bool) -> Walk<()> {
        let value = self.pipe(&branch.pipe, dot)?;
        if value.is_true() {
            self.list(out, &branch.body, if with { &value } else { dot })
        } else if let Some(body) = &branch.else_body {
            self.list(out, body, dot)
        } else {
            Ok(())
        }
    }

    fn range(&mut self, out: &mut Vec<u8>, branch: &'a BranchNode, dot: &Value) -> Walk<()> {
        let value = self.commands(&branch.pipe, dot)?;
        let mut rounds: Box<dyn Iterator<Item = (Value, Value)>> = match value {
            Value::Absent | Value::Null => Box::new(std::iter::empty()),
            Value::List(items, _) => Box::new((0..items.len()).map(move |at| {
                (
                    Value::Int(i64::try_from(at).unwrap_or(i64::MAX)),
                    items[at].clone(),
                )
            })),
            Value::Map(entries) => {
                let keys: Vec<Arc<str>> = entries.keys().cloned().collect();
                Box::new(keys.into_iter().map(move |key| {
                    let value = entries.get(&key).cloned().unwrap_or(Value::Null);
                    (Value::Str(key), value)
                }))
            }
            Value::Int(count) if branch.pipe.decl.len() < 2 => {
                Box::new((0..count).map(|at| (Value::Int(at), Value::Int(at))))
            }
            other => {
                let message = format!("range can't iterate over a value of type {}", other.type_name());
                return self.error(branch.pos, "range".to_owned(), message);
            }
        };
        let Some(first) = rounds.next() else {
            return branch
                .else_body
                .as_ref()
                .map_or(Ok(()), |body| self.list(out, body, dot));
        };
        for (key, item) in std::iter::once(first).chain(rounds) {
            if self.rounds_left == 0 {
                return self.error(branch.pos, "range".to_owned(), "too many rounds");
            }
            self.rounds_left -= 1;
            let scope = self.variables.len();
            match branch.pipe.decl.as_slice() {
                [] => {}
                [value] => self.bind(&branch.pipe, value, item.clone()),
                [index, value, ..] => {
                    self.bind(&branch.pipe, index, key);
                    self.bind(&branch.pipe, value, item.clone());
                }
            }
            let dot = if let Value::Null = item {
                Value::Absent
            } else {
                item
            };
            let result = self.list(out, &branch.body, &dot);
            self.variables.truncate(scope);
            match result {
                Ok(()) | Err(Stop::Continue) => {}
                Err(Stop::Break) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn call(&mut self, out: &mut Vec<u8>, call: &'a TemplateNode, dot: &Value) -> Walk<()> {
        let dot = match &call.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Absent,
        };
        match self.template.defines.get(call.name.as_str()) {
            Some(body) => self.body(out, body, &dot),
            None => self.error(
                call.pos,
                format!("template {:?}", call.name.as_str()),
                "template not defined",
            ),
        }
    }

    fn bind(&mut self, pipe: &PipeNode, name: &SmolStr, value: Value) {
        if pipe.is_assign
            && let Some((_, slot)) = self.variables.iter_mut().rev().find(|(known, _)| known == name)
        {
            *slot = value;
            return;
        }
        self.variables.push((name.clone(), value));
    }

    /// The value of a pipeline, bound to its variable when it declares one.
    fn pipe(&mut self, pipe: &'a PipeNode, dot: &Value) -> Walk<Value> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.decl {
            self.bind(pipe, name, value.clone());
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &'a PipeNode, dot: &Value) -> Walk<Value> {
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
        Ok(last.unwrap_or(Value::Absent))
    }

    fn command(&mut self, command: &'a CommandNode, dot: &Value, piped: Option<Value>) -> Walk<Value> {
        let Some((first, rest)) = command.args.split_first() else {
            return Ok(Value::Absent);
        };
        match first {
            Expr::Identifier(pos, name) => self.function(*pos, name, Some(command), rest, dot, piped),
            Expr::Chain(pos, inner, fields) if matches!(**inner, Expr::Identifier(..)) => {
                let Expr::Identifier(_, name) = &**inner else {
                    return Ok(Value::Absent);
                };
                let value = self.function(*pos, name, Some(command), rest, dot, piped)?;
                self.fields(*pos, first, value, fields)
            }
            Expr::Nil(pos) => self.error(*pos, "nil".to_owned(), "nil is not a command"),
            _ if piped.is_some() || !rest.is_empty() => {
                let message = format!("can't give argument to non-function {}", print::expression(first));
                self.error(first.pos(), print::command(command), message)
            }
            _ => self.expression(first, dot),
        }
    }

    fn function(
        &mut self,
        pos: Pos,
        name: &str,
        command: Option<&CommandNode>,
        arguments: &'a [Expr],
        dot: &Value,
        piped: Option<Value>,
    ) -> Walk<Value> {
        let at = || command.map_or_else(|| name.to_owned(), print::command);
        if let "and" | "or" = name {
            if arguments.is_empty() && piped.is_none() {
                return self.error(
                    pos,
                    at(),
                    format!("wrong number of args for {name}: want at least 1 got 0"),
                );
            }
            let mut value = Value::Absent;
            for argument in arguments {
                value = self.expression(argument, dot)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(piped.unwrap_or(value));
        }
        let mut values = arguments
            .iter()
            .map(|argument| self.expression(argument, dot))
            .collect::<Walk<Vec<_>>>()?;
        values.extend(piped);
        if name == "executeTemplate" {
            return self.execute_template(pos, at(), &values);
        }
        match functions::call(name, &mut self.calls, &values) {
            Ok(value) => Ok(value),
            Err(Failure::Argument(message)) => self.error(pos, at(), message),
            Err(Failure::Failed(message)) => {
                self.error(pos, at(), format!("error calling {name}: {message}"))
            }
        }
    }

    /// `executeTemplate NAME [DOT]`: like the action `template`, but a value that can be piped on.
    fn execute_template(&mut self, pos: Pos, at: String, values: &[Value]) -> Walk<Value> {
        let (name, dot) = match values {
            [Value::Str(name)] => (name, Value::Absent),
            [Value::Str(name), dot] => (name, dot.clone()),
            _ => {
                return self.error(
                    pos,
                    at,
                    "executeTemplate takes the name of a template and a value",
                );
            }
        };
        let template = self.template;
        let Some(body) = template.defines.get(name.as_ref()) else {
            return self.error(pos, at, "template not defined");
        };
        let mut out = Vec::new();
        self.nested(pos, |run| run.body(&mut out, body, &dot))?;
        Ok(Value::from_bytes(out))
    }

    fn expression(&mut self, expression: &'a Expr, dot: &Value) -> Walk<Value> {
        match expression {
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::Field(pos, names) => self.fields(*pos, expression, dot.clone(), names),
            Expr::Variable(pos, name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found.map(|(_, value)| value.clone()) {
                    Some(value) => self.fields(*pos, expression, value, names),
                    None => self.error(*pos, name.to_string(), "undefined variable"),
                }
            }
            Expr::Identifier(pos, name) => self.function(*pos, name, None, &[], dot, None),
            Expr::String(_, text) => Ok(Value::Str(Arc::clone(text))),
            Expr::Number(_, Number::Int(value)) => Ok(Value::Int(*value)),
            Expr::Number(_, Number::Float(value)) => Ok(Value::Float(*value)),
            Expr::Number(pos, Number::Uint(value)) => {
                self.error(*pos, value.to_string(), format!("{value} overflows int"))
            }
            Expr::Bool(_, value) => Ok(Value::Bool(*value)),
            Expr::Nil(_) => Ok(Value::Null),
            Expr::Pipe(pos, pipe) => self.nested(*pos, |run| run.pipe(pipe, dot)),
            Expr::Chain(pos, inner, names) => {
                let value = self.expression(inner, dot)?;
                self.fields(*pos, expression, value, names)
            }
        }
    }

    fn fields(&mut self, pos: Pos, expression: &Expr, mut value: Value, names: &[SmolStr]) -> Walk<Value> {
        for name in names {
            let missing_is_error = self.calls.options.error_on_missing_key;
            let problem = match &value {
                Value::Map(entries) => match entries.get(name.as_str()) {
                    Some(found) => Ok(found.clone()),
                    None if missing_is_error => Err(format!("map has no entry for key {:?}", name.as_str())),
                    None => Ok(Value::Null),
                },
                Value::Secret(secret) => secret
                    .field(name)
                    .ok_or_else(|| format!("can't evaluate field {name} in type *dependency.Secret")),
                Value::Absent if missing_is_error => {
                    Err(format!("nil data; no entry for key {:?}", name.as_str()))
                }
                Value::Absent => Ok(Value::Absent),
                Value::Null => Err(format!("nil pointer evaluating interface {{}}.{name}")),
                other => Err(format!(
                    "can't evaluate field {name} in type {}",
                    other.type_name()
                )),
            };
            match problem {
                Ok(found) => value = found,
                Err(message) => return self.error(pos, print::expression(expression), message),
            }
        }
        Ok(value)
    }
}
