//! Reads values out of strings: parseBool, parseInt and the like.

use super::arguments::text;
use super::signature::{Function, Type, fixed};
use super::{Return, failed};
use crate::syntax_float;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    const ONE: &[Type] = &[Type::Text];
    match name {
        "parseBool" => fixed(ONE, |_, a| {
            parse("parseBool", &text(a, 0), boolean, Value::Bool(false))
        }),
        "parseInt" => fixed(ONE, |_, a| {
            parse(
                "parseInt",
                &text(a, 0),
                |s| integer(s).map(Value::Int64),
                Value::Int64(0),
            )
        }),
        "parseUint" => fixed(ONE, |_, a| {
            parse(
                "parseUint",
                &text(a, 0),
                |s| unsigned(s).map(Value::Uint64),
                Value::Uint64(0),
            )
        }),
        "parseFloat" => fixed(ONE, |_, a| {
            parse(
                "parseFloat",
                &text(a, 0),
                |s| float(s).map(Value::Float),
                Value::Float(0.0),
            )
        }),
        _ => None,
    }
}

fn parse(name: &str, text: &str, read: impl Fn(&str) -> Option<Value>, empty: Value) -> Return {
    if text.is_empty() {
        return Ok(empty);
    }
    match read(text) {
        Some(value) => Ok(value),
        // What it is stays unsaid: it may be secret.
        None => failed(format!("{name}: invalid syntax or out of range")),
    }
}

/// Go's `strconv.ParseBool`
pub(super) fn boolean(text: &str) -> Option<Value> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// Go's `strconv.ParseInt` with base 10.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Go's `strconv.ParseUint` with base 10: no sign.
fn unsigned(text: &str) -> Option<u64> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

/// Go's `strconv.ParseFloat`: out of range is an error, underscores are only read in numbers with a base prefix.
pub(super) fn float(text: &str) -> Option<f64> {
    let value = syntax_float(text)?;
    let names_infinity = text
        .trim_start_matches(['-', '+'])
        .starts_with(['i', 'I', 'n', 'N']);
    (value.is_finite() || names_infinity).then_some(value)
}
