//! Reads a number or a text out of any value, as sprig does: what cannot be read is 0.

use crate::fmt;
use crate::functions::{Failure, convert};
use crate::value::Value;

/// Go's `cast.ToInt64`
pub(super) fn to_int(value: &Value) -> i64 {
    if let Some(int) = value.int_kind() {
        return int;
    }
    if let Some(uint) = value.uint_kind() {
        return uint.cast_signed();
    }
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "so does Go")]
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        other => {
            let text = other.string_kind().unwrap_or_default();
            let text = std::str::from_utf8(text).unwrap_or_default();
            crate::syntax_integer(without_zero_fraction(text)).unwrap_or(0)
        }
    }
}

/// Go's `cast.ToFloat64`
#[expect(clippy::cast_precision_loss, reason = "so does Go")]
pub(super) fn to_float(value: &Value) -> f64 {
    if let Some(int) = value.int_kind() {
        return int as f64;
    }
    if let Some(uint) = value.uint_kind() {
        return uint as f64;
    }
    match value {
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        other => {
            let text = other.string_kind().unwrap_or_default();
            let text = std::str::from_utf8(text).unwrap_or_default();
            convert::float(text).unwrap_or(0.0)
        }
    }
}

/// `1.00` without `.00`.
fn without_zero_fraction(text: &str) -> &str {
    let kept = text.trim_end_matches('0');
    match kept.strip_suffix('.') {
        Some(whole) if kept.len() < text.len() => whole,
        _ => text,
    }
}

/// sprig's `strval`: a text as it is, anything else as `%v` prints it.
pub(super) fn text(value: &Value) -> Result<Vec<u8>, Failure> {
    match value.as_bytes() {
        Some(bytes) => Ok(bytes.to_vec()),
        None => fmt::printf(b"%v", std::slice::from_ref(value)).map_err(Failure::new),
    }
}

/// The items of any list as texts, without nil; a single value as a list of one.
pub(super) fn texts(value: &Value) -> Result<Vec<Vec<u8>>, Failure> {
    match value {
        Value::List(list) => list
            .items()
            .iter()
            .filter(|item| !item.is_nil())
            .map(text)
            .collect(),
        nil if nil.is_nil() => Ok(Vec::new()),
        other => Ok(vec![text(other)?]),
    }
}
