//! Takes fields of values, and calls their methods.

use std::sync::Arc;

use super::term::Arguments;
use super::{Run, Walk};
use crate::fields;
use crate::functions::method;
use crate::syntax::Term;
use crate::value::{Entries, Value};

impl<'a> Run<'a> {
    /// `.X.Y.Z`, possibly with arguments for the last one.
    pub(super) fn fields(
        &mut self,
        term: &Term,
        receiver: Value,
        names: &[Arc<str>],
        arguments: Arguments<'a>,
        dot: &Value,
    ) -> Walk<Value> {
        let Some((last, before)) = names.split_last() else {
            return Ok(receiver);
        };
        let mut value = receiver;
        let mut declared = None;
        for name in before {
            let next = self.field(term, &value, declared, name, Arguments::NONE, dot)?;
            declared = element_type(&value);
            value = next;
        }
        self.field(term, &value, declared, last, arguments, dot)
    }

    /// One field. `declared` is the type that Go knows the value by, where that is not its own.
    fn field(
        &mut self,
        term: &Term,
        value: &Value,
        declared: Option<&'static str>,
        name: &str,
        arguments: Arguments<'a>,
        dot: &Value,
    ) -> Walk<Value> {
        let strict = self.calls.options.error_on_missing_key;
        match value {
            Value::Absent if strict => {
                return self.error(term.pos, term, format!("nil data; no entry for key {name:?}"));
            }
            Value::Absent => return Ok(Value::Absent),
            Value::Null => {
                return self.error(
                    term.pos,
                    term,
                    format!("nil pointer evaluating interface {{}}.{name}"),
                );
            }
            Value::NilPointer(pointer) if fields::exists(pointer, name) => {
                return self.error(term.pos, term, format!("nil pointer evaluating {pointer}.{name}"));
            }
            _ => {}
        }
        if let Some(function) = method(value, name) {
            return self.call(term, term, name, function, Some(value.clone()), arguments, dot);
        }
        let has_arguments = !arguments.are_none();
        if let Some(map) = value.as_map() {
            if has_arguments {
                return self.error(
                    term.pos,
                    term,
                    format!("{name} is not a method but has arguments"),
                );
            }
            return match map.get(name) {
                Some(found) => Ok(found.clone()),
                None if strict => self.error(term.pos, term, format!("map has no entry for key {name:?}")),
                None => Ok(map.zero()),
            };
        }
        if let Some(found) = fields::one(value, name) {
            if has_arguments {
                return self.error(
                    term.pos,
                    term,
                    format!("{name} has arguments but cannot be invoked as function"),
                );
            }
            return Ok(found);
        }
        let type_name = declared.unwrap_or_else(|| value.type_name());
        self.error(
            term.pos,
            term,
            format!("can't evaluate field {name} in type {type_name}"),
        )
    }
}

/// By which type Go knows what lies in a map.
fn element_type(value: &Value) -> Option<&'static str> {
    let map = value.as_map()?;
    match map.kind() {
        Entries::Any | Entries::AnyKeys => Some("interface {}"),
        Entries::Strings => None,
    }
}
