//! Lists. Each function gives a new one.

use std::sync::Arc;

use super::cast;
use crate::functions::arguments::{at, int, list};
use crate::functions::signature::{Function, Type, fixed, variadic};
use crate::functions::{Context, Failure, Return, failed};
use crate::value::{Elements, List, Value};

const ANY: &[Type] = &[Type::Any];
const PAIR: &[Type] = &[Type::Any, Type::Any];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "list" | "tuple" => variadic(&[], Type::Any, |c, a| {
            c.make(a.len() * 32)?;
            list(a.to_vec())
        }),
        "append" | "push" | "mustAppend" | "mustPush" => fixed(PAIR, |c, a| {
            let mut items = copied(c, at(a, 0))?;
            items.push(at(a, 1).clone());
            list(items)
        }),
        "prepend" | "mustPrepend" => fixed(PAIR, |c, a| {
            let mut items = copied(c, at(a, 0))?;
            items.insert(0, at(a, 1).clone());
            list(items)
        }),
        "first" | "mustFirst" => fixed(ANY, |_, a| {
            Ok(items(at(a, 0))?.first().cloned().unwrap_or(Value::Null))
        }),
        "last" | "mustLast" => fixed(ANY, |_, a| {
            Ok(items(at(a, 0))?.last().cloned().unwrap_or(Value::Null))
        }),
        "rest" | "mustRest" => fixed(ANY, |c, a| {
            let all = copied(c, at(a, 0))?;
            list(all.into_iter().skip(1).collect())
        }),
        "initial" | "mustInitial" => fixed(ANY, |c, a| {
            let mut all = copied(c, at(a, 0))?;
            all.pop();
            list(all)
        }),
        "reverse" | "mustReverse" => fixed(ANY, |c, a| {
            let mut all = copied(c, at(a, 0))?;
            all.reverse();
            list(all)
        }),
        "compact" | "mustCompact" => fixed(ANY, |c, a| {
            let all = copied(c, at(a, 0))?;
            list(
                all.into_iter()
                    .filter(|item| !super::defaults::is_empty(item))
                    .collect(),
            )
        }),
        "uniq" | "mustUniq" => fixed(ANY, |c, a| {
            let mut out: Vec<Value> = Vec::new();
            for item in items(at(a, 0))? {
                if !holds(c, &out, item)? {
                    out.push(item.clone());
                }
            }
            list(out)
        }),
        "without" | "mustWithout" => variadic(ANY, Type::Any, |c, a| {
            let omitted = a.get(1..).unwrap_or_default();
            let mut out = Vec::new();
            for item in items(at(a, 0))? {
                if !holds(c, omitted, item)? {
                    out.push(item.clone());
                }
            }
            list(out)
        }),
        "has" | "mustHas" => fixed(PAIR, |c, a| {
            if at(a, 1).is_nil() {
                return Ok(Value::Bool(false));
            }
            let all = items(at(a, 1))?;
            holds(c, all, at(a, 0)).map(Value::Bool)
        }),
        "slice" | "mustSlice" => variadic(ANY, Type::Any, slice),
        "concat" => variadic(&[], Type::Any, |c, a| {
            let mut out = Vec::new();
            for one in a {
                out.extend(copied(c, one)?);
            }
            list(out)
        }),
        "chunk" | "mustChunk" => fixed(&[Type::Int, Type::Any], chunk),
        "until" => fixed(&[Type::Int], |c, a| {
            let count = int(a, 0);
            steps(c, 0, count, if count < 0 { -1 } else { 1 }).and_then(ints)
        }),
        "untilStep" => fixed(&[Type::Int, Type::Int, Type::Int], |c, a| {
            steps(c, int(a, 0), int(a, 1), int(a, 2)).and_then(ints)
        }),
        "seq" => variadic(&[], Type::Int, seq),
        _ => None,
    }
}

fn items(value: &Value) -> Result<&[Value], Failure> {
    match value {
        Value::List(list) => Ok(list.items()),
        nil if nil.is_nil() => failed("invalid memory address or nil pointer dereference"),
        other => failed(format!("Cannot use type {} as a list", other.type_name())),
    }
}

fn copied(context: &mut Context<'_>, value: &Value) -> Result<Vec<Value>, Failure> {
    let items = items(value)?;
    context.make(items.len() * 32)?;
    Ok(items.to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "what functions return")]
fn ints(numbers: Vec<i64>) -> Return {
    let items = numbers.into_iter().map(Value::Int).collect();
    Ok(Value::List(Arc::new(List::ints(items))))
}

/// Whether one of the values is deeply equal to another one.
fn holds(context: &mut Context<'_>, values: &[Value], wanted: &Value) -> Result<bool, Failure> {
    for value in values {
        if deep_equal(context, value, wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Go's `reflect.DeepEqual`: the types are equal, and everything in them.
pub(super) fn deep_equal(context: &mut Context<'_>, left: &Value, right: &Value) -> Result<bool, Failure> {
    context.spend(32)?;
    if let (Some(left_map), Some(right_map)) = (left.as_map(), right.as_map()) {
        if left_map.kind() != right_map.kind() || left_map.entries().len() != right_map.entries().len() {
            return Ok(false);
        }
        for ((one_key, one), (other_key, other)) in left_map.entries().iter().zip(right_map.entries()) {
            if one_key != other_key || !deep_equal(context, one, other)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    match (left, right) {
        (Value::List(one), Value::List(other)) => {
            if one.elements() != other.elements() || one.items().len() != other.items().len() {
                return Ok(false);
            }
            for (one, other) in one.items().iter().zip(other.items()) {
                if !deep_equal(context, one, other)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Absent | Value::Null, Value::Absent | Value::Null) => Ok(true),
        (left, right) => {
            context.spend(left.weight())?;
            Ok(left == right)
        }
    }
}

fn slice(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let source = at(arguments, 0);
    let all = items(source)?;
    if all.is_empty() {
        return Ok(Value::Null);
    }
    let bound = |place: usize, default: usize| match arguments.get(place) {
        Some(value) => usize::try_from(cast::to_int(value)).unwrap_or(usize::MAX),
        None => default,
    };
    let (from, to) = (bound(1, 0), bound(2, all.len()));
    let Some(part) = all.get(from..to) else {
        return failed("reflect.Value.Slice: slice index out of bounds");
    };
    context.make(part.len() * 32)?;
    match source {
        Value::List(list) => Ok(Value::List(Arc::new(list.with(part.to_vec())))),
        _ => list(part.to_vec()),
    }
}

fn chunk(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let all = copied(context, at(arguments, 1))?;
    let size = match usize::try_from(int(arguments, 0)) {
        Ok(size) if size > 0 => size,
        _ => return failed("the size of a chunk must be positive"),
    };
    let mut out = Vec::new();
    for part in all.chunks(size) {
        out.push(list(part.to_vec())?);
    }
    list(out)
}

/// Numbers from `start` to before `stop`.
fn steps(context: &mut Context<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Failure> {
    if (stop < start && step >= 0) || (stop >= start && step <= 0) {
        return Ok(Vec::new());
    }
    let count = stop.abs_diff(start).div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    context.make(count.saturating_mul(32))?;
    if count > 1_000_000 {
        return failed("more than a million numbers");
    }
    let mut out = Vec::with_capacity(count);
    let mut at = start;
    for _ in 0..count {
        out.push(at);
        at = at.saturating_add(step);
    }
    Ok(out)
}

/// `seq END`, `seq START END`, `seq START STEP END`: numbers with blanks between, the end included.
fn seq(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let (start, step, end) = match arguments {
        [_] => (1, None, int(arguments, 0)),
        [_, _] => (int(arguments, 0), None, int(arguments, 1)),
        [_, _, _] => (int(arguments, 0), Some(int(arguments, 1)), int(arguments, 2)),
        _ => return Ok(Value::str("")),
    };
    let direction = if end < start { -1 } else { 1 };
    if direction < 0 && step.is_some_and(|step| step > 0) {
        return Ok(Value::str(""));
    }
    let numbers = steps(
        context,
        start,
        end.saturating_add(direction),
        step.unwrap_or(direction),
    )?;
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    Ok(Value::str(texts.join(" ")))
}

/// For Go's `kindOf`.
pub(super) fn is_list(value: &Value) -> bool {
    matches!(value, Value::List(list) if matches!(list.elements(), Elements::Any | Elements::Strings | Elements::Ints))
}
