//! `contains`, `in` and their kin.

use super::arguments::{at, items};
use super::signature::{Function, Type, fixed};
use super::text::find_bytes;
use super::{Context, Failure, Return, failed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    const TWO: &[Type] = &[Type::Any, Type::Any];
    const SOME: &[Type] = &[Type::List, Type::Any];
    match name {
        "contains" => fixed(TWO, |c, a| paid(c, at(a, 1), at(a, 0))),
        "in" => fixed(TWO, |c, a| paid(c, at(a, 0), at(a, 1))),
        "containsAll" => fixed(SOME, |c, a| some(c, a, true, true)),
        "containsAny" => fixed(SOME, |c, a| some(c, a, false, false)),
        "containsNone" => fixed(SOME, |c, a| some(c, a, true, false)),
        "containsNotAll" => fixed(SOME, |c, a| some(c, a, false, true)),
        _ => None,
    }
}

/// As [`is_in`], the search paid for.
fn paid(context: &mut Context<'_>, list: &Value, item: &Value) -> Return {
    context.spend(list.weight())?;
    is_in(list, item).map(Value::Bool)
}

/// A substring, or an element of the same kind and value.
fn is_in(list: &Value, item: &Value) -> Result<bool, Failure> {
    // Go asks a nil for its type, and that ends the call.
    let same_type = |one: &Value| {
        if item.is_nil() {
            return failed("reflect: call of reflect.Value.Type on zero Value");
        }
        Ok(one.type_name() == item.type_name())
    };
    if let Some(text) = list.string_kind() {
        return Ok(same_type(list)? && find_bytes(text, item.string_kind().unwrap_or_default()).is_some());
    }
    let Value::List(list) = list else { return Ok(false) };
    for other in list.items() {
        let found = match other {
            Value::Int(_) | Value::Int64(_) => other.int_kind() == item.int_kind(),
            #[expect(clippy::float_cmp, reason = "Go compares floats exactly")]
            Value::Float(one) => matches!(item, Value::Float(other) if one == other),
            Value::Str(_) | Value::Bytes(_) | Value::Number(_) => {
                same_type(other)? && other.string_kind() == item.string_kind()
            }
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks every item up, until one is found (`until` false) or not found (`until` true); `all` is said when none was.
fn some(context: &mut Context<'_>, arguments: &[Value], all: bool, until: bool) -> Return {
    let weight = match at(arguments, 1) {
        Value::List(list) => list.items().len(),
        other => other.weight(),
    };
    for item in items(arguments, 0) {
        context.spend(weight)?;
        if is_in(at(arguments, 1), item)? != until {
            return Ok(Value::Bool(!all));
        }
    }
    Ok(Value::Bool(all))
}
