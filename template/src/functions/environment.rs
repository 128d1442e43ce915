//! The agent's environment and the clock, both handed in by the caller.

use super::arguments::{string, text};
use super::signature::{Function, Type, fixed, variadic};
use super::{Context, Return, failed};
use crate::layout;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "env" => fixed(&[Type::Text], |c, a| {
            string(c.options.host.env(&text(a, 0)).unwrap_or_default())
        }),
        // The default counts only when the variable is unset: an empty one wins.
        "envOrDefault" => fixed(&[Type::Text, Type::Text], |c, a| {
            string(
                c.options
                    .host
                    .env(&text(a, 0))
                    .unwrap_or_else(|| text(a, 1).into_owned()),
            )
        }),
        "mustEnv" => fixed(&[Type::Text], must_env),
        "timestamp" => variadic(&[], Type::Text, timestamp),
        _ => None,
    }
}

fn must_env(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let name = text(arguments, 0);
    match context.options.host.env(&name) {
        Some(value) if !value.is_empty() => string(value),
        _ => failed(format!("required environment variable {name} is empty")),
    }
}

/// `timestamp`: RFC 3339 in UTC; `timestamp "unix"`: seconds; else a layout of Go.
fn timestamp(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let now = context.options.now;
    match arguments {
        [] => string(layout::format(now, layout::RFC3339)),
        [_] => match text(arguments, 0).as_ref() {
            "unix" => string(layout::unix(now).to_string()),
            format => string(layout::format(now, format)),
        },
        _ => failed(format!(
            "timestamp: wrong number of arguments, expected 0 or 1, but got {}",
            arguments.len()
        )),
    }
}
