//! The values that a template works on: what Go's reflection would see, made explicit.
//!
//! Two kinds of nothing exist, as in Go: [`Value::Absent`] (no value at all: further field access
//! is harmless) and [`Value::Null`] (a nil found in a map: further field access is an error).
//! No value is nested deeper than [`MAX_DEPTH`], and none holds itself: so it can be walked by recursion.

mod list;
mod map;

use std::fmt;
use std::sync::Arc;

use crate::secrets::{Certificate, Secret};

pub use list::{Elements, List};
pub use map::{Dict, Entries, Key, Map};

/// How deep lists and maps may be nested.
pub(crate) const MAX_DEPTH: u16 = 128;

/// A list or map that would be nested deeper than [`MAX_DEPTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nested deeper than {MAX_DEPTH} lists and maps")]
pub struct TooDeep;

/// A value in a template. Its `Debug` form names the type only: most values are secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// No value: what an unanswered `secret` gives.
    Absent,
    /// A nil inside a map or list: JSON `null`, or a missing key.
    Null,
    /// A boolean.
    Bool(bool),
    /// Go's `int`: an integer literal, an index, a length.
    Int(i64),
    /// Go's `int64`: the result of arithmetic, of `loop` and of `parseInt`.
    Int64(i64),
    /// Go's `uint64`: what `parseUint` gives.
    Uint64(u64),
    /// Go's `uint8`: a byte of a string.
    Byte(u8),
    /// A float literal or a number read by `parseJSON`.
    Float(f64),
    /// A number out of Vault's answer, exactly as it was sent (`json.Number` in Go).
    Number(Arc<str>),
    /// A string.
    Str(Arc<str>),
    /// A string in Go that is not UTF-8, as `base64Decode` can give.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<List>),
    /// A map that never changes: what Vault answered, and what lies inside another value.
    Map(Arc<Map>),
    /// A map that the template made and may change (`sprig_dict`, `mergeMap`, `parseJSON`).
    Dict(Dict),
    /// What `loop` gives: the integers from the first up to before the second; a channel in Go.
    Sequence(i64, i64),
    /// The answer of `secret`.
    Secret(Arc<Secret>),
    /// `.Auth` of an answer that has one.
    Auth(Arc<Secret>),
    /// `.WrapInfo` of an answer that has one.
    WrapInfo(Arc<Secret>),
    /// The answer of `pkiCert`.
    Certificate(Arc<Certificate>),
    /// The notepad of one rendering.
    Scratch,
    /// A nil pointer to the struct of this name.
    NilPointer(&'static str),
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
        Self::List(Arc::new(List::strings(
            items.into_iter().map(Self::str).collect(),
        )))
    }

    /// A list of anything (`[]interface {}`).
    ///
    /// # Errors
    /// An item is nested too deeply.
    pub fn list(items: Vec<Value>) -> Result<Self, TooDeep> {
        List::any(items).map(|list| Self::List(Arc::new(list)))
    }

    /// A map from pairs; values nested too deeply to be held become nil.
    pub fn map(entries: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| {
            let value = if value.depth() >= MAX_DEPTH {
                Self::Null
            } else {
                value
            };
            (Key::Str(key), value)
        });
        Self::Map(Arc::new(
            Map::new(Entries::Any, entries.collect()).unwrap_or_else(|_| Map::empty(Entries::Any)),
        ))
    }

    /// The map that this is, changeable or not.
    pub fn as_map(&self) -> Option<Arc<Map>> {
        match self {
            Self::Map(map) => Some(Arc::clone(map)),
            Self::Dict(dict) => Some(dict.snapshot()),
            _ => None,
        }
    }

    /// What a container holds of a value: a map that changes is held as it is now.
    pub(crate) fn held(self) -> Self {
        match self {
            Self::Dict(dict) => Self::Map(dict.snapshot()),
            other => other,
        }
    }

    /// How many lists and maps are nested in it, itself included.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::List(list) => list.depth(),
            Self::Map(map) => map.depth(),
            Self::Dict(dict) => dict.snapshot().depth(),
            Self::Secret(secret) => secret.data.depth() + 1,
            _ => 0,
        }
    }

    /// How much a value weighs by itself, in bytes, without what its parts weigh.
    pub(crate) fn weight(&self) -> usize {
        let parts = match self {
            Self::Number(text) | Self::Str(text) => return text.len(),
            Self::Bytes(bytes) => return bytes.len(),
            Self::List(list) => list.items().len(),
            Self::Map(map) => map.entries().len(),
            Self::Dict(dict) => dict.snapshot().entries().len(),
            _ => 0,
        };
        parts * size_of::<(Key, Value)>()
    }

    /// The bytes of a string; `None` for anything else, a number out of Vault included.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes of whatever is a string underneath in Go: strings and numbers out of Vault.
    pub(crate) fn string_kind(&self) -> Option<&[u8]> {
        match self {
            Self::Number(text) => Some(text.as_bytes()),
            other => other.as_bytes(),
        }
    }

    /// The value of Go's signed integer kinds.
    pub(crate) fn int_kind(&self) -> Option<i64> {
        match self {
            Self::Int(value) | Self::Int64(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of Go's unsigned integer kinds.
    pub(crate) fn uint_kind(&self) -> Option<u64> {
        match self {
            Self::Uint64(value) => Some(*value),
            Self::Byte(value) => Some(u64::from(*value)),
            _ => None,
        }
    }

    /// Whether this is no value or a nil.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Absent | Self::Null | Self::NilPointer(_))
    }

    /// The name of the type as Go prints it (`%T`).
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Absent | Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint64(_) => "uint64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Number(_) => "json.Number",
            Self::Str(_) | Self::Bytes(_) => "string",
            Self::List(list) => list.elements().list_name(),
            Self::Map(map) => map.kind().map_name(),
            Self::Dict(dict) => dict.snapshot().kind().map_name(),
            Self::Sequence(..) => "<-chan int64",
            Self::Secret(_) => "*dependency.Secret",
            Self::Auth(_) => "*dependency.SecretAuth",
            Self::WrapInfo(_) => "*dependency.SecretWrapInfo",
            Self::Certificate(_) => "dependency.PemEncoded",
            Self::Scratch => "*template.Scratch",
            Self::NilPointer(name) => name,
        }
    }

    /// Whether `if`, `with`, `and` and `or` take the value for true: false, 0, nil and whatever is empty are not.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Absent | Self::Null | Self::NilPointer(_) => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Int64(value) => *value != 0,
            Self::Uint64(value) => *value != 0,
            Self::Byte(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Number(text) | Self::Str(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Sequence(..)
            | Self::Secret(_)
            | Self::Auth(_)
            | Self::WrapInfo(_)
            | Self::Certificate(_)
            | Self::Scratch => true,
            Self::List(list) => !list.items().is_empty(),
            Self::Map(map) => !map.entries().is_empty(),
            Self::Dict(dict) => !dict.snapshot().entries().is_empty(),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
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

    #[test]
    fn nothing_is_nested_without_end() {
        let mut value = Value::Int(1);
        let mut levels = 0;
        while let Ok(deeper) = Value::list(vec![value.clone(), value.clone()]) {
            value = deeper;
            levels += 1;
        }
        assert_eq!(levels, MAX_DEPTH, "lists stop at the limit");
    }
}
