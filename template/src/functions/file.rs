//! `file` and `writeToFile`: reading goes through the host, writing is only noted down.

use super::arguments::{bytes, string, text};
use super::signature::{Function, Type, fixed, variadic};
use super::{Context, Return, failed};
use crate::fmt::{MAX_TEXT, TooLong};
use crate::render::FileWrite;
use crate::value::Value;

/// How many writes one rendering may ask for.
const MAX_WRITES: usize = 1000;

pub(super) fn find(name: &str) -> Option<Function> {
    const FOUR: &[Type] = &[Type::Text, Type::Text, Type::Text, Type::Text];
    match name {
        "file" => fixed(&[Type::Text], file),
        "writeToFile" => variadic(FOUR, Type::Text, write_to_file),
        _ => None,
    }
}

/// `file PATH`
fn file(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let path = text(arguments, 0).trim().to_owned();
    if path.is_empty() {
        return Ok(Value::str(""));
    }
    let read = context.options.host.file(&path);
    context.files.insert(path.clone());
    match read {
        Ok(Some(content)) => {
            context.spend(content.len())?;
            Ok(Value::from_bytes(content))
        }
        Ok(None) => {
            context.missing_files.insert(path);
            Ok(Value::str(""))
        }
        Err(reason) => failed(reason),
    }
}

/// `writeToFile PATH USER GROUP PERMISSIONS [FLAGS] CONTENT`
fn write_to_file(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let (flags, content) = match arguments.len() {
        5 => (std::borrow::Cow::Borrowed(""), bytes(arguments, 4)),
        6 => (text(arguments, 4), bytes(arguments, 5)),
        _ => {
            return failed(
                "writeToFile takes a path, a user, a group, permissions, flags or none, and the content",
            );
        }
    };
    let permissions = text(arguments, 3);
    let octal = !permissions.is_empty() && permissions.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(&permissions, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o7777);
    let Some(mode) = mode else {
        return failed("the permissions are no octal number");
    };
    let path = text(arguments, 0).into_owned();
    if path.is_empty() {
        return failed("the path is empty");
    }
    let mut content = content.to_vec();
    if flags.contains("newline") {
        content.push(b'\n');
    }
    let written: usize = context.writes.iter().map(|write| write.content.len()).sum();
    if context.writes.len() >= MAX_WRITES || written + content.len() > MAX_TEXT {
        return failed(TooLong);
    }
    context.writes.push(FileWrite {
        path,
        user: text(arguments, 1).into_owned(),
        group: text(arguments, 2).into_owned(),
        mode,
        append: flags.contains("append"),
        content: content.into(),
    });
    string("")
}
