//! `regexMatch` and `regexReplaceAll`.

use super::arguments::{bytes, text};
use super::signature::{Function, Type, fixed};
use super::{Context, Failure, Return, failed};
use crate::fmt::{MAX_TEXT, TooLong};
use crate::regexp::{self, Expression};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "regexMatch" => fixed(&[Type::Text, Type::Text], |c, a| {
            let expression = compiled(c, &text(a, 0), bytes(a, 1))?;
            Ok(Value::Bool(expression.regex.is_match(bytes(a, 1))))
        }),
        "regexReplaceAll" => fixed(&[Type::Text, Type::Text, Type::Text], |c, a| {
            replace(c, &text(a, 0), bytes(a, 1), bytes(a, 2), false)
        }),
        _ => None,
    }
}

/// A compiled expression, the search through a text paid for.
pub(super) fn compiled(context: &mut Context<'_>, pattern: &str, text: &[u8]) -> Result<Expression, Failure> {
    context.spend(pattern.len().saturating_mul(100))?;
    let expression = regexp::compile(pattern).map_err(Failure::new)?;
    context.spend(text.len().saturating_mul(expression.cost))?;
    Ok(expression)
}

/// Replaces every match; in the replacement `$1` and `${name}` are groups unless it is `literal`.
pub(super) fn replace(
    context: &mut Context<'_>,
    pattern: &str,
    to: &[u8],
    text: &[u8],
    literal: bool,
) -> Return {
    let expression = compiled(context, pattern, text)?;
    let mut out = Vec::new();
    let mut last = 0;
    for found in expression.regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.extend_from_slice(text.get(last..whole.start()).unwrap_or_default());
        if literal {
            out.extend_from_slice(to);
        } else {
            found.expand(to, &mut out);
        }
        last = whole.end();
        if out.len() > MAX_TEXT {
            return failed(TooLong);
        }
    }
    out.extend_from_slice(text.get(last..).unwrap_or_default());
    Ok(Value::from_bytes(out))
}
