//! Takes arguments apart, with Go's words where they do not fit.

use std::borrow::Cow;
use std::sync::Arc;

use super::Failure;
use crate::value::Value;

/// Exactly `N` arguments.
pub(super) fn exactly<'a, const N: usize>(
    name: &str,
    values: &'a [Value],
) -> Result<&'a [Value; N], Failure> {
    values.try_into().map_err(|_| {
        Failure::Argument(format!(
            "wrong number of args for {name}: want {N} got {}",
            values.len()
        ))
    })
}

/// At least `least` arguments.
pub(super) fn at_least(name: &str, values: &[Value], least: usize) -> Result<(), Failure> {
    if values.len() >= least {
        return Ok(());
    }
    Err(Failure::Argument(format!(
        "wrong number of args for {name}: want at least {least} got {}",
        values.len()
    )))
}

/// A string. A number out of Vault is none, as in Go.
pub(super) fn text(value: &Value) -> Result<Cow<'_, str>, Failure> {
    match value {
        Value::Str(text) => Ok(Cow::Borrowed(text)),
        Value::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes)),
        other => Err(wrong(other, "string")),
    }
}

/// A string as its bytes.
pub(super) fn bytes(value: &Value) -> Result<&[u8], Failure> {
    match value {
        Value::Str(text) => Ok(text.as_bytes()),
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(wrong(other, "string")),
    }
}

/// An integer.
pub(super) fn int(value: &Value) -> Result<i64, Failure> {
    match value {
        Value::Int(value) => Ok(*value),
        other => Err(wrong(other, "int")),
    }
}

/// The value's type is not the one wanted.
pub(super) fn wrong(value: &Value, expected: &str) -> Failure {
    match value {
        Value::Absent | Value::Null => Failure::Argument(format!("invalid value; expected {expected}")),
        other => Failure::Argument(format!(
            "wrong type for value; expected {expected}; got {}",
            other.type_name()
        )),
    }
}

/// A string value.
pub(super) fn string(text: impl Into<Arc<str>>) -> Value {
    Value::Str(text.into())
}
