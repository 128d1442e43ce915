//! The Secret with AppRole credentials: whose it is, whether it is intact, and how it is to look. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use vaultkeeper_crds::annotations::{CLUSTER, CREDENTIALS, FIELD_MANAGER, ROLE, SECRET_ID_ACCESSOR};
use vaultkeeper_crds::role::{CredentialsSecret, SecretKeys};
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::Identity;
use super::rotation::state::{Dress, State, Wrapping};
use crate::hex;

/// Annotation that shows whether a token in a Secret is the one that was stored.
pub const CHECKSUM: &str = "vaultkeeper.dev/credentials-checksum";

/// The reference that marks an object as a VaultRole's and lets the garbage collector remove it.
pub fn owner(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", vaultkeeper_crds::GROUP, vaultkeeper_crds::VERSION),
        kind: "VaultRole".to_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        ..OwnerReference::default()
    }
}

/// Whether an object is marked as this VaultRole's.
pub fn is_ours(meta: &ObjectMeta, identity: &Identity) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "VaultRole" && owner.uid == identity.uid)
}

/// What is known of the role in Vault beside its secret-id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its role-id.
    pub role_id: String,
    /// Vault's address.
    pub address: String,
    /// The CA bundle.
    pub ca: String,
}

/// The secret-id in a Secret, or the wrapping token around it, if it and the role-id are those that were stored. Empty where
/// a login needs none.
pub fn intact_secret_id(secret: &Secret, state: &State, role_id: &str) -> Option<SecretString> {
    let data = secret.data.as_ref()?;
    let keys = &state.dress.keys;
    let stored_role_id = &data.get(&keys.role_id)?.0;
    let secret_id = match (&state.accessor, &state.wrapping) {
        (Some(_), None) => std::str::from_utf8(&data.get(&keys.secret_id)?.0).ok()?,
        (Some(_), Some(_)) => std::str::from_utf8(&data.get(&keys.wrapping_token)?.0).ok()?,
        (None, _) => "",
    };
    let annotations = secret.metadata.annotations.as_ref()?;
    let intact = stored_role_id == role_id.as_bytes()
        && annotations.get(SECRET_ID_ACCESSOR) == state.accessor.as_ref()
        && state.checksum == checksum(role_id, state.accessor.as_deref(), secret_id);
    intact.then(|| SecretString::from(secret_id))
}

/// What ties the parts of the credentials together.
pub fn checksum(role_id: &str, accessor: Option<&str>, secret_id: &str) -> String {
    let parts = [role_id, accessor.unwrap_or_default(), secret_id];
    hex::checksum(&parts.map(str::as_bytes))
}

/// The Secret as it is to be: credentials, state and everything that the spec wishes. What others have added to an existing
/// one stays, and its resourceVersion, so that two writers cannot both succeed. What the spec wished before goes.
pub fn dressed(
    existing: Option<Secret>,
    identity: &Identity,
    (name, wish): (&str, &CredentialsSecret),
    facts: &Facts,
    state: &State,
    secret_id: &SecretString,
) -> Result<Secret, serde_json::Error> {
    let CredentialsSecret {
        type_,
        labels,
        annotations,
        keys,
    } = wish;
    let before = existing.as_ref().and_then(State::of);
    let before = before.map(|before| before.dress).unwrap_or_default();
    let state = State {
        dress: Dress {
            keys: keys.clone(),
            labels: labels.keys().cloned().collect(),
            annotations: annotations.keys().cloned().collect(),
        },
        ..state.clone()
    };
    let mut secret = existing.unwrap_or_default();
    secret.type_ = Some(type_.clone());

    let data = secret.data.get_or_insert_default();
    for key in before.keys.names() {
        data.remove(key);
    }
    data.extend(contents(keys, facts, &state, secret_id));

    let meta = &mut secret.metadata;
    meta.name = Some(name.to_owned());
    meta.namespace = Some(identity.namespace.clone());
    let on_it = meta.labels.get_or_insert_default();
    on_it.retain(|key, _| !before.labels.contains(key));
    on_it.extend(labels.clone());
    on_it.extend(self::labels(identity));
    let on_it = meta.annotations.get_or_insert_default();
    on_it.retain(|key, _| !before.annotations.contains(key) && key != SECRET_ID_ACCESSOR);
    on_it.extend(annotations.clone());
    on_it.insert(CREDENTIALS.to_owned(), serde_json::to_string(&state)?);
    on_it.insert(CLUSTER.to_owned(), identity.cluster.to_string());
    on_it.extend(
        state
            .accessor
            .map(|accessor| (SECRET_ID_ACCESSOR.to_owned(), accessor)),
    );
    if !is_ours(meta, identity) {
        meta.owner_references
            .get_or_insert_default()
            .push(owner(identity));
    }
    Ok(secret)
}

fn contents(
    keys: &SecretKeys,
    facts: &Facts,
    state: &State,
    secret_id: &SecretString,
) -> BTreeMap<String, ByteString> {
    let SecretKeys {
        role_id,
        secret_id: of_secret_id,
        wrapping_token,
        wrapping_ttl,
        wrapping_path,
        accessor,
        address,
        ca,
    } = keys;
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([(role_id.clone(), text(&facts.role_id))]);
    if let Some(stored) = &state.accessor {
        let value = text(secret_id.expose_secret());
        match &state.wrapping {
            None => drop(data.insert(of_secret_id.clone(), value)),
            Some(Wrapping { path, ttl, issued: _ }) => {
                data.insert(wrapping_token.clone(), value);
                data.insert(wrapping_ttl.clone(), text(&ttl.to_string()));
                data.insert(wrapping_path.clone(), text(path));
            }
        }
        data.extend(accessor.iter().map(|key| (key.clone(), text(stored))));
    }
    data.extend(address.iter().map(|key| (key.clone(), text(&facts.address))));
    data.extend(ca.iter().map(|key| (key.clone(), text(&facts.ca))));
    data
}

/// Labels of a VaultRole's objects. A label holds at most 63 characters and a VaultRole's name may be longer.
pub fn labels(identity: &Identity) -> BTreeMap<String, String> {
    let role = if identity.name.len() <= 63 {
        &identity.name
    } else {
        &identity.uid
    };
    BTreeMap::from([
        (
            "app.kubernetes.io/managed-by".to_owned(),
            FIELD_MANAGER.to_owned(),
        ),
        (ROLE.to_owned(), role.clone()),
    ])
}

#[cfg(test)]
#[path = "secret_tests.rs"]
pub(crate) mod tests;
