//! The agent's environment and the clock, both handed in by the caller.

use super::arguments::{exactly, string, text};
use super::{Context, Function, Return, failed};
use crate::layout;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "env" => env,
        "envOrDefault" => env_or_default,
        "mustEnv" => must_env,
        "timestamp" => timestamp,
        _ => return None,
    })
}

fn env(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [name] = exactly("env", arguments)?;
    Ok(string(context.options.host.env(&text(name)?).unwrap_or_default()))
}

/// The default counts only when the variable is unset: an empty one wins.
fn env_or_default(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [name, default] = exactly("envOrDefault", arguments)?;
    let default = text(default)?;
    Ok(string(
        context
            .options
            .host
            .env(&text(name)?)
            .unwrap_or_else(|| default.into_owned()),
    ))
}

fn must_env(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [name] = exactly("mustEnv", arguments)?;
    let name = text(name)?;
    match context.options.host.env(&name) {
        Some(value) if !value.is_empty() => Ok(string(value)),
        _ => failed(format!("required environment variable {name} is empty")),
    }
}

/// `timestamp`: RFC 3339 in UTC; `timestamp "unix"`: seconds; else a layout of Go.
fn timestamp(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let now = context.options.now;
    match arguments {
        [] => Ok(string(layout::format(now, layout::RFC3339))),
        [format] => match text(format)?.as_ref() {
            "unix" => Ok(string(layout::unix(now).to_string())),
            format => Ok(string(layout::format(now, format))),
        },
        _ => failed(format!(
            "wrong number of arguments, expected 0 or 1, but got {}",
            arguments.len()
        )),
    }
}
