//! Maps. Those that the template made change in place, as in Go; those out of a secret are copied first.

use std::sync::Arc;

use super::cast;
use crate::functions::arguments::{at, list, map, text};
use crate::functions::signature::{Function, Type, fixed, variadic};
use crate::functions::{Context, Failure, Return, failed, maps};
use crate::value::{Dict, Entries, Key, Map, Value};

const MAP: &[Type] = &[Type::Map];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "dict" => variadic(&[], Type::Any, dict),
        "get" => fixed(&[Type::Map, Type::Text], |_, a| {
            Ok(map(a, 0)
                .get(&text(a, 1))
                .cloned()
                .unwrap_or_else(|| Value::str("")))
        }),
        "set" => fixed(&[Type::Map, Type::Text, Type::Any], |c, a| {
            let dict = changeable(c, at(a, 0))?;
            let key: Arc<str> = text(a, 1).into();
            dict.insert(key, at(a, 2).clone()).map_err(Failure::new)?;
            Ok(Value::Dict(dict))
        }),
        "unset" => fixed(&[Type::Map, Type::Text], |c, a| {
            let dict = changeable(c, at(a, 0))?;
            dict.remove(&text(a, 1));
            Ok(Value::Dict(dict))
        }),
        "hasKey" => fixed(&[Type::Map, Type::Text], |_, a| {
            Ok(map(a, 0).contains_key(&text(a, 1)).into())
        }),
        "pluck" => variadic(&[Type::Text], Type::Map, |_, a| {
            let found = (1..a.len()).filter_map(|place| map(a, place).get(&text(a, 0)).cloned());
            list(found.collect())
        }),
        // In order: Go gives them in another one each time.
        "keys" => variadic(&[], Type::Map, |c, a| {
            let mut keys: Vec<Value> = Vec::new();
            for place in 0..a.len() {
                let map = map(a, place);
                c.make(map.entries().len() * 32)?;
                keys.extend(map.entries().iter().map(|(key, _)| key.value()));
            }
            Ok(Value::List(Arc::new(crate::value::List::strings(keys))))
        }),
        "values" => fixed(MAP, |c, a| {
            let map = map(a, 0);
            c.make(map.entries().len() * 32)?;
            list(map.values().cloned().collect())
        }),
        "pick" => variadic(MAP, Type::Text, |c, a| chosen(c, a, true)),
        "omit" => variadic(MAP, Type::Text, |c, a| chosen(c, a, false)),
        "merge" | "mustMerge" => variadic(MAP, Type::Map, |c, a| merged(c, a, false)),
        "mergeOverwrite" | "mustMergeOverwrite" => variadic(MAP, Type::Map, |c, a| merged(c, a, true)),
        "dig" => variadic(&[], Type::Any, dig),
        "deepCopy" | "mustDeepCopy" => fixed(&[Type::Any], |_, a| {
            Ok(match at(a, 0).as_map() {
                Some(map) => Value::Dict(Dict::new(map)),
                None => at(a, 0).clone(),
            })
        }),
        _ => None,
    }
}

fn dict(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    context.make(arguments.len() * 64)?;
    let mut entries = Vec::new();
    for pair in arguments.chunks(2) {
        let key = String::from_utf8_lossy(&cast::text(at(pair, 0))?).into_owned();
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::str(""));
        let value = if let Value::Absent = value {
            Value::Null
        } else {
            value
        };
        entries.push((Key::Str(key.into()), value));
    }
    made(Map::new(Entries::Any, entries))
}

fn made(map: Result<Map, crate::value::TooDeep>) -> Return {
    map.map(|map| Value::Dict(Dict::new(Arc::new(map))))
        .map_err(Failure::new)
}

/// The map itself when the template made it, else a copy that may change.
fn changeable(context: &mut Context<'_>, value: &Value) -> Result<Dict, Failure> {
    let dict = match value {
        Value::Dict(dict) => dict.clone(),
        Value::Map(map) => {
            context.make(map.entries().len() * 64)?;
            Dict::new(Arc::clone(map))
        }
        _ => return failed("assignment to entry in nil map"),
    };
    context.make(64)?;
    context.spend(dict.snapshot().entries().len() * 16)?;
    Ok(dict)
}

fn chosen(context: &mut Context<'_>, arguments: &[Value], wanted: bool) -> Return {
    let source = map(arguments, 0);
    context.spend(source.entries().len() * arguments.len() * 16)?;
    context.make(source.entries().len() * 64)?;
    let named = |key: &Key| {
        (1..arguments.len()).any(|place| key.text().is_some_and(|key| **key == *text(arguments, place)))
    };
    let entries = source
        .entries()
        .iter()
        .filter(|(key, _)| named(key) == wanted)
        .cloned();
    made(Map::new(Entries::Any, entries.collect()))
}

fn merged(context: &mut Context<'_>, arguments: &[Value], override_all: bool) -> Return {
    let mut out = map(arguments, 0);
    for place in 1..arguments.len() {
        out = maps::merge(context, &out, &map(arguments, place), override_all)?;
    }
    Ok(maps::stored(at(arguments, 0), out))
}

/// `dig KEY… DEFAULT MAP`
fn dig(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [keys @ .., default, dict] = arguments else {
        return failed("dig needs at least three arguments");
    };
    if keys.is_empty() {
        return failed("dig needs at least three arguments");
    }
    let mut value = dict.clone();
    for key in keys {
        let Some(key) = key.as_bytes().and_then(|key| std::str::from_utf8(key).ok()) else {
            return failed("interface conversion: a key is not a string");
        };
        let Some(map) = value.as_map().filter(|map| map.kind() == Entries::Any) else {
            return failed("interface conversion: what is looked into is not a map[string]interface {}");
        };
        match map.get(key) {
            Some(found) => value = found.clone(),
            None => return Ok(default.clone()),
        }
    }
    Ok(value)
}
