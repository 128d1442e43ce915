//! Go's escaping builtins: html, js, urlquery.

use std::fmt::Write as _;

use super::arguments::string;
use super::signature::{Function, Type, variadic};
use super::{Context, Failure, Return};
use crate::fmt;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "html" => variadic(&[], Type::Any, |c, a| escaped(c, a, html)),
        "js" => variadic(&[], Type::Any, |c, a| escaped(c, a, js)),
        "urlquery" => variadic(&[], Type::Any, |c, a| escaped(c, a, url_query)),
        _ => None,
    }
}

/// The arguments printed as an action would print them, and escaped.
fn escaped(context: &mut Context<'_>, arguments: &[Value], escape: fn(&[u8]) -> String) -> Return {
    let printable: Vec<Value> = arguments
        .iter()
        .map(|value| match value {
            Value::Absent | Value::Null => Value::str("<no value>"),
            other => other.clone(),
        })
        .collect();
    let text = fmt::sprint(&printable).map_err(Failure::new)?;
    context.spend(text.len() * 6)?;
    if text.len() * 6 > fmt::MAX_TEXT {
        return Err(Failure::new(fmt::TooLong));
    }
    string(escape(&text))
}

fn html(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c if c < ' ' || (!c.is_ascii() && !fmt::is_print(c)) => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn url_query(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b' ' => out.push('+'),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
