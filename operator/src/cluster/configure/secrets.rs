//! The Secrets that a configuration refers to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use vaultkeeper_crds::annotations;
use vaultkeeper_crds::cluster::configuration::{Configuration, SecretKey};
use vaultkeeper_vault::SecretString;

use crate::cluster::error::Error;
use crate::context::Context;

/// One value, and which it is.
#[derive(Clone, Debug)]
pub(crate) struct SecretValue {
    /// The value.
    pub value: SecretString,
    /// Secret, key and version that it was read from.
    pub version: String,
}

/// Values of the keys that a configuration refers to.
#[derive(Default)]
pub(crate) struct Secrets {
    found: BTreeMap<String, Option<Secret>>,
}

/// Reads the Secrets by name, in the cluster's own namespace.
pub(crate) async fn read(
    ctx: &Context,
    namespace: &str,
    configuration: &Configuration,
) -> Result<Secrets, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in names(configuration) {
        let secret = api.get_opt(&name).await;
        let secret = secret.map_err(|e| Error::kubernetes("read a Secret of the configuration", e))?;
        found.insert(name, secret);
    }
    Ok(Secrets { found })
}

/// Names of the Secrets that a configuration refers to.
fn names(configuration: &Configuration) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for method in &configuration.auth_methods {
        let reviewer = method.kubernetes.as_ref().and_then(|k| k.token_reviewer.as_ref());
        let client = method.jwt.as_ref().and_then(|j| j.client_secret.as_ref());
        let passwords = method
            .userpass
            .iter()
            .flat_map(|u| u.users.iter().map(|u| &u.password));
        names.extend(
            reviewer
                .into_iter()
                .chain(client)
                .chain(passwords)
                .map(|s| s.name.clone()),
        );
    }
    names
}

impl Secrets {
    /// One value. `field` is where the spec refers to it.
    pub(crate) fn value(&self, field: &str, at: &SecretKey) -> Result<SecretValue, Error> {
        let refused = |problem| Error::SecretValue {
            field: field.to_owned(),
            secret: at.name.clone(),
            problem,
        };
        let secret = self.found.get(&at.name).and_then(Option::as_ref);
        let secret = secret.ok_or_else(|| refused("does not exist: create it"))?;
        // In the operator's own namespace it could be one with the unseal shares.
        if secret
            .labels()
            .get("app.kubernetes.io/managed-by")
            .map(String::as_str)
            == Some(annotations::FIELD_MANAGER)
        {
            return Err(refused(
                "is kept by the operator itself: refer to one of your own",
            ));
        }
        let value = secret.data.as_ref().and_then(|data| data.get(&at.key));
        let value = value.ok_or_else(|| refused("lacks the key that is referred to: add it"))?;
        let text = std::str::from_utf8(&value.0).map_err(|_| refused("holds a value that is not text"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(refused("holds an empty value: fill it in"));
        }
        Ok(SecretValue {
            value: SecretString::from(text),
            version: format!("{}/{}/{}", at.name, at.key, version(secret)),
        })
    }

    /// Which version of each Secret was read.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let versions = self.found.iter();
        versions
            .map(|(name, secret)| (name.clone(), secret.as_ref().map(version).unwrap_or_default()))
            .collect()
    }
}

fn version(secret: &Secret) -> String {
    format!(
        "{}/{}",
        secret.uid().unwrap_or_default(),
        secret.resource_version().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(labels: serde_json::Value) -> Secrets {
        let secret = json!({"metadata": {"name": "s", "labels": labels}, "data": {"password": "czNjcmV0Cg==", "empty": ""}});
        let secret: Secret = serde_json::from_value(secret).unwrap();
        Secrets {
            found: BTreeMap::from([("s".to_owned(), Some(secret)), ("gone".to_owned(), None)]),
        }
    }

    fn at(name: &str, key: &str) -> SecretKey {
        SecretKey {
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn a_value_is_taken_without_the_newline_that_a_file_ends_with() {
        use vaultkeeper_vault::ExposeSecret as _;
        let value = secrets(json!({})).value("f", &at("s", "password")).unwrap();
        assert_eq!(value.value.expose_secret(), "s3cret");
    }

    #[test]
    fn a_secret_that_the_operator_keeps_is_never_sent_to_vault() {
        let kept = secrets(json!({"app.kubernetes.io/managed-by": "vaultkeeper"}));
        let error = kept.value("f", &at("s", "password")).unwrap_err();
        assert!(error.to_string().contains("kept by the operator"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_field() {
        for (name, key, problem) in [
            ("gone", "password", "does not exist"),
            ("other", "password", "does not exist"),
            ("s", "x", "lacks the key"),
            ("s", "empty", "empty value"),
        ] {
            let error = secrets(json!({}))
                .value("spec.x", &at(name, key))
                .unwrap_err()
                .to_string();
            assert!(error.contains(problem) && error.contains("spec.x"), "{error}");
        }
    }
}
