//! Parts of slash-separated paths.

use crate::functions::arguments::{string, text};
use crate::functions::signature::{Function, Type, fixed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    const ONE: &[Type] = &[Type::Text];
    match name {
        "base" | "osBase" => fixed(ONE, |_, a| string(base(&text(a, 0)))),
        "dir" | "osDir" => fixed(ONE, |_, a| {
            let path = text(a, 0);
            let end = path.rfind('/').map_or(0, |at| at + 1);
            string(clean(&path[..end]))
        }),
        "clean" | "osClean" => fixed(ONE, |_, a| string(clean(&text(a, 0)))),
        "ext" | "osExt" => fixed(ONE, |_, a| string(extension(&text(a, 0)))),
        "isAbs" | "osIsAbs" => fixed(ONE, |_, a| Ok(Value::Bool(text(a, 0).starts_with('/')))),
        _ => None,
    }
}

fn base(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(last) => last.to_owned(),
    }
}

fn extension(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.')
        .map_or_else(String::new, |at| last[at..].to_owned())
}

/// Go's `path.Clean`: the shortest path that means the same.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
