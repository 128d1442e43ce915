//! `print`, `println`, `printf`.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use super::arguments::{at_least, string, text};
use super::{Context, Function, Return, failed};
use crate::value::{Value, go_float};

/// The templates behind `printf`, parsed once for each number of arguments that is common.
static COMMON: [OnceLock<Option<gotmpl::Template>>; 8] = [const { OnceLock::new() }; 8];

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "print" => |_, a| Ok(Value::from_bytes(joined(a))),
        "println" => println,
        "printf" => printf,
        _ => return None,
    })
}

/// Go's `fmt.Sprint`: a space between two neighbours when neither is a string.
pub(super) fn joined(values: &[Value]) -> Vec<u8> {
    let plain = |value: &Value| matches!(value, Value::Str(_) | Value::Bytes(_) | Value::Number(_));
    let mut out = Vec::new();
    for (position, value) in values.iter().enumerate() {
        if position > 0 && !plain(value) && !plain(&values[position - 1]) {
            out.push(b' ');
        }
        value.print(&mut out, true);
    }
    out
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all functions")]
fn println(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let mut out = Vec::new();
    for (position, value) in arguments.iter().enumerate() {
        if position > 0 {
            out.push(b' ');
        }
        value.print(&mut out, true);
    }
    out.push(b'\n');
    Ok(Value::from_bytes(out))
}

/// The verbs are gotmpl's, reached through a template of its own: it offers no other door.
fn printf(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    at_least("printf", arguments, 1)?;
    // Checked here, because gotmpl would print a wrong first argument in its error.
    let format = text(&arguments[0])?;
    let values: Vec<gotmpl::Value> = std::iter::once(gotmpl::Value::String(Arc::from(format.as_ref())))
        .chain(arguments[1..].iter().map(foreign))
        .collect();
    let count = values.len();
    let values = gotmpl::Value::List(values.into());
    let rare;
    let parsed = if let Some(slot) = COMMON.get(count) {
        slot.get_or_init(|| call(count)).as_ref()
    } else {
        rare = call(count);
        rare.as_ref()
    };
    let rendered = parsed.map(|template| template.execute_to_string(&values));
    match rendered {
        Some(Ok(text)) => Ok(string(text)),
        // Its error is left out: it may print a value.
        Some(Err(_)) | None => failed("the format and its arguments do not fit"),
    }
}

/// A template that calls `printf` with the first `count` items of its data.
fn call(count: usize) -> Option<gotmpl::Template> {
    let mut source = "{{printf".to_owned();
    for position in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(source, " (index . {position})");
    }
    source.push_str("}}");
    gotmpl::Template::new("").parse(&source).ok()
}

fn foreign(value: &Value) -> gotmpl::Value {
    match value {
        Value::Absent | Value::Null | Value::Secret(_) => gotmpl::Value::Nil,
        Value::Bool(value) => gotmpl::Value::Bool(*value),
        Value::Int(value) => gotmpl::Value::Int(*value),
        Value::Float(value) => gotmpl::Value::Float(*value),
        Value::Number(text) | Value::Str(text) => gotmpl::Value::String(Arc::clone(text)),
        Value::Bytes(bytes) => gotmpl::Value::String(String::from_utf8_lossy(bytes).into()),
        Value::List(items, _) => gotmpl::Value::List(items.iter().map(nested).collect()),
        Value::Map(entries) => gotmpl::Value::Map(Arc::new(
            entries
                .iter()
                .map(|(key, value)| (Arc::clone(key), nested(value)))
                .collect(),
        )),
    }
}

/// gotmpl prints floats in its own way: inside lists and maps they go in as Go would print them.
fn nested(value: &Value) -> gotmpl::Value {
    match value {
        Value::Float(value) => gotmpl::Value::String(go_float(*value).into()),
        other => foreign(other),
    }
}
