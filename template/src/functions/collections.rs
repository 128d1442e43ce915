//! Lists and maps.

use super::arguments::{at_least, exactly, int, text, wrong};
use super::{Context, Function, Return, failed};
use crate::value::{Elements, Value};

/// `loop` makes no longer sequence than this.
const MAX_LOOP: i64 = 1_000_000;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "contains" => |_, a| {
            let [item, list] = exactly("contains", a)?;
            contains(list, item)
        },
        "in" => |_, a| {
            let [list, item] = exactly("in", a)?;
            contains(list, item)
        },
        "index" => index,
        "len" => len,
        "loop" => sequence,
        "slice" => slice,
        _ => return None,
    })
}

/// A substring, or an element of the same kind and value.
fn contains(list: &Value, item: &Value) -> Return {
    match list {
        Value::Str(_) | Value::Bytes(_) => Ok(Value::Bool(text(list)?.contains(text(item)?.as_ref()))),
        Value::List(items, _) => Ok(Value::Bool(items.iter().any(|other| other == item))),
        Value::Absent | Value::Null => Ok(Value::Bool(false)),
        other => failed(format!("unsupported type {}", other.type_name())),
    }
}

/// `index X K…`: a missing key of a map is nil, whatever the options say.
fn index(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    at_least("index", arguments, 1)?;
    let mut value = arguments[0].clone();
    for key in &arguments[1..] {
        value = match (&value, key) {
            (Value::Map(entries), Value::Str(key)) => entries.get(key).cloned().unwrap_or(Value::Null),
            (Value::Map(_), key) => {
                return failed(format!("value has type {}; should be string", key.type_name()));
            }
            (Value::List(items, _), Value::Int(at)) => {
                match usize::try_from(*at).ok().and_then(|at| items.get(at)) {
                    Some(item) => item.clone(),
                    None => return failed(format!("index out of range: {at}")),
                }
            }
            (Value::Str(text), Value::Int(at)) => {
                match usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at)) {
                    Some(byte) => Value::Int(i64::from(*byte)),
                    None => return failed(format!("index out of range: {at}")),
                }
            }
            (Value::List(..) | Value::Str(_), key) => {
                return failed(format!("cannot index slice/array with type {}", key.type_name()));
            }
            (Value::Absent | Value::Null, _) => return failed("index of untyped nil"),
            (other, _) => return failed(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn len(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [value] = exactly("len", arguments)?;
    let count = match value {
        Value::Str(text) | Value::Number(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items, Elements::Any | Elements::Strings) => items.len(),
        Value::Map(entries) => entries.len(),
        Value::Absent | Value::Null => return failed("len of nil pointer"),
        other => return failed(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// `slice X [FROM [TO]]`
fn slice(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    at_least("slice", arguments, 1)?;
    let length = match &arguments[0] {
        Value::Str(text) => text.len(),
        Value::List(items, _) => items.len(),
        other => return failed(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |at: usize, default: usize| match arguments.get(at).map(int).transpose()? {
        Some(value) => match usize::try_from(value) {
            Ok(value) if value <= length => Ok(value),
            _ => failed(format!("index out of range: {value}")),
        },
        None => Ok(default),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    if from > to || arguments.len() > 3 {
        return failed(format!("invalid slice index: {from} > {to}"));
    }
    match &arguments[0] {
        Value::Str(text) => Ok(Value::from_bytes(text.as_bytes()[from..to].to_vec())),
        Value::List(items, elements) => Ok(Value::List(items[from..to].into(), *elements)),
        other => Err(wrong(other, "string")),
    }
}

/// `loop N` counts from 0 to N-1, `loop A B` from A to B-1.
fn sequence(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let (from, to) = match arguments {
        [to] => (0, int(to)?),
        [from, to] => (int(from)?, int(to)?),
        _ => {
            return failed(format!(
                "wrong number of arguments, expected 1 or 2, but got {}",
                arguments.len()
            ));
        }
    };
    if to.saturating_sub(from) > MAX_LOOP {
        return failed("more than a million rounds");
    }
    Ok(Value::List(
        (from..to).map(Value::Int).collect(),
        Elements::Sequence,
    ))
}
