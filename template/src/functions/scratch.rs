//! The notepad of one rendering, and the methods that values have.

use std::sync::Arc;

use super::arguments::{at, list, string, text};
use super::signature::{Function, Type, fixed};
use super::{Context, Failure, Return, failed};
use crate::value::{Dict, Entries, Map, Value};

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "scratch" => fixed(&[], |_, _| Ok(Value::Scratch)),
        _ => None,
    }
}

/// A method of a value. It gets the value before the arguments of its signature.
pub(crate) fn method(value: &Value, name: &str) -> Option<Function> {
    match value {
        Value::Scratch => of_scratch(name),
        Value::Number(_) => of_number(name),
        Value::Certificate(_) => of_certificate(name),
        _ => None,
    }
}

fn of_scratch(name: &str) -> Option<Function> {
    const KEY: &[Type] = &[Type::Text];
    const PAIR: &[Type] = &[Type::Text, Type::Any];
    const ENTRY: &[Type] = &[Type::Text, Type::Text, Type::Any];
    match name {
        "Key" => fixed(KEY, |c, a| {
            Ok(Value::Bool(c.scratch.contains_key(text(a, 1).as_ref())))
        }),
        "Get" => fixed(KEY, |c, a| {
            Ok(c.scratch.get(text(a, 1).as_ref()).cloned().unwrap_or(Value::Null))
        }),
        "Set" => fixed(PAIR, |c, a| set(c, a, true)),
        "SetX" => fixed(PAIR, |c, a| set(c, a, false)),
        "MapSet" => fixed(ENTRY, |c, a| map_set(c, a, true)),
        "MapSetX" => fixed(ENTRY, |c, a| map_set(c, a, false)),
        "MapValues" => fixed(KEY, |c, a| {
            let Some(map) = c.scratch.get(text(a, 1).as_ref()).and_then(Value::as_map) else {
                return list(Vec::new());
            };
            c.spend(map.entries().len() * 64)?;
            list(map.values().cloned().collect())
        }),
        _ => None,
    }
}

fn set(context: &mut Context<'_>, arguments: &[Value], replace: bool) -> Return {
    let key: Arc<str> = text(arguments, 1).into();
    context.make(key.len() + 64)?;
    if replace || !context.scratch.contains_key(&key) {
        context.scratch.insert(key, at(arguments, 2).clone());
    }
    string("")
}

fn map_set(context: &mut Context<'_>, arguments: &[Value], replace: bool) -> Return {
    let (name, key): (Arc<str>, Arc<str>) = (text(arguments, 1).into(), text(arguments, 2).into());
    let there = context.scratch.get(&name).map(Value::as_map);
    let map = match there {
        None => Arc::new(Map::empty(Entries::Any)),
        Some(Some(map)) if map.kind() == Entries::Any => map,
        Some(_) => return failed("the key's value is not a map"),
    };
    context.spend((map.entries().len() + 1) * 16)?;
    context.make(64)?;
    if !replace && map.contains_key(&key) {
        return string("");
    }
    drop(map);
    let slot = context
        .scratch
        .entry(name)
        .or_insert_with(|| Value::Dict(Dict::new(Arc::new(Map::empty(Entries::Any)))));
    // A map out of a secret is copied before it changes.
    if let Value::Map(map) = slot {
        *slot = Value::Dict(Dict::new(Arc::clone(map)));
    }
    if let Value::Dict(dict) = slot {
        dict.insert(key, at(arguments, 3).clone()).map_err(Failure::new)?;
    }
    string("")
}

/// Go's methods of `json.Number`.
fn of_number(name: &str) -> Option<Function> {
    fn number(arguments: &[Value]) -> &str {
        match at(arguments, 0) {
            Value::Number(text) => text,
            _ => "",
        }
    }
    match name {
        "String" => fixed(&[], |_, a| string(number(a))),
        "Int64" => fixed(&[], |_, a| {
            super::convert::integer(number(a)).map_or_else(
                || failed("the number is no integer of 64 bits"),
                |int| Ok(Value::Int64(int)),
            )
        }),
        "Float64" => fixed(&[], |_, a| {
            super::convert::float(number(a)).map_or_else(
                || failed("the number does not fit a float"),
                |float| Ok(Value::Float(float)),
            )
        }),
        _ => None,
    }
}

fn of_certificate(name: &str) -> Option<Function> {
    match name {
        "Data" => fixed(&[], |_, a| Ok(at(a, 0).clone())),
        "CaChainContains" => fixed(&[Type::Text], |_, a| {
            let Value::Certificate(certificate) = at(a, 0) else {
                return Ok(Value::Bool(false));
            };
            Ok(Value::Bool(
                certificate.ca_chain.iter().any(|one| *one == text(a, 1)),
            ))
        }),
        "Equals" => fixed(&[Type::Certificate], |_, a| Ok(Value::Bool(at(a, 0) == at(a, 1)))),
        _ => None,
    }
}
