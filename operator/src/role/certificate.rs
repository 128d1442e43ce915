//! The login by client certificate: issues, renews and revokes the certificate, and keeps its role in Vault.
//!
//! The order of a pass: the serial number is noted in the status, the role is written in Vault, the certificate is stored,
//! and only then is published what is revoked. Every point at which the process may die is healed by the next pass: a key
//! that was not stored died with it.

mod auth_role;
pub mod ca;
mod crl;
mod end;
mod pki;
mod record;
mod secret;
mod store;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_crds::annotations::FIELD_MANAGER;
use vaultkeeper_crds::names;
use vaultkeeper_crds::role::CertificateStatus;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::params::TokenParams;

use super::error::Error;
use super::secret::is_ours;
use super::status::fresh;
use super::validate::Certificate;
use super::{Identity, credentials};
use crate::context::Context;
use auth_role::{both, role_of, write_role};
use ca::{ClientCa, Leaf};
use end::revoke;
pub(super) use end::{forget, remove_from_vault, revoke_all, withdraw};
use record::Plan;
use secret::Held;

/// What a VaultRole asks for.
pub(super) struct Wanted<'a> {
    /// The certificate.
    pub(super) certificate: &'a Certificate,
    /// What the tokens of its logins are like.
    pub(super) token: &'a TokenParams,
    /// The CAs (PEM) of the server, which go into the Secret as well.
    pub(super) cas: &'a str,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// The role in Vault was written.
    pub(super) role_written: bool,
    /// Serial number of a certificate that was issued and stored, and until when it is good.
    pub(super) issued: Option<(String, Timestamp)>,
    /// How many certificates were revoked.
    pub(super) revoked: usize,
    /// When the next one is due.
    pub(super) due: Option<Timestamp>,
}

/// Whether something of a certificate may be in Vault, or is to be.
pub(super) fn is_mentioned(role: &VaultRole) -> bool {
    let noted = role
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref());
    role.spec.certificate.is_some() || noted.is_some()
}

fn secrets(ctx: &Context, identity: &Identity) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &identity.namespace)
}

async fn read_secret(ctx: &Context, identity: &Identity, name: &str) -> Result<Option<Secret>, Error> {
    let found = secrets(ctx, identity).get_opt(name).await;
    found.map_err(|e| Error::kubernetes("read the Secret for the certificate", e))
}

/// Gives the CAs of the server to who has a certificate, before anything is asked of Vault: a replacement of the server's
/// CA does not wait for it.
pub(super) async fn refresh_cas(
    ctx: &Context,
    identity: &Identity,
    certificate: &Certificate,
    cas: &str,
) -> Result<(), Error> {
    let name = &certificate.secret_name;
    let Some(found) = read_secret(ctx, identity, name).await? else {
        return Ok(());
    };
    if !is_ours(&found.metadata, identity)
        || found.type_.as_deref() != Some(secret::TYPE)
        || secret::has_cas(&found, cas)
    {
        return Ok(());
    }
    let body = json!({
        "metadata": { "uid": found.metadata.uid, "resourceVersion": found.metadata.resource_version },
        "stringData": { names::CA_KEY: cas },
    });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = secrets(ctx, identity)
        .patch(name, &params, &Patch::Merge(&body))
        .await;
    written
        .map(drop)
        .map_err(|e| Error::kubernetes("store the CAs of the server beside the certificate", e))
}

/// Makes sure that the Secret holds a good certificate, that Vault takes it, and that it takes no lost one.
pub(super) async fn ensure(
    ctx: &Context,
    vault: &Client,
    identity: &Identity,
    role: &VaultRole,
    wanted: Wanted<'_>,
) -> Result<Done, Error> {
    let Wanted {
        certificate,
        token,
        cas,
    } = wanted;
    let now = Timestamp::now();
    let existing = existing(ctx, identity, certificate).await?;
    let stored = store::ensure(ctx, &identity.cluster).await?;
    let (ca, uri) = (&stored.ca, uri_of(identity));
    let held = existing
        .as_ref()
        .and_then(|found| secret::held(found, ca, identity, &uri, now));
    let facts = held.as_ref().map(|held| &held.facts);
    let mut noted = role.status.as_ref().and_then(|status| status.certificate.clone());
    let mut plan = record::plan(facts, noted.as_ref(), certificate, now);
    let mut leaf = None;
    if plan != Plan::Keep {
        // The watch may be behind what an earlier pass has noted.
        let Some(fresh) = fresh(ctx, identity).await? else {
            return Ok(Done::default());
        };
        noted = fresh
            .status
            .as_ref()
            .and_then(|status| status.certificate.clone());
        plan = record::plan(facts, noted.as_ref(), certificate, now);
        if plan != Plan::Keep
            && existing
                .as_ref()
                .is_some_and(|found| found.immutable == Some(true))
        {
            return Err(Error::NameTaken {
                kind: "Secret",
                name: certificate.secret_name.clone(),
                remedy: "it is immutable: delete it, or choose another spec.certificate.secretName",
            });
        }
        if plan == Plan::Replace && stored.is_used_up_by(&identity.namespace) {
            return Err(Error::ClientCa(ca::Error::ListUsedUp));
        }
        if plan != Plan::Keep {
            let mut issued = match &certificate.pki {
                None => ca
                    .issue(&uri, &identity.uid, certificate.ttl, now)
                    .map_err(Error::ClientCa)?,
                Some(issuer) => pki::issue(vault, issuer, &uri, &identity.uid, certificate.ttl).await?,
            };
            if let (Plan::Renew, Some(before), Some(_)) = (plan, &held, &certificate.pki) {
                issued.trust = both(&issued.trust, &before.trust);
            }
            let next = record::with(noted.as_ref(), facts, plan, &issued.facts, &uri, certificate, now);
            record::write(ctx, &fresh, Some(&next)).await?;
            (noted, leaf) = (Some(next), Some(issued));
        }
    }
    // A new one, or without it the one that is held.
    let ((Some(Leaf { facts, trust, .. }), _) | (None, Some(Held { facts, trust }))) = (&leaf, &held) else {
        return Ok(Done::default());
    };
    let mut done = Done {
        role_written: write_role(ctx, vault, identity, role_of(identity, trust, &uri, token)).await?,
        due: Some(record::due(facts, certificate)),
        ..Done::default()
    };
    if let Some(leaf) = &leaf {
        let stored = store_certificate(ctx, identity, certificate, existing, (ca, leaf, cas)).await;
        if stored.as_ref().is_err_and(credentials::is_surely_not_stored) {
            // Its key is nowhere. The record must not grow with each try while the API server refuses.
            unlist(ctx, identity, &leaf.facts.serial).await?;
        }
        stored?;
        done.issued = Some((leaf.facts.serial.clone(), leaf.facts.not_after));
    }
    let Some(noted) = noted else { return Ok(done) };
    done.revoked = revoke(ctx, Some(vault), identity, &noted.issued, &stored, |one| {
        one.revoked
    })
    .await?;
    if done.revoked > 0 || !crl::is_fresh(ctx, &identity.cluster) {
        crl::publish(ctx, vault, &identity.cluster).await?;
    }
    forget_the_old_name(ctx, identity, certificate, &noted).await?;
    Ok(done)
}

/// The Secret, if it is there: ours, and one that can hold a certificate.
async fn existing(
    ctx: &Context,
    identity: &Identity,
    certificate: &Certificate,
) -> Result<Option<Secret>, Error> {
    let name = &certificate.secret_name;
    let taken = |remedy| Error::NameTaken {
        kind: "Secret",
        name: name.clone(),
        remedy,
    };
    let Some(found) = read_secret(ctx, identity, name).await? else {
        return Ok(None);
    };
    if !is_ours(&found.metadata, identity) {
        return Err(taken("delete it, or choose another spec.certificate.secretName"));
    }
    if found.type_.as_deref() != Some(secret::TYPE) {
        return Err(taken(
            "it is not of type kubernetes.io/tls, which cannot be changed: delete it, or choose another \
             spec.certificate.secretName",
        ));
    }
    Ok(Some(found))
}

fn uri_of(identity: &Identity) -> String {
    let Identity {
        namespace,
        name,
        uid,
        generation: _,
        cluster,
    } = identity;
    names::certificate_uri((&cluster.namespace, &cluster.name), namespace, name, uid)
}

async fn store_certificate(
    ctx: &Context,
    identity: &Identity,
    certificate: &Certificate,
    existing: Option<Secret>,
    (ca, leaf, cas): (&ClientCa, &Leaf, &str),
) -> Result<(), Error> {
    let (api, name) = (secrets(ctx, identity), &certificate.secret_name);
    let is_new = existing.is_none();
    let written = secret::with_certificate(existing, identity, name, ca, leaf, cas);
    let params = PostParams::default();
    let stored = if is_new {
        api.create(&params, &written).await
    } else {
        api.replace(name, &params, &written).await
    };
    stored
        .map(drop)
        .map_err(|e| Error::kubernetes("store the certificate", e))
}

/// Takes a serial number out of the record.
async fn unlist(ctx: &Context, identity: &Identity, serial: &str) -> Result<(), Error> {
    let Some(fresh) = fresh(ctx, identity).await? else {
        return Ok(());
    };
    let noted = fresh.status.as_ref();
    let Some(mut noted) = noted.and_then(|status| status.certificate.clone()) else {
        return Ok(());
    };
    noted.issued.retain(|one| one.serial != serial);
    record::write(ctx, &fresh, Some(&noted)).await
}

/// The Secret of an earlier name goes when the new one is there.
async fn forget_the_old_name(
    ctx: &Context,
    identity: &Identity,
    certificate: &Certificate,
    noted: &CertificateStatus,
) -> Result<(), Error> {
    if noted.secret_name == certificate.secret_name {
        return Ok(());
    }
    credentials::remove(ctx, identity, &noted.secret_name).await?;
    let Some(fresh) = fresh(ctx, identity).await? else {
        return Ok(());
    };
    let Some(noted) = fresh
        .status
        .as_ref()
        .and_then(|status| status.certificate.clone())
    else {
        return Ok(());
    };
    let record = CertificateStatus {
        secret_name: certificate.secret_name.clone(),
        ..noted
    };
    record::write(ctx, &fresh, Some(&record)).await
}

/// Names of the Secrets that may hold a certificate of the VaultRole.
pub(super) fn secrets_of(role: &VaultRole) -> impl Iterator<Item = String> {
    let noted = role
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref());
    let noted = noted.map(|noted| noted.secret_name.clone());
    let wished = role.spec.certificate.as_ref();
    noted
        .into_iter()
        .chain(wished.map(|wished| wished.secret_name.clone()))
}
