//! Reads and writes the Secrets with CA and certificate of a cluster. Every write tests what it relies on.
//!
//! The CA Secret lies in the operator's namespace. For a managed CA it holds `ca.crt` and `ca.key`, while the CA is being
//! replaced also `next.crt` and `next.key`, or `previous.crt`. For a certificate from elsewhere it holds a copy of the CAs
//! to be trusted (`trust.crt`, and `former.crt` while members show a certificate of the former ones).

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_vault::{ExposeSecret, SecretString};

use super::error::Error;
use super::tls::certificate::{self, Facts};
use super::tls::rollover::{self, Authority, Step};
use super::tls::{self, Issued};
use super::validate::Validated;
use super::{apply, patch_params};
use crate::context::Context;
use crate::own_secret;

const CA_KEY_KEY: &str = "ca.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";
const TRUST: &str = "trust.crt";
const FORMER: &str = "former.crt";
/// Keys of a Secret of type kubernetes.io/tls.
const LEAF_CERTIFICATE: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn issued(secret: &Secret, certificate: &'static str, key: &'static str) -> Result<Issued, Error> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let lacks = |key| Error::Incomplete {
        name: name.clone(),
        key,
    };
    Ok(Issued {
        certificate: text(secret, certificate).ok_or_else(|| lacks(certificate))?,
        key: SecretString::from(text(secret, key).ok_or_else(|| lacks(key))?),
    })
}

fn cas(ctx: &Context) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

async fn ca_secret(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
    let secret = cas(ctx).get_opt(&names::ca_secret(namespace, name)).await;
    secret.map_err(|e| Error::kubernetes("read the CA Secret", e))
}

/// The CAs (PEM) by which a cluster's members are verified, if there are any.
pub async fn trusted(ctx: &Context, namespace: &str, name: &str) -> Result<Option<String>, Error> {
    let secret = ca_secret(ctx, namespace, name).await?;
    Ok(secret.as_ref().and_then(bundle))
}

/// What is to be trusted after this Secret, also where a key is missing.
fn bundle(secret: &Secret) -> Option<String> {
    let of = |keys: [&str; 3]| {
        let certificates: Vec<String> = keys.iter().filter_map(|key| text(secret, key)).collect();
        (!certificates.is_empty()).then(|| rollover::join(certificates.iter().map(String::as_str)))
    };
    if text(secret, TRUST).is_some() {
        return of([TRUST, FORMER, ""]);
    }
    of([names::CA_KEY, NEXT_CERTIFICATE, PREVIOUS_CERTIFICATE])
}

/// A managed CA with what must not have changed when it is written.
pub struct Stored {
    /// The CA.
    pub authority: Authority,
    resource_version: String,
}

fn stored(secret: &Secret) -> Result<Stored, Error> {
    let has_next = text(secret, NEXT_CERTIFICATE).is_some();
    let since = secret.annotations().get(annotations::CA_STEP_SINCE);
    Ok(Stored {
        authority: Authority {
            current: issued(secret, names::CA_KEY, CA_KEY_KEY)?,
            next: has_next
                .then(|| issued(secret, NEXT_CERTIFICATE, NEXT_KEY))
                .transpose()?,
            previous: text(secret, PREVIOUS_CERTIFICATE),
            since: since.and_then(|text| text.parse().ok()),
        },
        resource_version: secret.resource_version().unwrap_or_default(),
    })
}

/// The managed CA, if there is one that can sign. Nothing is written.
pub async fn existing_ca(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Stored>, Error> {
    let secret = ca_secret(ctx, namespace, name).await?;
    let managed = secret.filter(|secret| text(secret, TRUST).is_none());
    Ok(managed.as_ref().and_then(|secret| stored(secret).ok()))
}

/// The CA: the stored one, or a new one that is stored first.
pub async fn ensure_ca(ctx: &Context, cluster: &Validated) -> Result<Stored, Error> {
    let Validated { namespace, name, .. } = cluster;
    let found = ca_secret(ctx, namespace, name).await?;
    let is_other_trust = |s: &Secret| text(s, names::CA_KEY).is_none() && text(s, TRUST).is_some();
    match found {
        // Left by a cluster of this name whose certificate came from elsewhere.
        Some(secret) if is_other_trust(&secret) => {
            let ca = tls::new_ca(namespace, name, Timestamp::now())?;
            let data = json!({
                names::CA_KEY: encoded(&ca.certificate), CA_KEY_KEY: encoded(ca.key.expose_secret()),
                TRUST: null, FORMER: null,
            });
            let version = secret.resource_version().unwrap_or_default();
            let step = "store the CA beside what was trusted before";
            stored(&change(ctx, cluster, &version, data, json!({}), step).await?)
        }
        Some(secret) if text(&secret, TRUST).is_some() => {
            let data = json!({ TRUST: null, FORMER: null });
            let version = secret.resource_version().unwrap_or_default();
            let step = "drop what was trusted before";
            stored(&change(ctx, cluster, &version, data, json!({}), step).await?)
        }
        Some(secret) => stored(&secret),
        None => create_ca(ctx, cluster).await,
    }
}

/// A new one may only be made where no member and no client trusts an old one.
async fn create_ca(ctx: &Context, cluster: &Validated) -> Result<Stored, Error> {
    let certificates = names::tls_secret(&cluster.name);
    let in_use: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let found = in_use.get_opt(&certificates).await;
    let found = found.map_err(|e| Error::kubernetes("read the certificate Secret", e))?;
    if let Some(found) = found {
        if !apply::is_owned_by(&found, &cluster.uid) {
            return Err(Error::NotOurs {
                kind: "Secret",
                name: certificates,
            });
        }
        if let Some(certificate) = text(&found, names::CA_KEY) {
            return Err(Error::CaLost {
                secret: names::ca_secret(&cluster.namespace, &cluster.name),
                certificates,
                certificate,
            });
        }
    }
    let ca = tls::new_ca(&cluster.namespace, &cluster.name, Timestamp::now())?;
    let data = BTreeMap::from([
        (names::CA_KEY.to_owned(), bytes(&ca.certificate)),
        (CA_KEY_KEY.to_owned(), bytes(ca.key.expose_secret())),
    ]);
    match create(ctx, cluster, data).await? {
        Some(secret) => stored(&secret),
        // Another operator was first: its CA counts.
        None => match ca_secret(ctx, &cluster.namespace, &cluster.name).await? {
            Some(secret) => stored(&secret),
            None => Err(Error::Outdated {
                step: "create the CA Secret",
            }),
        },
    }
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn encoded(text: &str) -> Value {
    Value::String(STANDARD.encode(text))
}

/// Creates the CA Secret. None: there is one already.
async fn create(
    ctx: &Context,
    cluster: &Validated,
    data: BTreeMap<String, ByteString>,
) -> Result<Option<Secret>, Error> {
    let secret = own_secret::of_cluster(
        &ctx.namespace,
        names::ca_secret(&cluster.namespace, &cluster.name),
        format!("{}.{}", cluster.namespace, cluster.name),
        data,
    );
    match cas(ctx).create(&PostParams::default(), &secret).await {
        Ok(created) => Ok(Some(created)),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(None),
        Err(error) => Err(Error::kubernetes("create the CA Secret", error)),
    }
}

/// Merges into the CA Secret, if it is as it was read.
async fn change(
    ctx: &Context,
    cluster: &Validated,
    version: &str,
    data: Value,
    notes: Value,
    step: &'static str,
) -> Result<Secret, Error> {
    let body = json!({
        "metadata": {"resourceVersion": version, "annotations": notes},
        "data": data,
    });
    let name = names::ca_secret(&cluster.namespace, &cluster.name);
    match cas(ctx).patch(&name, &patch_params(), &Patch::Merge(&body)).await {
        Ok(changed) => Ok(changed),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(Error::Outdated { step }),
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

/// Writes a step of the CA's replacement. Those that only wait write nothing.
pub async fn write_step(
    ctx: &Context,
    cluster: &Validated,
    stored: &Stored,
    step: &Step,
    now: Timestamp,
) -> Result<(), Error> {
    let Authority {
        current,
        next,
        previous: _,
        since: _,
    } = &stored.authority;
    let (data, since, what) = match (step, next) {
        (Step::Begin(_), None) => {
            let new = tls::new_ca(&cluster.namespace, &cluster.name, now)?;
            let data = json!({
                NEXT_CERTIFICATE: encoded(&new.certificate), NEXT_KEY: encoded(new.key.expose_secret()),
            });
            (data, Value::Null, "store a new CA beside the old one")
        }
        (Step::Note, _) => (
            json!({}),
            Value::String(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            "note that everybody has both CAs",
        ),
        (Step::Promote, Some(next)) => {
            let data = json!({
                names::CA_KEY: encoded(&next.certificate), CA_KEY_KEY: encoded(next.key.expose_secret()),
                PREVIOUS_CERTIFICATE: encoded(&current.certificate),
                NEXT_CERTIFICATE: null, NEXT_KEY: null,
            });
            (data, Value::Null, "let the new CA sign")
        }
        (Step::Finish, _) => (
            json!({ PREVIOUS_CERTIFICATE: null }),
            Value::Null,
            "drop the old CA",
        ),
        (Step::Begin(_), Some(_))
        | (Step::Promote, None)
        | (Step::Rest | Step::AwaitThem | Step::AwaitTime(_), _) => return Ok(()),
    };
    let notes = json!({ annotations::CA_STEP_SINCE: since });
    change(ctx, cluster, &stored.resource_version, data, notes, what)
        .await
        .map(drop)
}

/// The members' certificate.
pub struct Leaf {
    /// The certificate with its key.
    pub issued: Issued,
    /// What is in it.
    pub facts: Facts,
    /// Whether it was made just now.
    pub is_new: bool,
    /// Whether one of this cluster was there.
    pub replaces: bool,
}

/// The members' certificate: the one in use while it is good for some time, with the right names and CA, else a new one.
/// It is also made anew when what is to be trusted has changed: a member that shows it has the new CAs, too.
pub async fn current_or_new_leaf(
    ctx: &Context,
    cluster: &Validated,
    authority: &Authority,
    now: Timestamp,
) -> Result<Leaf, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let found = api
        .get_opt(&names::tls_secret(&cluster.name))
        .await
        .map_err(|e| Error::kubernetes("read the certificate Secret", e))?;
    let replaces = found
        .as_ref()
        .is_some_and(|secret| apply::is_owned_by(secret, &cluster.uid));
    if let Some(secret) = found
        && text(&secret, names::CA_KEY).is_some_and(|cas| cas == authority.bundle())
        && let Ok(issued) = issued(&secret, LEAF_CERTIFICATE, LEAF_KEY)
        && let Some(facts) = usable(&issued, cluster, authority, now)
    {
        return Ok(Leaf {
            issued,
            facts,
            is_new: false,
            replaces,
        });
    }
    let issued = tls::new_leaf(&authority.current, cluster, now)?;
    let facts = certificate::examine(&issued.certificate).ok_or(Error::Tls(tls::Error::Unreadable))?;
    Ok(Leaf {
        issued,
        facts,
        is_new: true,
        replaces,
    })
}

/// What is in a certificate that needs not be renewed.
fn usable(leaf: &Issued, cluster: &Validated, authority: &Authority, now: Timestamp) -> Option<Facts> {
    let facts = certificate::check(
        &leaf.certificate,
        Some(&leaf.key),
        &authority.current.certificate,
        &tls::required_names(cluster),
        now,
    )
    .ok()?;
    let wanted: BTreeSet<String> = tls::dns_names(cluster).into_iter().collect();
    let life = facts.not_after.duration_since(facts.not_before).unsigned_abs();
    let is_kept =
        facts.dns_names == wanted && !facts.is_due(now) && life <= cluster.tls.lifetime + 2 * tls::SKEW;
    is_kept.then_some(facts)
}

/// By which CAs a certificate from elsewhere is verified.
#[derive(Default)]
pub struct External {
    /// The CAs by which the members are verified: those of the last certificate that could serve, and while members may
    /// show one of the former CAs, these too.
    pub trust: Option<String>,
    /// What drops the former CAs; none where there are none.
    former: Option<String>,
}

/// Reads and checks the Secret that the members mount, and keeps a copy of its CAs: what is in it or why it cannot
/// serve, and what is trusted.
pub async fn external(
    ctx: &Context,
    cluster: &Validated,
    now: Timestamp,
) -> Result<(Result<Facts, Error>, External), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let name = cluster.tls.secret_name(&cluster.name);
    let found = api.get_opt(&name).await;
    let found = found.map_err(|e| Error::kubernetes("read the certificate Secret", e))?;
    let kept = ca_secret(ctx, &cluster.namespace, &cluster.name).await?;
    let facts = match &found {
        None => Err(Error::CertificateMissing { secret: name }),
        Some(secret) => {
            judge(secret, cluster, now).map_err(|source| Error::CertificateUnusable { secret: name, source })
        }
    };
    let cas = found.as_ref().and_then(|secret| text(secret, names::CA_KEY));
    let kept = match (&facts, cas) {
        (Ok(_), Some(cas)) => Some(keep_trust(ctx, cluster, kept, &cas).await?),
        _ => kept.filter(|secret| text(secret, TRUST).is_some()),
    };
    let former = kept.as_ref().filter(|secret| text(secret, FORMER).is_some());
    let external = External {
        trust: kept.as_ref().and_then(bundle),
        former: former.and_then(ResourceExt::resource_version),
    };
    Ok((facts, external))
}

fn judge(secret: &Secret, cluster: &Validated, now: Timestamp) -> Result<Facts, certificate::Unusable> {
    let chain = text(secret, LEAF_CERTIFICATE).unwrap_or_default();
    let key = SecretString::from(text(secret, LEAF_KEY).unwrap_or_default());
    let cas = text(secret, names::CA_KEY).unwrap_or_default();
    certificate::check(&chain, Some(&key), &cas, &tls::required_names(cluster), now)
}

async fn keep_trust(
    ctx: &Context,
    cluster: &Validated,
    kept: Option<Secret>,
    cas: &str,
) -> Result<Secret, Error> {
    let step = "store which CAs are trusted";
    let Some(kept) = kept else {
        let data = BTreeMap::from([(TRUST.to_owned(), bytes(cas))]);
        return create(ctx, cluster, data).await?.ok_or(Error::Outdated { step });
    };
    let before = text(&kept, TRUST);
    if before.as_deref() == Some(cas) {
        return Ok(kept);
    }
    let mut data = Map::from_iter([(TRUST.to_owned(), encoded(cas))]);
    if let Some(before) = before {
        let former = former(&before, text(&kept, FORMER).as_deref());
        data.insert(FORMER.to_owned(), encoded(&former));
    }
    let version = kept.resource_version().unwrap_or_default();
    change(ctx, cluster, &version, Value::Object(data), json!({}), step).await
}

/// How much of former CAs is kept: some dozens.
const MOST_FORMER: usize = 64 * 1024;

/// The CAs of before, and those before them: until every member shows a certificate of the present ones, some may show one
/// of any of these.
fn former(before: &str, older: Option<&str>) -> String {
    match older {
        Some(older) if !older.contains(before.trim()) && older.len() < MOST_FORMER => {
            rollover::join([before, older].into_iter())
        }
        Some(older) if older.contains(before.trim()) => older.to_owned(),
        Some(_) | None => before.to_owned(),
    }
}

/// Trusts the former CAs no more: every member shows a certificate of the present ones.
pub async fn drop_former(ctx: &Context, cluster: &Validated, external: &External) -> Result<(), Error> {
    let Some(version) = &external.former else {
        return Ok(());
    };
    let step = "drop the former CAs";
    change(ctx, cluster, version, json!({ FORMER: null }), json!({}), step)
        .await
        .map(drop)
}

#[cfg(test)]
#[path = "tls_store_tests.rs"]
mod tests;
