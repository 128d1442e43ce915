//! Go's comparison builtins and `not`.

use std::cmp::Ordering;

use super::arguments::{at_least, exactly};
use super::{Context, Failure, Function, Return, failed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "eq" => eq,
        "ne" => ne,
        "lt" => |_, a| order("lt", a, Ordering::is_lt),
        "le" => |_, a| order("le", a, Ordering::is_le),
        "gt" => |_, a| order("gt", a, Ordering::is_gt),
        "ge" => |_, a| order("ge", a, Ordering::is_ge),
        "not" => not,
        _ => return None,
    })
}

fn not(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [value] = exactly("not", arguments)?;
    Ok(Value::Bool(!value.is_true()))
}

/// The text behind a string or a number out of Vault: both are of string kind in Go.
fn string_kind(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Str(text) | Value::Number(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn equal(left: &Value, right: &Value) -> Result<bool, Failure> {
    if let (Some(left), Some(right)) = (string_kind(left), string_kind(right)) {
        return Ok(left == right);
    }
    match (left, right) {
        (Value::Absent | Value::Null, other) | (other, Value::Absent | Value::Null) => {
            Ok(matches!(other, Value::Absent | Value::Null))
        }
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        #[expect(clippy::float_cmp, reason = "Go compares floats exactly")]
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Map(_), Value::Map(_)) | (Value::List(..), Value::List(..)) => {
            failed(format!("non-comparable type {}", left.type_name()))
        }
        _ => incompatible(left, right),
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
    at_least("eq", arguments, 2)?;
    let (first, rest) = (&arguments[0], &arguments[1..]);
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn ne(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [left, right] = exactly("ne", arguments)?;
    Ok(Value::Bool(!equal(left, right)?))
}

fn order(name: &str, arguments: &[Value], wanted: fn(Ordering) -> bool) -> Return {
    let [left, right] = exactly(name, arguments)?;
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        _ => match (string_kind(left), string_kind(right)) {
            (Some(left), Some(right)) => Some(left.cmp(right)),
            _ => return incompatible(left, right),
        },
    };
    Ok(Value::Bool(ordering.is_some_and(wanted)))
}
