//! Keeps the CA for client certificates, and which of them are revoked, in a Secret of the operator's namespace.
//!
//! Each revoked certificate is a key of its own, `revoked-<serial>`, with two times as its value: when, and until when it
//! is remembered, and the namespace whose it was. So two roles that go at the same time do not get into each other's way.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};
use vaultkeeper_crds::annotations::FIELD_MANAGER;
use vaultkeeper_crds::names;
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::super::error::Error;
use super::super::{ClusterName, Identity};
use super::ca::{self, ClientCa, Revoked};
use crate::context::Context;
use crate::hex::short_hash;
use crate::own_secret;

const CA_KEY_KEY: &str = "ca.key";
const REVOKED: &str = "revoked-";

/// The CA and what is revoked.
pub(super) struct Stored {
    /// The CA.
    pub(super) ca: ClientCa,
    /// What is revoked.
    pub(super) revoked: Vec<Revoked>,
    /// How many of them were each namespace's.
    by_namespace: BTreeMap<String, usize>,
}

/// A namespace in an entry, which has to be short.
fn mark(namespace: &str) -> String {
    short_hash(namespace.as_bytes(), 4)
}

/// The Secret holds some 9,000 of all namespaces.
const MOST_OF_A_NAMESPACE: usize = 2000;

impl Stored {
    /// Whether a namespace has so many revoked certificates that one more would be at the cost of others.
    pub(super) fn is_used_up_by(&self, namespace: &str) -> bool {
        let count = self
            .by_namespace
            .get(&mark(namespace))
            .copied()
            .unwrap_or_default();
        count >= MOST_OF_A_NAMESPACE
    }
}

fn secrets(ctx: &Context) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

fn name_of(cluster: &ClusterName) -> String {
    names::client_ca_secret(&cluster.namespace, &cluster.name)
}

fn read_off(secret: &Secret) -> Result<Stored, Error> {
    let text = |key: &str| {
        let bytes = &secret.data.as_ref()?.get(key)?.0;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let lacking = || Error::ClientCa(ca::Error::Mismatch);
    let mut by_namespace = BTreeMap::new();
    let revoked = secret.data.iter().flatten().filter_map(|(key, value)| {
        let serial = key.strip_prefix(REVOKED)?;
        let value = String::from_utf8_lossy(&value.0);
        let mut words = value.split(' ');
        let revoked = Revoked {
            serial: serial.to_owned(),
            at: words.next()?.parse().ok()?,
            until: words.next()?.parse().ok()?,
        };
        if let Some(namespace) = words.next() {
            *by_namespace.entry(namespace.to_owned()).or_default() += 1;
        }
        Some(revoked)
    });
    let revoked = revoked.collect();
    Ok(Stored {
        ca: ClientCa {
            certificate: text(names::CA_KEY).ok_or_else(lacking)?,
            key: SecretString::from(text(CA_KEY_KEY).ok_or_else(lacking)?),
        },
        revoked,
        by_namespace,
    })
}

/// What is stored for a VaultCluster, if there is anything.
pub(super) async fn read(ctx: &Context, cluster: &ClusterName) -> Result<Option<Stored>, Error> {
    let found = secrets(ctx).get_opt(&name_of(cluster)).await;
    let found = found.map_err(|e| Error::kubernetes("read the CA for client certificates", e))?;
    found.as_ref().map(read_off).transpose()
}

/// The stored CA, or a new one that is stored first.
pub(super) async fn ensure(ctx: &Context, cluster: &ClusterName) -> Result<Stored, Error> {
    let step = "store the CA for client certificates";
    if let Some(stored) = read(ctx, cluster).await? {
        return Ok(stored);
    }
    let ClusterName { namespace, name } = cluster;
    let ca = ClientCa::new(namespace, name, Timestamp::now()).map_err(Error::ClientCa)?;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        (names::CA_KEY.to_owned(), bytes(&ca.certificate)),
        (CA_KEY_KEY.to_owned(), bytes(ca.key.expose_secret())),
    ]);
    let secret = own_secret::of_cluster(&ctx.namespace, name_of(cluster), cluster.to_string(), data);
    match secrets(ctx).create(&PostParams::default(), &secret).await {
        Ok(created) => read_off(&created),
        // Another role was first: its CA counts.
        Err(error @ kube::Error::Api(_)) => match read(ctx, cluster).await? {
            Some(stored) => Ok(stored),
            None => Err(Error::kubernetes(step, error)),
        },
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

/// Adds to what is revoked. Where there is no CA any more, nothing of it logs in anywhere.
pub(super) async fn add(ctx: &Context, identity: &Identity, revoked: &[Revoked]) -> Result<(), Error> {
    let Identity {
        namespace, cluster, ..
    } = identity;
    let entries = revoked.iter().map(|Revoked { serial, at, until }| {
        // In whole seconds: the list has to find room.
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let value = STANDARD.encode(format!("{at} {until} {}", mark(namespace)));
        (format!("{REVOKED}{serial}"), Value::String(value))
    });
    merge(
        ctx,
        cluster,
        entries.collect(),
        "note which certificates are revoked",
    )
    .await
}

/// Forgets revoked certificates, which have ended.
pub(super) async fn drop_ended(
    ctx: &Context,
    cluster: &ClusterName,
    ended: &[&Revoked],
) -> Result<(), Error> {
    let entries = ended
        .iter()
        .map(|revoked| (format!("{REVOKED}{}", revoked.serial), Value::Null));
    merge(
        ctx,
        cluster,
        entries.collect(),
        "forget revoked certificates that have ended",
    )
    .await
}

async fn merge(
    ctx: &Context,
    cluster: &ClusterName,
    data: Map<String, Value>,
    step: &'static str,
) -> Result<(), Error> {
    if data.is_empty() {
        return Ok(());
    }
    let body = json!({ "data": data });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match secrets(ctx)
        .patch(&name_of(cluster), &params, &Patch::Merge(&body))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ca::tests::NOW;
    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn what_is_stored_is_read_back_and_what_cannot_be_read_is_passed_over() {
        let stored = read_off(&secret(&[
            ("ca.crt", "C"),
            ("ca.key", "K"),
            ("revoked-ab", &format!("{NOW} {NOW}")),
            ("revoked-cd", "yesterday"),
        ]))
        .unwrap();
        assert_eq!(stored.ca.certificate, "C");
        assert_eq!(stored.ca.key.expose_secret(), "K");
        let wanted = Revoked {
            serial: "ab".to_owned(),
            at: NOW,
            until: NOW,
        };
        assert_eq!(stored.revoked, [wanted]);
    }

    #[test]
    fn a_namespace_that_has_filled_its_part_of_the_list_is_known_and_spoils_nobody_elses() {
        let of = |namespace: &str, count: usize| {
            let entries = (0..count).map(|n| {
                let value = format!("{NOW} {NOW} {}", mark(namespace));
                (format!("revoked-{namespace}{n}"), ByteString(value.into_bytes()))
            });
            let mut stored = secret(&[
                ("ca.crt", "C"),
                ("ca.key", "K"),
                ("revoked-old", &format!("{NOW} {NOW}")),
            ]);
            stored.data.as_mut().unwrap().extend(entries);
            read_off(&stored).unwrap()
        };
        let full = of("shop", MOST_OF_A_NAMESPACE);
        assert_eq!(full.revoked.len(), MOST_OF_A_NAMESPACE + 1);
        assert!(full.is_used_up_by("shop") && !full.is_used_up_by("other"));
        assert!(
            !of("shop", MOST_OF_A_NAMESPACE - 1).is_used_up_by("shop"),
            "one more is taken"
        );
    }

    #[test]
    fn a_secret_without_its_key_is_an_error_and_not_a_new_ca() {
        for half in [[("ca.crt", "C")], [("ca.key", "K")]] {
            assert!(matches!(read_off(&secret(&half)), Err(Error::ClientCa(_))));
        }
    }
}
