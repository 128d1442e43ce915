//! The structs that a template sees: their fields by name, in Go's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::layout;
use crate::secrets::{Auth, Certificate, Secret, WrapInfo};
use crate::value::{Entries, Key, Map, Value};

const AUTH: &str = "*dependency.SecretAuth";
const WRAP_INFO: &str = "*dependency.SecretWrapInfo";

/// All fields of a struct; none of anything else.
pub(crate) fn all(value: &Value) -> Vec<(&'static str, Value)> {
    match value {
        Value::Secret(secret) => of_secret(secret),
        Value::Auth(secret) => secret.auth.as_ref().map(of_auth).unwrap_or_default(),
        Value::WrapInfo(secret) => secret.wrap_info.as_ref().map(of_wrap_info).unwrap_or_default(),
        Value::Certificate(certificate) => of_certificate(certificate),
        _ => Vec::new(),
    }
}

/// One field of a struct; `None` when it has no such field.
pub(crate) fn one(value: &Value, name: &str) -> Option<Value> {
    if let Value::Secret(secret) = value
        && name == "Data"
    {
        return Some(secret.data.clone());
    }
    all(value)
        .into_iter()
        .find_map(|(field, value)| (field == name).then_some(value))
}

/// Whether the struct behind a nil pointer has this field.
pub(crate) fn exists(pointer: &str, name: &str) -> bool {
    match pointer {
        AUTH => [
            "ClientToken",
            "Accessor",
            "Policies",
            "Metadata",
            "LeaseDuration",
            "Renewable",
        ]
        .contains(&name),
        WRAP_INFO => ["Token", "TTL", "CreationTime", "WrappedAccessor"].contains(&name),
        _ => false,
    }
}

fn int(seconds: u64) -> Value {
    Value::Int(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn strings(items: &[String]) -> Value {
    Value::strings(items.iter().map(String::as_str))
}

fn of_secret(secret: &Arc<Secret>) -> Vec<(&'static str, Value)> {
    let Secret {
        request_id,
        lease_id,
        lease_duration,
        renewable,
        data,
        warnings,
        auth,
        wrap_info,
    } = secret.as_ref();
    let auth = match auth {
        Some(_) => Value::Auth(Arc::clone(secret)),
        None => Value::NilPointer(AUTH),
    };
    let wrap_info = match wrap_info {
        Some(_) => Value::WrapInfo(Arc::clone(secret)),
        None => Value::NilPointer(WRAP_INFO),
    };
    vec![
        ("RequestID", Value::str(request_id.as_str())),
        ("LeaseID", Value::str(lease_id.as_str())),
        ("LeaseDuration", int(*lease_duration)),
        ("Renewable", Value::Bool(*renewable)),
        ("Data", data.clone()),
        ("Warnings", strings(warnings)),
        ("Auth", auth),
        ("WrapInfo", wrap_info),
    ]
}

fn of_auth(auth: &Auth) -> Vec<(&'static str, Value)> {
    let Auth {
        client_token,
        accessor,
        policies,
        metadata,
        lease_duration,
        renewable,
    } = auth;
    vec![
        ("ClientToken", Value::str(client_token.as_str())),
        ("Accessor", Value::str(accessor.as_str())),
        ("Policies", strings(policies)),
        ("Metadata", string_map(metadata)),
        ("LeaseDuration", int(*lease_duration)),
        ("Renewable", Value::Bool(*renewable)),
    ]
}

fn string_map(map: &BTreeMap<String, String>) -> Value {
    let entries = map
        .iter()
        .map(|(key, value)| (Key::Str(key.as_str().into()), Value::str(value.as_str())))
        .collect();
    Value::Map(Arc::new(
        Map::new(Entries::Strings, entries).unwrap_or_else(|_| Map::empty(Entries::Strings)),
    ))
}

fn of_wrap_info(info: &WrapInfo) -> Vec<(&'static str, Value)> {
    let WrapInfo {
        token,
        ttl,
        creation_time,
        wrapped_accessor,
    } = info;
    vec![
        ("Token", Value::str(token.as_str())),
        ("TTL", int(*ttl)),
        ("CreationTime", Value::str(layout::printed(creation_time))),
        ("WrappedAccessor", Value::str(wrapped_accessor.as_str())),
    ]
}

fn of_certificate(certificate: &Certificate) -> Vec<(&'static str, Value)> {
    let Certificate {
        cert,
        key,
        ca,
        ca_chain,
    } = certificate;
    vec![
        ("Cert", Value::str(cert.as_str())),
        ("Key", Value::str(key.as_str())),
        ("CA", Value::str(ca.as_str())),
        ("CAChain", strings(ca_chain)),
    ]
}
