//! The password of a person's login, out of a Secret of the VaultRole's own namespace.
//!
//! That it changed is seen by the Secret's version. No hash of it is kept anywhere: a person's password can be guessed.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::annotations::FIELD_MANAGER;
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::Identity;
use super::error::Error;
use super::further::Fields;
use super::validate::Person;
use crate::context::Context;

/// Vault makes no more of a password.
const MAX_BYTES: usize = 72;

/// A password, and of which version of which Secret.
#[derive(Debug)]
pub struct Password {
    value: SecretString,
    /// Name, key, UID and version of the Secret.
    pub version: String,
}

impl Password {
    /// What is written with the user.
    pub fn fields(&self) -> Fields {
        Fields::from_iter([("password".to_owned(), json!(self.value.expose_secret()))])
    }
}

/// Reads it.
pub async fn read(ctx: &Context, identity: &Identity, person: &Person) -> Result<Password, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let secret = api.get_opt(&person.secret_name).await;
    let secret = secret.map_err(|e| Error::kubernetes("read the Secret with a password", e))?;
    of(secret.as_ref(), person).map_err(|problem| Error::Password {
        secret: person.secret_name.clone(),
        problem,
    })
}

fn of(secret: Option<&Secret>, person: &Person) -> Result<Password, &'static str> {
    let secret = secret.ok_or("does not exist: create it")?;
    // In the operator's own namespace it could be one with unseal shares.
    if secret
        .labels()
        .get("app.kubernetes.io/managed-by")
        .is_some_and(|by| by == FIELD_MANAGER)
    {
        return Err("is kept by the operator itself: refer to one of your own");
    }
    let value = secret.data.as_ref().and_then(|data| data.get(&person.key));
    let value = value.ok_or("lacks the key that is referred to: add it")?;
    let text = std::str::from_utf8(&value.0).map_err(|_| "holds a value that is not text: replace it")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("holds an empty password: fill it in");
    }
    if text.len() > MAX_BYTES {
        return Err("holds a password of more than 72 bytes, of which Vault makes no more: shorten it");
    }
    Ok(Password {
        value: SecretString::from(text),
        version: format!(
            "{}/{}/{}/{}",
            person.secret_name,
            person.key,
            secret.uid().unwrap_or_default(),
            secret.resource_version().unwrap_or_default()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn person() -> Person {
        Person {
            mount: "userpass".to_owned(),
            secret_name: "ana".to_owned(),
            key: "password".to_owned(),
        }
    }

    fn secret(text: &str, labels: Value, version: &str) -> Secret {
        let object = json!({"metadata": {"name": "ana", "uid": "u", "resourceVersion": version, "labels": labels}, "stringData": {}});
        let mut secret: Secret = serde_json::from_value(object).unwrap();
        let value = k8s_openapi::ByteString(text.as_bytes().to_vec());
        secret.data = Some([("password".to_owned(), value)].into());
        secret
    }

    #[test]
    fn a_change_is_seen_by_the_version_and_the_password_by_nothing_that_is_kept() {
        let one = of(Some(&secret("hunter2\n", json!({}), "7")), &person()).unwrap();
        assert_eq!(
            one.fields()["password"],
            "hunter2",
            "without the newline of a file"
        );
        let two = of(Some(&secret("hunter3", json!({}), "8")), &person()).unwrap();
        assert_ne!(one.version, two.version);
        let same = of(Some(&secret("another", json!({}), "7")), &person()).unwrap();
        assert_eq!(one.version, same.version, "nothing of the password is in it");
        assert!(!format!("{one:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_password_of_ones_own_is_told_and_never_sent() {
        let kept = json!({"app.kubernetes.io/managed-by": "vaultkeeper"});
        for (secret, part) in [
            (None, "does not exist"),
            (Some(secret("x", kept, "1")), "kept by the operator"),
            (Some(secret("\n", json!({}), "1")), "empty"),
            (Some(secret(&"x".repeat(73), json!({}), "1")), "72 bytes"),
        ] {
            let problem = of(secret.as_ref(), &person()).unwrap_err();
            assert!(problem.contains(part), "{part}: {problem}");
        }
        assert!(of(Some(&secret(&"x".repeat(72), json!({}), "1")), &person()).is_ok());
        let other = Person {
            key: "other".to_owned(),
            ..person()
        };
        assert!(of(Some(&secret("x", json!({}), "1")), &other).is_err());
    }
}
