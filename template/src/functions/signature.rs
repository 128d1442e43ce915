//! What a function takes, as Go's reflection would know it.

use crate::value::{Elements, Entries, Value};

use super::{Context, Return};

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    /// `interface {}`
    Any,
    /// `reflect.Value`: what the builtins take; no value at all is one too.
    Reflect,
    /// `string`
    Text,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `float64`
    Float,
    /// `[]string`
    Strings,
    /// `[]interface {}`
    List,
    /// `map[string]interface {}`
    Map,
    /// `dependency.PemEncoded`
    Certificate,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Reflect => "reflect.Value",
            Self::Text => "string",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Strings => "[]string",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
            Self::Certificate => "dependency.PemEncoded",
        }
    }

    pub(crate) fn can_be_nil(self) -> bool {
        matches!(
            self,
            Self::Any | Self::Reflect | Self::Strings | Self::List | Self::Map
        )
    }

    /// The value as an argument of this type, or Go's words for why it is none.
    pub(crate) fn check(self, value: Value) -> Result<Value, String> {
        let fits = match (self, &value) {
            (Self::Any | Self::Reflect, _)
            | (Self::Text, Value::Str(_) | Value::Bytes(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Int, Value::Int(_))
            | (Self::Float, Value::Float(_))
            | (Self::Certificate, Value::Certificate(_)) => true,
            (_, Value::Absent) => {
                if !self.can_be_nil() {
                    return Err(format!("invalid value; expected {}", self.name()));
                }
                true
            }
            (_, Value::Null) => {
                return Err(format!(
                    "wrong type for value; expected {}; got interface {{}}",
                    self.name()
                ));
            }
            (Self::Strings, Value::List(list)) => list.elements() == Elements::Strings,
            (Self::List, Value::List(list)) => list.elements() == Elements::Any,
            (Self::Map, other) => other.as_map().is_some_and(|map| map.kind() == Entries::Any),
            _ => false,
        };
        if fits {
            return Ok(value);
        }
        Err(format!(
            "wrong type for value; expected {}; got {}",
            self.name(),
            value.type_name()
        ))
    }
}

/// How a function is run. The arguments fit its types.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Plain(fn(&mut Context<'_>, &[Value]) -> Return),
    /// The next three need the evaluator itself.
    And,
    Or,
    ExecuteTemplate,
}

/// A function by what it takes.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) fixed: &'static [Type],
    /// The type of any number of further arguments.
    pub(crate) rest: Option<Type>,
    pub(crate) kind: Kind,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({:?}, {:?})", self.fixed, self.rest)
    }
}

/// A function with exactly these parameters.
#[expect(clippy::unnecessary_wraps, reason = "what the look-ups by name return")]
pub(super) const fn fixed(
    fixed: &'static [Type],
    run: fn(&mut Context<'_>, &[Value]) -> Return,
) -> Option<Function> {
    Some(Function {
        fixed,
        rest: None,
        kind: Kind::Plain(run),
    })
}

/// A function with these parameters and any number of one more type.
#[expect(clippy::unnecessary_wraps, reason = "what the look-ups by name return")]
pub(super) const fn variadic(
    fixed: &'static [Type],
    rest: Type,
    run: fn(&mut Context<'_>, &[Value]) -> Return,
) -> Option<Function> {
    Some(Function {
        fixed,
        rest: Some(rest),
        kind: Kind::Plain(run),
    })
}
