//! The values that a template works on: what Go's reflection would see, made explicit.
//!
//! Two kinds of nothing exist, as in Go: [`Value::Absent`] (no value at all: further field access
//! is harmless) and [`Value::Null`] (a nil found in a map: further field access is an error).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::secrets::Secret;

/// What the elements of a list are declared to be. Go tells `[]string` from `[]interface {}`:
/// `join` takes the first and refuses the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elements {
    /// `[]interface {}`: lists out of JSON.
    Any,
    /// `[]string`: what `split` and `secrets` return.
    Strings,
    /// Integers, from `loop`: a channel in Go, so it has no length.
    Sequence,
}

/// A value in a template. Its `Debug` form names the type only: most values are secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// No value: what an unanswered `secret` gives.
    Absent,
    /// A nil inside a map or list: JSON `null`, or a missing key.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer literal or the result of integer arithmetic.
    Int(i64),
    /// A float literal or a number read by `parseJSON`.
    Float(f64),
    /// A number out of Vault's answer, exactly as it was sent (`json.Number` in Go).
    Number(Arc<str>),
    /// A string.
    Str(Arc<str>),
    /// A string in Go that is not UTF-8, as `base64Decode` can give.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<[Value]>, Elements),
    /// A map; iteration is in the order of its keys.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// The answer of `secret`.
    Secret(Arc<Secret>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.type_name())
    }
}

impl Value {
    /// A string value.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A string value out of bytes that may not be UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::str(text),
            Err(error) => Self::Bytes(error.into_bytes().into()),
        }
    }

    /// A list of strings (`[]string`).
    pub fn strings<T: Into<Arc<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Self::str).collect(), Elements::Strings)
    }

    /// A map from pairs.
    pub fn map(entries: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().collect()))
    }

    /// The name of the type as Go would print it in an error.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Absent | Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Number(_) => "json.Number",
            Self::Str(_) | Self::Bytes(_) => "string",
            Self::List(_, Elements::Any) => "[]interface {}",
            Self::List(_, Elements::Strings) => "[]string",
            Self::List(_, Elements::Sequence) => "chan int64",
            Self::Map(_) => "map[string]interface {}",
            Self::Secret(_) => "*dependency.Secret",
        }
    }

    /// Whether `if`, `with`, `and` and `or` take the value for true: false, 0, nil and whatever is empty are not.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Absent | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Number(text) | Self::Str(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(_, Elements::Sequence) | Self::Secret(_) => true,
            Self::List(items, _) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// Appends what an action would print, or (`nested`) what it would print inside a list or map.
    pub fn print(&self, out: &mut Vec<u8>, nested: bool) {
        match self {
            Self::Absent | Self::Null if nested => out.extend_from_slice(b"<nil>"),
            Self::Absent | Self::Null => out.extend_from_slice(b"<no value>"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Float(value) => out.extend_from_slice(go_float(*value).as_bytes()),
            Self::Number(text) | Self::Str(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::List(items, _) => {
                out.push(b'[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(b' ');
                    }
                    item.print(out, true);
                }
                out.push(b']');
            }
            Self::Map(entries) => {
                out.extend_from_slice(b"map[");
                for (position, (key, value)) in entries.iter().enumerate() {
                    if position > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(key.as_bytes());
                    out.push(b':');
                    value.print(out, true);
                }
                out.push(b']');
            }
            // Go prints the struct of an answer; nobody wants lease ids and secrets in that form in a file.
            Self::Secret(_) => out.extend_from_slice(b"<secret>"),
        }
    }

    /// What `print` would write, as a string of bytes.
    pub fn printed(&self, nested: bool) -> Vec<u8> {
        let mut out = Vec::new();
        self.print(&mut out, nested);
        out
    }
}

/// A float as Go's `%v` prints it: the shortest digits, with an exponent below 1e-4 and from 1e6 on
/// (`1.2345678e+07`).
pub(crate) fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_shows_its_content_in_debug_output() {
        let value = Value::map([(Arc::from("password"), Value::str("hunter2"))]);
        let text = format!("{value:?} {:?}", Value::Number("4711".into()));
        assert!(
            !text.contains("hunter2") && !text.contains("4711"),
            "a secret was printed: {text}"
        );
    }
}
