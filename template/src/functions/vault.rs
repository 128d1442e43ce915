//! `secret`, `secrets` and `pkiCert`: questions to Vault, answered from what was fetched before.

use std::collections::BTreeMap;

use super::arguments::text;
use super::signature::{Function, Type, fixed, variadic};
use super::{Context, Failure, Return, failed};
use crate::secrets::{Answer, Query};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "pkiCert" => variadic(&[], Type::Text, pki_cert),
        "secret" => variadic(&[], Type::Text, secret),
        "secrets" => fixed(&[Type::Text], secrets),
        _ => None,
    }
}

fn ask(context: &mut Context<'_>, query: Query) -> Option<Answer> {
    let answer = context.secrets.answer(&query);
    if answer.is_none() {
        context.missing.insert(query.clone());
    }
    context.used.insert(query);
    answer
}

/// A path as consul-template takes it, without surrounding space and slashes, and its query string.
fn path(arguments: &[Value]) -> Result<(String, Vec<(String, String)>), Failure> {
    let whole = text(arguments, 0);
    let trimmed = whole.trim().trim_matches('/');
    let (path, query) = trimmed.split_once('?').unwrap_or((trimmed, ""));
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return failed("the path is empty");
    }
    Ok((path.to_owned(), pairs(query)))
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

/// The body of a write out of `k=v`.
fn fields(arguments: &[Value]) -> Result<BTreeMap<String, String>, Failure> {
    let mut data = BTreeMap::new();
    for place in 1..arguments.len() {
        let field = text(arguments, place);
        if field.is_empty() {
            continue;
        }
        let Some((key, value)) = field.split_once('=') else {
            return failed("an argument after the path is not of the form key=value");
        };
        data.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(data)
}

/// `secret PATH` reads; `secret PATH "k=v"…` writes.
fn secret(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    if arguments.is_empty() {
        return Ok(Value::Null);
    }
    let data = fields(arguments)?;
    let (path, parameters) = path(arguments)?;
    let query = if arguments.len() == 1 {
        Query::Read { path, parameters }
    } else {
        Query::Write { path, data }
    };
    match ask(context, query) {
        Some(Answer::Secret(secret)) => Ok(Value::Secret(secret)),
        Some(Answer::List(_) | Answer::Certificate(_)) | None => Ok(Value::Null),
    }
}

/// `secrets PATH` lists; what does not exist is an empty list.
fn secrets(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let none = || Ok(Value::strings(Vec::<String>::new()));
    if text(arguments, 0).is_empty() {
        return none();
    }
    let (path, _) = path(arguments)?;
    match ask(context, Query::List { path }) {
        Some(Answer::List(names)) => Ok(Value::strings(names)),
        Some(Answer::Secret(_) | Answer::Certificate(_)) | None => none(),
    }
}

/// `pkiCert PATH "k=v"…`
fn pki_cert(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    if arguments.is_empty() {
        return Ok(Value::Null);
    }
    let data = fields(arguments)?;
    let (path, _) = path(arguments)?;
    let destination = context.options.destination.to_owned();
    let query = Query::Certificate {
        path,
        data,
        destination,
    };
    match ask(context, query) {
        Some(Answer::Certificate(certificate)) => Ok(Value::Certificate(certificate)),
        Some(Answer::Secret(_) | Answer::List(_)) | None => Ok(Value::Null),
    }
}
