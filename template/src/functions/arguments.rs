//! Takes arguments apart. Their types were checked against the signature: what does not fit here cannot come.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Failure, Return};
use crate::value::{Map, Value};

/// The argument at this place; nil when there is none.
pub(super) fn at(values: &[Value], place: usize) -> &Value {
    values.get(place).unwrap_or(&Value::Absent)
}

/// A string as its bytes.
pub(super) fn bytes(values: &[Value], place: usize) -> &[u8] {
    at(values, place).as_bytes().unwrap_or_default()
}

/// A string; what is not UTF-8 in it becomes U+FFFD.
pub(super) fn text(values: &[Value], place: usize) -> Cow<'_, str> {
    match at(values, place) {
        Value::Str(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
        _ => Cow::Borrowed(""),
    }
}

/// An integer.
pub(super) fn int(values: &[Value], place: usize) -> i64 {
    at(values, place).int_kind().unwrap_or(0)
}

/// The items of a list; none of nil.
pub(super) fn items(values: &[Value], place: usize) -> &[Value] {
    match at(values, place) {
        Value::List(list) => list.items(),
        _ => &[],
    }
}

/// A map; an empty one for nil.
pub(super) fn map(values: &[Value], place: usize) -> Arc<Map> {
    at(values, place)
        .as_map()
        .unwrap_or_else(|| Arc::new(Map::empty(crate::value::Entries::Any)))
}

/// A string value.
#[expect(clippy::unnecessary_wraps, reason = "what functions return")]
pub(super) fn string(text: impl Into<Arc<str>>) -> Return {
    Ok(Value::Str(text.into()))
}

/// A list of anything.
pub(super) fn list(items: Vec<Value>) -> Return {
    Value::list(items).map_err(Failure::new)
}

/// A length as Go's `int`.
pub(super) fn count(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}
