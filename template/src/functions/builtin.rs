//! Go's builtins: print, index, slice, len, call and what needs the evaluator.

use super::arguments::{at, bytes, count};
use super::signature::{Function, Kind, Type, fixed, variadic};
use super::{Context, Failure, Return, failed};
use crate::fmt;
use crate::value::{Entries, Key, Map, Value};

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "and" | "or" => Some(Function {
            fixed: &[Type::Reflect],
            rest: Some(Type::Reflect),
            kind: if name == "and" { Kind::And } else { Kind::Or },
        }),
        "executeTemplate" => Some(Function {
            fixed: &[Type::Text],
            rest: Some(Type::Any),
            kind: Kind::ExecuteTemplate,
        }),
        "call" => variadic(&[Type::Reflect], Type::Reflect, |_, a| match at(a, 0) {
            Value::Absent | Value::Null => failed("call of nil"),
            other => failed(format!("non-function of type {}", other.type_name())),
        }),
        "index" => variadic(&[Type::Reflect], Type::Reflect, index),
        "len" => fixed(&[Type::Reflect], |_, a| len(at(a, 0))),
        "not" => fixed(&[Type::Reflect], |_, a| Ok(Value::Bool(!at(a, 0).is_true()))),
        "print" => variadic(&[], Type::Any, |_, a| made(fmt::sprint(a))),
        "printf" => variadic(&[Type::Text], Type::Any, |_, a| {
            made(fmt::printf(bytes(a, 0), a.get(1..).unwrap_or_default()))
        }),
        "println" => variadic(&[], Type::Any, |_, a| made(fmt::sprintln(a))),
        "slice" => variadic(&[Type::Reflect], Type::Reflect, slice),
        _ => None,
    }
}

fn made(text: Result<Vec<u8>, fmt::TooLong>) -> Return {
    text.map(Value::from_bytes).map_err(Failure::new)
}

/// An index of a list or string: within it, or at its end for a bound.
fn position(index: &Value, most: usize) -> Result<usize, Failure> {
    let number = match (index.int_kind(), index.uint_kind(), index) {
        (Some(number), _, _) => number,
        (None, Some(number), _) => i64::try_from(number).unwrap_or(-1),
        (None, None, Value::Absent | Value::Null) => return failed("cannot index slice/array with nil"),
        (None, None, other) => {
            return failed(format!(
                "cannot index slice/array with type {}",
                other.type_name()
            ));
        }
    };
    match usize::try_from(number) {
        Ok(position) if position <= most => Ok(position),
        _ => failed(format!("index out of range: {number}")),
    }
}

/// `index X K…`: a missing key of a map is the zero value, whatever the options say.
fn index(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let mut value = at(arguments, 0).clone();
    if let Value::Absent | Value::Null = value {
        return failed("index of untyped nil");
    }
    for key in arguments.get(1..).unwrap_or_default() {
        value = match &value {
            Value::Absent | Value::Null | Value::NilPointer(_) => return failed("index of nil pointer"),
            Value::List(list) => {
                let position = position(key, list.items().len())?;
                match list.items().get(position) {
                    Some(item) => item.clone(),
                    None => return failed("reflect: slice index out of range"),
                }
            }
            Value::Str(_) | Value::Bytes(_) | Value::Number(_) => {
                let text = value.string_kind().unwrap_or_default();
                let position = position(key, text.len())?;
                match text.get(position) {
                    Some(byte) => Value::Byte(*byte),
                    None => return failed("reflect: string index out of range"),
                }
            }
            Value::Map(map) => look_up(map, key)?,
            Value::Dict(dict) => look_up(&dict.snapshot(), key)?,
            other => {
                let name = other.type_name();
                return failed(format!(
                    "can't index item of type {}",
                    name.trim_start_matches('*')
                ));
            }
        };
    }
    Ok(value)
}

fn look_up(map: &Map, key: &Value) -> Return {
    let found = match (map.kind(), key) {
        (Entries::Any | Entries::Strings, Value::Absent | Value::Null) => {
            return failed("value is nil; should be of type string");
        }
        (_, Value::Str(key)) => map.get(key),
        (_, Value::Bytes(_)) => None,
        (Entries::Any | Entries::Strings, other) => {
            return failed(format!("value has type {}; should be string", other.type_name()));
        }
        (Entries::AnyKeys, Value::Absent | Value::Null) => map.get_key(&Key::Nil),
        (Entries::AnyKeys, Value::Int(key)) => map.get_key(&Key::Int(*key)),
        (Entries::AnyKeys, Value::Bool(key)) => map.get_key(&Key::Bool(*key)),
        (Entries::AnyKeys, Value::Float(key)) => map.get_key(&Key::Float(*key)),
        (Entries::AnyKeys, _) => None,
    };
    Ok(found.cloned().unwrap_or_else(|| map.zero()))
}

fn len(value: &Value) -> Return {
    Ok(match value {
        Value::Str(_) | Value::Bytes(_) | Value::Number(_) => {
            count(value.string_kind().unwrap_or_default().len())
        }
        Value::List(list) => count(list.items().len()),
        Value::Map(map) => count(map.entries().len()),
        Value::Dict(dict) => count(dict.snapshot().entries().len()),
        // A channel without a buffer.
        Value::Sequence(..) => Value::Int(0),
        Value::Absent => return failed("reflect: call of reflect.Value.Type on zero Value"),
        Value::Null | Value::NilPointer(_) => return failed("len of nil pointer"),
        other => {
            return failed(format!(
                "len of type {}",
                other.type_name().trim_start_matches('*')
            ));
        }
    })
}

/// `slice X [FROM [TO [CAPACITY]]]`
fn slice(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let item = at(arguments, 0);
    let bounds = arguments.get(1..).unwrap_or_default();
    if let Value::Absent | Value::Null = item {
        return failed("slice of untyped nil");
    }
    if bounds.len() > 3 {
        return failed(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = match item {
        Value::List(list) => list.items().len(),
        Value::Str(_) | Value::Bytes(_) | Value::Number(_) => {
            if bounds.len() == 3 {
                return failed("cannot 3-index slice a string");
            }
            item.string_kind().unwrap_or_default().len()
        }
        Value::NilPointer(_) => return failed("slice of nil pointer"),
        other => {
            let name = other.type_name();
            return failed(format!(
                "can't slice item of type {}",
                name.trim_start_matches('*')
            ));
        }
    };
    let mut places = [0, length, length];
    for (place, bound) in places.iter_mut().zip(bounds) {
        *place = position(bound, length)?;
    }
    let [from, to, capacity] = places;
    if from > to {
        return failed(format!("invalid slice index: {from} > {to}"));
    }
    if to > capacity {
        return failed(format!("invalid slice index: {to} > {capacity}"));
    }
    match item {
        Value::List(list) => {
            context.make((to - from) * size_of::<Value>())?;
            let part = list.items().get(from..to).unwrap_or_default().to_vec();
            Ok(Value::List(std::sync::Arc::new(list.with(part))))
        }
        Value::Number(text) => Ok(Value::Number(text.get(from..to).unwrap_or_default().into())),
        other => {
            let text = other.as_bytes().unwrap_or_default();
            Ok(Value::from_bytes(text.get(from..to).unwrap_or_default().to_vec()))
        }
    }
}
