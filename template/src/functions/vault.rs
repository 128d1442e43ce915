//! `secret` and `secrets`: questions to Vault, answered from what was fetched before.

use std::collections::BTreeMap;

use super::arguments::{exactly, text};
use super::{Context, Function, Return, failed};
use crate::secrets::{Answer, Query};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "secret" => secret,
        "secrets" => secrets,
        _ => return None,
    })
}

fn ask(context: &mut Context<'_>, query: Query) -> Option<Answer> {
    let answer = context.secrets.answer(&query);
    if answer.is_none() {
        context.missing.insert(query.clone());
    }
    context.used.insert(query);
    answer
}

/// A path as consul-template takes it: without surrounding space and slashes.
fn path(value: &Value) -> Result<String, super::Failure> {
    let path = text(value)?.trim().trim_matches('/').to_owned();
    if path.is_empty() {
        failed("the path is empty")
    } else {
        Ok(path)
    }
}

/// `secret PATH` reads; `secret PATH "k=v"…` writes.
fn secret(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let Some((first, fields)) = arguments.split_first() else {
        return Ok(Value::Absent);
    };
    let path = path(first)?;
    let query = if fields.is_empty() {
        let (path, parameters) = match path.split_once('?') {
            Some((path, query)) => (path.trim_end_matches('/').to_owned(), pairs(query)),
            None => (path, Vec::new()),
        };
        Query::Read { path, parameters }
    } else {
        let mut data = BTreeMap::new();
        for field in fields {
            let field = text(field)?;
            if field.is_empty() {
                continue;
            }
            let Some((key, value)) = field.split_once('=') else {
                return failed("an argument after the path is not of the form key=value");
            };
            data.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Query::Write { path, data }
    };
    match ask(context, query) {
        Some(Answer::Secret(secret)) => Ok(Value::Secret(secret)),
        Some(Answer::List(_) | Answer::Certificate(_)) | None => Ok(Value::Absent),
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |item: &str| match item.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (item.to_owned(), String::new()),
    };
    query
        .split('&')
        .filter(|item| !item.is_empty())
        .map(pair)
        .collect()
}

/// `secrets PATH` lists; what does not exist is an empty list.
fn secrets(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [first] = exactly("secrets", arguments)?;
    match ask(context, Query::List { path: path(first)? }) {
        Some(Answer::List(names)) => Ok(Value::strings(names)),
        Some(Answer::Secret(_) | Answer::Certificate(_)) | None => Ok(Value::strings(Vec::<String>::new())),
    }
}
