//! Defaults, JSON, and questions about types.

use super::lists::{deep_equal, is_list};
use crate::functions::arguments::{at, text};
use crate::functions::signature::{Function, Type, fixed, variadic};
use crate::functions::{Return, encode};
use crate::value::Value;

const ANY: &[Type] = &[Type::Any];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "default" => variadic(ANY, Type::Any, |_, a| {
            Ok(at(a, usize::from(!is_empty(at(a, 1)))).clone())
        }),
        "empty" => fixed(ANY, |_, a| Ok(is_empty(at(a, 0)).into())),
        "coalesce" => variadic(&[], Type::Any, |_, a| {
            Ok(a.iter()
                .find(|value| !is_empty(value))
                .cloned()
                .unwrap_or(Value::Null))
        }),
        "all" => variadic(&[], Type::Any, |_, a| {
            Ok(a.iter().all(|value| !is_empty(value)).into())
        }),
        "any" => variadic(&[], Type::Any, |_, a| {
            Ok(a.iter().any(|value| !is_empty(value)).into())
        }),
        "ternary" => fixed(&[Type::Any, Type::Any, Type::Bool], |_, a| {
            Ok(at(a, usize::from(!at(a, 2).is_true())).clone())
        }),
        "fromJson" => fixed(&[Type::Text], |c, a| from_json(c, a, false)),
        "mustFromJson" => fixed(&[Type::Text], |c, a| from_json(c, a, true)),
        // Without `must`, what has no JSON gives nothing.
        "toJson" => fixed(ANY, |c, a| {
            Ok(encode::to_json(c, at(a, 0), true, false).unwrap_or_else(|_| Value::str("")))
        }),
        "toPrettyJson" => fixed(ANY, |c, a| {
            Ok(encode::to_json(c, at(a, 0), true, true).unwrap_or_else(|_| Value::str("")))
        }),
        "mustToJson" => fixed(ANY, |c, a| encode::to_json(c, at(a, 0), true, false)),
        "mustToPrettyJson" => fixed(ANY, |c, a| encode::to_json(c, at(a, 0), true, true)),
        "toRawJson" | "mustToRawJson" => fixed(ANY, |c, a| encode::to_json(c, at(a, 0), false, false)),
        "typeOf" => fixed(ANY, |_, a| Ok(Value::str(at(a, 0).type_name()))),
        "typeIs" => fixed(&[Type::Text, Type::Any], |_, a| {
            Ok((text(a, 0) == at(a, 1).type_name()).into())
        }),
        "typeIsLike" => fixed(&[Type::Text, Type::Any], |_, a| {
            let name = at(a, 1).type_name();
            Ok((text(a, 0) == name || Some(text(a, 0).as_ref()) == name.strip_prefix('*')).into())
        }),
        "kindOf" => fixed(ANY, |_, a| Ok(Value::str(kind(at(a, 0))))),
        "kindIs" => fixed(&[Type::Text, Type::Any], |_, a| {
            Ok((text(a, 0) == kind(at(a, 1))).into())
        }),
        "deepEqual" => fixed(&[Type::Any, Type::Any], |c, a| {
            deep_equal(c, at(a, 0), at(a, 1)).map(Value::Bool)
        }),
        _ => None,
    }
}

/// Whether sprig takes a value for not given.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}

/// sprig gives nil for what is not JSON, unless the function says `must`.
fn from_json(context: &mut crate::functions::Context<'_>, arguments: &[Value], must: bool) -> Return {
    let source = text(arguments, 0);
    if source.is_empty() {
        return if must {
            crate::functions::failed("unexpected end of JSON input")
        } else {
            Ok(Value::Null)
        };
    }
    match encode::parse_json(context, &source) {
        Err(_) if !must => Ok(Value::Null),
        other => other,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Absent | Value::Null => "invalid",
        Value::Number(_) => "string",
        Value::Map(_) | Value::Dict(_) => "map",
        Value::Sequence(..) => "chan",
        Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) | Value::Scratch | Value::NilPointer(_) => {
            "ptr"
        }
        Value::Certificate(_) => "struct",
        list if is_list(list) => "slice",
        other => other.type_name(),
    }
}
