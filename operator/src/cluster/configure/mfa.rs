//! The second factor as it is declared. Pure.

use std::collections::BTreeMap;

use serde_json::json;
use vaultkeeper_crds::cluster::configuration::{MfaEnforcement, TotpMethod};

use super::object::{Found, Wanted, field};
use crate::cluster::error::Error;

/// Where TOTP methods are made and listed. A write finds one by its name.
pub(crate) const TOTP: &str = "identity/mfa/method/totp";

/// One TOTP method.
pub(crate) fn totp(index: usize, method: &TotpMethod) -> Wanted {
    let TotpMethod {
        name,
        issuer,
        period_seconds,
        digits,
        algorithm,
        max_validation_attempts,
    } = method;
    Wanted {
        field: format!("spec.configuration.mfa.totp[{index}]"),
        what: format!("MFA method {name}"),
        path: TOTP.to_owned(),
        fields: vec![
            field("issuer", "issuer", issuer.as_str()),
            field("period", "periodSeconds", *period_seconds),
            field("digits", "digits", *digits),
            field("algorithm", "algorithm", algorithm.as_str()),
            field(
                "max_validation_attempts",
                "maxValidationAttempts",
                *max_validation_attempts,
            ),
        ],
        always: vec![("method_name", json!(name))],
        secrets: Vec::new(),
        whole: true,
    }
}

/// The method of a name in the answer of a list: its id and its fields.
pub(crate) fn by_name<'a>(key_info: &'a Found, name: &str) -> Option<(&'a String, &'a Found)> {
    let methods = key_info
        .iter()
        .filter_map(|(id, info)| Some((id, info.as_object()?)));
    methods
        .into_iter()
        .find(|(_, info)| info.get("name").and_then(|n| n.as_str()) == Some(name))
}

/// One rule that asks for a second factor, with the ids and accessors that Vault wants in place of names.
pub(crate) fn enforcement(
    index: usize,
    rule: &MfaEnforcement,
    methods: &BTreeMap<String, String>,
    accessors: &BTreeMap<String, String>,
) -> Result<Wanted, Error> {
    let MfaEnforcement {
        name,
        methods: names,
        auth_methods,
    } = rule;
    let object = format!("spec.configuration.mfa.enforcements[{index}]");
    let ids: Result<Vec<&String>, Error> = names
        .iter()
        .map(|name| {
            methods.get(name).ok_or_else(|| Error::UnknownMfaMethod {
                field: format!("{object}.methods"),
                name: name.clone(),
            })
        })
        .collect();
    let asked: Result<Vec<&String>, Error> = auth_methods
        .iter()
        .map(|path| {
            accessors
                .get(path.trim_matches('/'))
                .ok_or_else(|| Error::UnknownAccessor {
                    field: format!("{object}.authMethods"),
                    path: path.clone(),
                })
        })
        .collect();
    Ok(Wanted {
        what: format!("MFA rule {name}"),
        path: format!("identity/mfa/login-enforcement/{name}"),
        fields: vec![
            field("mfa_method_ids", "methods", json!(ids?)),
            field("auth_method_accessors", "authMethods", json!(asked?)),
        ],
        field: object,
        ..Wanted::default()
    })
}

/// Ids of the methods in the answer of a list, by name.
pub(crate) fn ids(key_info: &Found) -> BTreeMap<String, String> {
    let names = key_info.iter().filter_map(|(id, info)| {
        let name = info.get("name")?.as_str()?;
        Some((name.to_owned(), id.clone()))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn listed() -> Found {
        match json!({"id-1": {"name": "app", "issuer": "Vault", "period": 30, "skew": 1}, "id-2": {"name": ""}})
        {
            Value::Object(map) => map,
            _ => Found::new(),
        }
    }

    #[test]
    fn a_method_is_found_by_its_name() {
        assert_eq!(by_name(&listed(), "app").unwrap().0, "id-1");
        assert!(by_name(&listed(), "other").is_none());
        assert_eq!(ids(&listed()).get("app").map(String::as_str), Some("id-1"));
    }

    #[test]
    fn a_rule_is_written_with_ids_and_accessors_and_refused_without_them() {
        let rule = |method: &str, path: &str| MfaEnforcement {
            name: "people".to_owned(),
            methods: vec![method.to_owned()],
            auth_methods: vec![path.to_owned()],
        };
        let accessors = BTreeMap::from([("userpass".to_owned(), "auth_userpass_1".to_owned())]);
        let written = enforcement(0, &rule("app", "userpass"), &ids(&listed()), &accessors).unwrap();
        assert!(
            written
                .fields
                .contains(&field("mfa_method_ids", "methods", json!(["id-1"])))
        );
        assert!(written.fields.contains(&field(
            "auth_method_accessors",
            "authMethods",
            json!(["auth_userpass_1"])
        )));
        let unknown = enforcement(0, &rule("sms", "userpass"), &ids(&listed()), &accessors);
        assert!(
            matches!(unknown, Err(Error::UnknownMfaMethod { .. })),
            "{unknown:?}"
        );
        let unknown = enforcement(0, &rule("app", "oidc"), &ids(&listed()), &accessors);
        assert!(
            matches!(unknown, Err(Error::UnknownAccessor { .. })),
            "{unknown:?}"
        );
    }
}
