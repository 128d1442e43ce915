//! Maps: explodeMap, mergeMap.

use std::sync::Arc;

use super::arguments::{at, map};
use super::signature::{Function, Type, fixed};
use super::{Context, Failure, Return, failed};
use crate::value::{Dict, Entries, Key, Map, Value};

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "explodeMap" => fixed(&[Type::Map], explode_map),
        "mergeMap" => fixed(&[Type::Map, Type::Map], |c, a| {
            let merged = merge(c, &map(a, 0), &map(a, 1), false)?;
            Ok(stored(at(a, 0), merged))
        }),
        "mergeMapWithOverride" => fixed(&[Type::Map, Type::Map], |c, a| {
            let merged = merge(c, &map(a, 0), &map(a, 1), true)?;
            Ok(stored(at(a, 0), merged))
        }),
        _ => None,
    }
}

/// Go merges into the first map itself: one that the template made changes, one out of a secret stays as it is.
pub(super) fn stored(first: &Value, merged: Arc<Map>) -> Value {
    match first {
        Value::Dict(dict) => {
            dict.replace(merged);
            first.clone()
        }
        _ => Value::Dict(Dict::new(merged)),
    }
}

/// The second map into the first: what the first lacks or, with `override_all`, everything. Maps in both are merged.
pub(super) fn merge(
    context: &mut Context<'_>,
    first: &Arc<Map>,
    second: &Arc<Map>,
    override_all: bool,
) -> Result<Arc<Map>, Failure> {
    context.make((first.entries().len() + second.entries().len()) * 64)?;
    let mut entries: Vec<(Key, Value)> = first.entries().to_vec();
    for (key, value) in second.entries() {
        let merged = match (first.get_key(key), value) {
            (_, Value::Null) if override_all => Value::Null,
            (_, Value::Null) => continue,
            (Some(Value::Map(one)), Value::Map(other)) if one.kind() == other.kind() => {
                Value::Map(merge(context, one, other, override_all)?)
            }
            // What is false, zero or empty counts as not there.
            (Some(there), _) if there.is_true() && !override_all => continue,
            (_, value) => value.clone(),
        };
        entries.push((key.clone(), merged));
    }
    Map::new(first.kind(), entries)
        .map(Arc::new)
        .map_err(Failure::new)
}

/// Keys with slashes become maps in maps.
fn explode_map(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let source = map(arguments, 0);
    let mut root = Branch::default();
    for (key, value) in source.entries() {
        let Some(key) = key.text() else { continue };
        context.make(key.len() * 64)?;
        root.put(key, value.clone()).map_err(|Taken| {
            Failure::new("explodeMap: not a map: a key stands below another one that has a value")
        })?;
    }
    root.map(0).map(|map| Value::Dict(Dict::new(Arc::new(map))))
}

struct Taken;

#[derive(Default)]
struct Branch {
    entries: std::collections::BTreeMap<Arc<str>, Leaf>,
}

enum Leaf {
    Value(Value),
    Branch(Branch),
}

impl Branch {
    fn put(&mut self, key: &str, value: Value) -> Result<(), Taken> {
        let mut branch = self;
        let mut rest = key;
        while let Some((top, below)) = rest.split_once('/') {
            let next = branch
                .entries
                .entry(top.into())
                .or_insert_with(|| Leaf::Branch(Branch::default()));
            // A map that was a value is exploded into as well.
            if let Leaf::Value(value) = next
                && let Some(map) = value.as_map()
                && map.kind() == Entries::Any
            {
                let mut copy = Branch::default();
                for (key, value) in map.entries() {
                    if let Some(key) = key.text() {
                        copy.entries.insert(Arc::clone(key), Leaf::Value(value.clone()));
                    }
                }
                *next = Leaf::Branch(copy);
            }
            match next {
                Leaf::Branch(next) => branch = next,
                Leaf::Value(_) => return Err(Taken),
            }
            rest = below;
        }
        if !rest.is_empty() {
            branch.entries.insert(rest.into(), Leaf::Value(value));
        }
        Ok(())
    }

    fn map(self, depth: u16) -> Result<Map, Failure> {
        if depth > crate::value::MAX_DEPTH {
            return failed(crate::value::TooDeep);
        }
        let mut entries = Vec::with_capacity(self.entries.len());
        for (key, leaf) in self.entries {
            let value = match leaf {
                Leaf::Value(value) => value,
                Leaf::Branch(branch) => Value::Map(Arc::new(branch.map(depth + 1)?)),
            };
            entries.push((Key::Str(key), value));
        }
        Map::new(Entries::Any, entries).map_err(Failure::new)
    }
}
