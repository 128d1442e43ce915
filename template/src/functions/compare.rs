//! Go's comparison builtins.

use std::cmp::Ordering;
use std::sync::Arc;

use super::arguments::at;
use super::signature::{Function, Type, fixed, variadic};
use super::{Context, Failure, Return, failed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    const TWO: &[Type] = &[Type::Reflect, Type::Reflect];
    match name {
        "eq" => variadic(&[Type::Reflect], Type::Reflect, eq),
        "ne" => fixed(TWO, |_, a| {
            equal(at(a, 0), at(a, 1)).map(|same| Value::Bool(!same))
        }),
        "lt" => fixed(TWO, |_, a| order(a, Ordering::is_lt)),
        "le" => fixed(TWO, |_, a| order(a, Ordering::is_le)),
        "gt" => fixed(TWO, |_, a| order(a, Ordering::is_gt)),
        "ge" => fixed(TWO, |_, a| order(a, Ordering::is_ge)),
        _ => None,
    }
}

/// The kinds that Go compares.
#[derive(Clone, Copy, PartialEq)]
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(&'a [u8]),
}

fn basic(value: &Value) -> Option<Basic<'_>> {
    Some(match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Int(value) | Value::Int64(value) => Basic::Int(*value),
        Value::Uint64(value) => Basic::Uint(*value),
        Value::Byte(value) => Basic::Uint(u64::from(*value)),
        Value::Float(value) => Basic::Float(*value),
        other => Basic::Text(other.string_kind()?),
    })
}

fn equal(left: &Value, right: &Value) -> Result<bool, Failure> {
    match (basic(left), basic(right)) {
        (Some(Basic::Int(int)), Some(Basic::Uint(uint)))
        | (Some(Basic::Uint(uint)), Some(Basic::Int(int))) => Ok(u64::try_from(int) == Ok(uint)),
        (Some(one), Some(other)) if std::mem::discriminant(&one) == std::mem::discriminant(&other) => {
            Ok(one == other)
        }
        (None, None) => no_basic_kinds(left, right),
        _ if matches!(left, Value::Absent | Value::Null) || matches!(right, Value::Absent | Value::Null) => {
            Ok(false)
        }
        _ => incompatible(left, right),
    }
}

/// Nil is comparable with everything; maps and lists with nil only.
fn no_basic_kinds(left: &Value, right: &Value) -> Result<bool, Failure> {
    if left.is_nil() || right.is_nil() {
        return Ok(left.is_nil() && right.is_nil());
    }
    match (left, right) {
        (Value::Secret(left), Value::Secret(right)) => Ok(Arc::ptr_eq(left, right)),
        (Value::Scratch, Value::Scratch) => Ok(true),
        _ if left.type_name() != right.type_name() => failed(format!(
            "non-comparable types {}, {}",
            left.type_name(),
            right.type_name()
        )),
        _ => failed(format!("non-comparable type {}", left.type_name())),
    }
}

fn incompatible<T>(left: &Value, right: &Value) -> Result<T, Failure> {
    failed(format!(
        "incompatible types for comparison: {} and {}",
        left.type_name(),
        right.type_name()
    ))
}

/// `eq A B C…`: A equals B or C.
fn eq(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let Some((first, rest)) = arguments.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return failed("missing argument for comparison");
    };
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn order(arguments: &[Value], wanted: fn(Ordering) -> bool) -> Return {
    let (left, right) = (at(arguments, 0), at(arguments, 1));
    let (Some(one), Some(other)) = (basic(left), basic(right)) else {
        return failed("invalid type for comparison");
    };
    let ordering = match (one, other) {
        (Basic::Int(one), Basic::Int(other)) => Some(one.cmp(&other)),
        (Basic::Uint(one), Basic::Uint(other)) => Some(one.cmp(&other)),
        (Basic::Int(one), Basic::Uint(other)) => {
            Some(u64::try_from(one).map_or(Ordering::Less, |one| one.cmp(&other)))
        }
        (Basic::Uint(one), Basic::Int(other)) => {
            Some(u64::try_from(other).map_or(Ordering::Greater, |other| one.cmp(&other)))
        }
        (Basic::Float(one), Basic::Float(other)) => one.partial_cmp(&other),
        (Basic::Text(one), Basic::Text(other)) => Some(one.cmp(other)),
        (Basic::Bool(_), Basic::Bool(_)) => return failed("invalid type for comparison"),
        _ => return incompatible(left, right),
    };
    // Go makes gt and ge out of the others, which only shows with what has no order.
    Ok(Value::Bool(match ordering {
        Some(ordering) => wanted(ordering),
        None => wanted(Ordering::Greater),
    }))
}
