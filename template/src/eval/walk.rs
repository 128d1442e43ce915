//! Walks nodes: text, actions, blocks, calls.

use std::sync::Arc;

use super::{Run, Stop, Walk};
use crate::fmt::{self, MAX_TEXT};
use crate::syntax::{Call, Chain, List, Node, Pipe, Range};
use crate::value::Value;

impl<'a> Run<'a> {
    /// The body of a template or definition: its own variables, dot as `$`.
    pub(super) fn body(&mut self, out: &mut Vec<u8>, list: &'a List, dot: &Value) -> Walk<()> {
        let outer = std::mem::replace(&mut self.variables, vec![(Arc::from("$"), dot.clone())]);
        let result = self.list(out, list, dot);
        self.variables = outer;
        result
    }

    fn list(&mut self, out: &mut Vec<u8>, list: &'a List, dot: &Value) -> Walk<()> {
        list.iter().try_for_each(|node| self.node(out, node, dot))
    }

    fn node(&mut self, out: &mut Vec<u8>, node: &'a Node, dot: &Value) -> Walk<()> {
        match node {
            Node::Text(text) => {
                if out.len() + text.len() > MAX_TEXT {
                    return self.error(0, &"output", fmt::TooLong.to_string());
                }
                let before = out.len();
                out.extend_from_slice(text.as_bytes());
                self.wrote(before, out, 0, &"output")
            }
            Node::Action(pipe) => self.action(out, pipe, dot),
            Node::If(chain) => self.chain(out, chain, dot, false),
            Node::With(chain) => self.chain(out, chain, dot, true),
            Node::Range(range) => self.range(out, range, dot),
            Node::Call(call) => self.call_template(out, call, dot),
            Node::Break => Err(Stop::Break),
            Node::Continue => Err(Stop::Continue),
        }
    }

    fn action(&mut self, out: &mut Vec<u8>, pipe: &'a Pipe, dot: &Value) -> Walk<()> {
        self.step(pipe.pos, pipe)?;
        let value = self.pipe(pipe, dot)?;
        if !pipe.variables.is_empty() {
            return Ok(());
        }
        if let Value::Sequence(..) = value {
            let message = format!("can't print {pipe} of type {}", value.type_name());
            return self.error(pipe.pos, pipe, message);
        }
        let before = out.len();
        match fmt::print(out, &value) {
            Ok(()) => self.wrote(before, out, pipe.pos, pipe),
            Err(error) => self.error(pipe.pos, pipe, error.to_string()),
        }
    }

    fn chain(&mut self, out: &mut Vec<u8>, chain: &'a Chain, dot: &Value, with: bool) -> Walk<()> {
        let Some((first, _)) = chain.branches.first() else {
            return Ok(());
        };
        let scope = self.variables.len();
        let result = self.nested(first.pos, first, |run| {
            for (pipe, body) in &chain.branches {
                run.step(pipe.pos, pipe)?;
                let value = run.pipe(pipe, dot)?;
                if value.is_true() {
                    return run.list(out, body, if with { &value } else { dot });
                }
            }
            run.list(out, &chain.otherwise, dot)
        });
        self.variables.truncate(scope);
        result
    }

    fn range(&mut self, out: &mut Vec<u8>, range: &'a Range, dot: &Value) -> Walk<()> {
        let scope = self.variables.len();
        let result = self.nested(range.pos, &range.pipe, |run| run.rounds(out, range, dot));
        self.variables.truncate(scope);
        result
    }

    fn rounds(&mut self, out: &mut Vec<u8>, range: &'a Range, dot: &Value) -> Walk<()> {
        let value = self.pipe(&range.pipe, dot)?;
        let mut count = 0_u64;
        let mut round = |run: &mut Self, index: Value, item: Value| -> Walk<bool> {
            count += 1;
            run.step(range.pos, &range.pipe)?;
            run.round(out, range, index, item)
        };
        let go_on = |at: usize| Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
        match &value {
            Value::Absent | Value::Null => {}
            Value::List(list) => {
                for (at, item) in list.items().iter().enumerate() {
                    if !round(self, go_on(at), item.clone())? {
                        break;
                    }
                }
            }
            Value::Map(_) | Value::Dict(_) => {
                let map = value.as_map();
                for (key, item) in map.iter().flat_map(|map| map.entries()) {
                    if !round(self, key.value(), item.clone())? {
                        break;
                    }
                }
            }
            Value::Sequence(from, to) => {
                for (at, item) in (*from..*to).enumerate() {
                    if !round(self, go_on(at), Value::Int64(item))? {
                        break;
                    }
                }
            }
            Value::Int(_) | Value::Int64(_) | Value::Uint64(_) | Value::Byte(_) => {
                if range.pipe.variables.len() > 1 {
                    let message = "can't use an integer to iterate over more than one variable";
                    return self.error(range.pos, &range.pipe, message);
                }
                let end = match (value.int_kind(), value.uint_kind()) {
                    (Some(end), _) => u64::try_from(end).unwrap_or(0),
                    (None, end) => end.unwrap_or(0),
                };
                for at in 0..end {
                    let signed = i64::try_from(at).unwrap_or(i64::MAX);
                    let item = match &value {
                        Value::Int(_) => Value::Int(signed),
                        Value::Int64(_) => Value::Int64(signed),
                        Value::Byte(_) => Value::Byte(u8::try_from(at).unwrap_or(u8::MAX)),
                        _ => Value::Uint64(at),
                    };
                    if !round(self, Value::Absent, item)? {
                        break;
                    }
                }
            }
            other => {
                let message = format!("range can't iterate over a value of type {}", other.type_name());
                return self.error(range.pos, &range.pipe, message);
            }
        }
        if count == 0 {
            return self.list(out, &range.otherwise, dot);
        }
        Ok(())
    }

    /// One round with its variables set. Returns whether there may be another.
    fn round(&mut self, out: &mut Vec<u8>, range: &'a Range, index: Value, item: Value) -> Walk<bool> {
        let pipe = &range.pipe;
        match pipe.variables.as_slice() {
            [] => {}
            [only] => self.set(pipe, only, item.clone())?,
            [first, second, ..] => {
                self.set(pipe, first, index)?;
                self.set(pipe, second, item.clone())?;
            }
        }
        let scope = self.variables.len();
        let result = self.list(out, &range.body, &item);
        self.variables.truncate(scope);
        match result {
            Ok(()) | Err(Stop::Continue) => Ok(true),
            Err(Stop::Break) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn call_template(&mut self, out: &mut Vec<u8>, call: &'a Call, dot: &Value) -> Walk<()> {
        let shown = format!("template {:?}", call.name.as_ref());
        self.step(call.pos, &shown)?;
        let Some(body) = self.template.body(&call.name) else {
            return self.error(call.pos, &shown, format!("{shown} not defined"));
        };
        let dot = match &call.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Absent,
        };
        self.nested(call.pos, &shown, |run| run.body(out, body, &dot))
    }
}
