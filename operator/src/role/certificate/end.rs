//! The end of certificates: what was lost, or is not wanted any more, is revoked, and the way in is taken away.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::names::CERT_AUTH_PATH;
use vaultkeeper_crds::role::{CertificateStatus, IssuedCertificate};
use vaultkeeper_vault::Client;

use super::super::error::Error;
use super::super::execute::found;
use super::super::status::fresh;
use super::super::{Identity, credentials};
use super::store::{self, Stored};
use super::{crl, pki, record, uri_of};
use crate::context::Context;
use crate::report::Reason;

/// Revokes those of the certificates that are picked, and puts them on what is to be published. Says how many.
pub(super) async fn revoke(
    ctx: &Context,
    vault: Option<&Client>,
    identity: &Identity,
    issued: &[IssuedCertificate],
    stored: &Stored,
    wanted: impl Fn(&IssuedCertificate) -> bool,
) -> Result<usize, Error> {
    let (
        Stored {
            ca, revoked: known, ..
        },
        now,
    ) = (stored, Timestamp::now());
    let is_new =
        |one: &IssuedCertificate| wanted(one) && !known.iter().any(|known| known.serial == one.serial);
    let own = record::to_revoke(issued, ca, &identity.uid, now, is_new);
    // First those that need nobody else.
    store::add(ctx, identity, &own).await?;
    let mut revoked = own.len();
    for one in issued
        .iter()
        .filter(|one| is_new(one) && record::is_remembered(one, now))
    {
        let (Some(vault), Some(issuer)) = (vault, &one.issuer) else {
            continue;
        };
        let outcome = pki::revoke(vault, issuer, &one.serial, &uri_of(identity)).await?;
        if matches!(outcome, pki::Outcome::NotFound) {
            continue;
        }
        // Whatever the engine says, no login at this Vault takes it any more.
        store::add(ctx, identity, &[record::revoked(one, now)]).await?;
        revoked += 1;
        if let pki::Outcome::Denied(error) = outcome {
            // To wait for that right would hold up what can be done.
            let error = Error::vault("revoke a certificate of the PKI engine", error);
            tell_it_is_left(ctx, identity, issuer, one, &error).await;
        }
    }
    Ok(revoked)
}

async fn tell_it_is_left(
    ctx: &Context,
    identity: &Identity,
    issuer: &str,
    one: &IssuedCertificate,
    error: &Error,
) {
    let object = ObjectReference {
        api_version: Some(format!(
            "{}/{}",
            vaultkeeper_crds::GROUP,
            vaultkeeper_crds::VERSION
        )),
        kind: Some("VaultRole".to_owned()),
        namespace: Some(identity.namespace.clone()),
        name: Some(identity.name.clone()),
        uid: Some(identity.uid.clone()),
        ..ObjectReference::default()
    };
    let note = format!(
        "a client certificate of PKI role {issuer} with serial {} is not revoked there, and ends at {}; no login at this Vault \
         takes it any more. Revoke it by hand if others take it. Last error: {}",
        one.serial,
        one.not_after.0,
        error.chain()
    );
    ctx.reporter
        .publish(&object, Reason::LeftBehind, &one.serial, &note)
        .await;
}

/// Stores that every certificate of the VaultRole is revoked. Without a Vault those of a PKI engine are left; the list is
/// published with the next one at the latest.
pub(in crate::role) async fn revoke_all(
    ctx: &Context,
    vault: Option<&Client>,
    identity: &Identity,
) -> Result<usize, Error> {
    let Some(role) = fresh(ctx, identity).await? else {
        return Ok(0);
    };
    let noted = role.status.and_then(|status| status.certificate);
    let (Some(noted), Some(stored)) = (noted, store::read(ctx, &identity.cluster).await?) else {
        return Ok(0);
    };
    revoke(ctx, vault, identity, &noted.issued, &stored, |_| true).await
}

/// Takes the certificate's way in away: first the role, then every certificate is revoked. What is not there counts as
/// removed.
pub(in crate::role) async fn remove_from_vault(
    ctx: &Context,
    vault: &Client,
    identity: &Identity,
) -> Result<usize, Error> {
    let gone = vault
        .cert(CERT_AUTH_PATH)
        .delete_role(&identity.vault_name())
        .await;
    found("delete the certificate auth role", gone)?;
    let revoked = revoke_all(ctx, Some(vault), identity).await?;
    crl::publish(ctx, vault, &identity.cluster).await?;
    Ok(revoked)
}

/// Removes all of it, where the spec asks for a certificate no more.
pub(in crate::role) async fn withdraw(
    ctx: &Context,
    vault: &Client,
    identity: &Identity,
    noted: &CertificateStatus,
) -> Result<usize, Error> {
    let revoked = remove_from_vault(ctx, vault, identity).await?;
    credentials::remove(ctx, identity, &noted.secret_name).await?;
    forget(ctx, identity).await?;
    Ok(revoked)
}

/// Nothing of a certificate is in Vault any more.
pub(in crate::role) async fn forget(ctx: &Context, identity: &Identity) -> Result<(), Error> {
    let Some(fresh) = fresh(ctx, identity).await? else {
        return Ok(());
    };
    if fresh
        .status
        .as_ref()
        .is_none_or(|status| status.certificate.is_none())
    {
        return Ok(());
    }
    record::write(ctx, &fresh, None).await
}
