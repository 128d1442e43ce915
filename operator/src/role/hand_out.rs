//! Keeps in Secrets what a role logs in with: AppRole credentials, a token, a client certificate. An event tells of each.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use vaultkeeper_crds::VaultRole;
use vaultkeeper_crds::annotations::ROTATE;
use vaultkeeper_crds::role::DeliveredToken;
use vaultkeeper_vault::Client;

use super::ca_config_map::Told;
use super::desired::Desired;
use super::error::Error;
use super::failures::Failures;
use super::status::Progress;
use super::token::deliver::Token;
use super::validate::Validated;
use super::{Identity, certificate, credentials, rotation};
use crate::context::Context;
use crate::report::Reason;

/// Whose Secrets they are, and what is to be in them.
pub(super) struct HandOut<'a> {
    pub(super) role: &'a VaultRole,
    pub(super) identity: &'a Identity,
    pub(super) ctx: &'a Context,
    /// Where the role is written by now.
    pub(super) vault: &'a Client,
    /// What stands there.
    pub(super) desired: &'a Desired,
    pub(super) validated: &'a Validated,
    /// What clients are told of that Vault.
    pub(super) told: Option<&'a Told>,
}

impl HandOut<'_> {
    /// All of them, one after the other. `with_token`: its token role is there.
    pub(super) async fn all(&self, progress: &mut Progress, with_token: bool) -> Result<(), Error> {
        let mut failures = Failures::default();
        failures.keep(Box::pin(self.credentials(progress)).await)?;
        if with_token {
            failures.keep(self.token(progress).await)?;
        }
        failures.keep(Box::pin(self.certificate(progress)).await)?;
        failures.end()
    }

    /// Keeps the AppRole credentials in their Secret, or takes them away.
    async fn credentials(&self, progress: &mut Progress) -> Result<(), Error> {
        let Self {
            role,
            identity,
            ctx,
            vault,
            desired,
            validated,
            told,
        } = self;
        let object = role.object_ref(&());
        let secret_name = validated.app_role.as_ref().map(|wish| &wish.secret_name);
        if let Some(wish) = &validated.app_role {
            let task = credentials::Task {
                identity,
                object: &object,
                vault_name: &desired.name,
                wish,
                request: role.annotations().get(ROTATE).cloned(),
                former: progress.secret.as_deref().filter(|old| *old != wish.secret_name),
                address: told.map_or("", |told| &told.address),
                ca: told.map_or("", |told| &told.ca),
            };
            let done = credentials::ensure(ctx, vault, &task).await?;
            progress.app_role = rotation::report::status(&done.state, wish, &identity.uid);
            progress.next = rotation::report::look_again(&done.state, wish, &identity.uid, Timestamp::now());
            report_credentials(ctx, &object, &wish.secret_name, &done).await;
        } else {
            progress.app_role = None;
        }
        // The Secret of an earlier name goes only when the new one is there.
        if let Some(old) = &progress.secret
            && Some(old) != secret_name
        {
            credentials::remove(ctx, identity, old).await?;
        }
        progress.secret = secret_name.cloned();
        Ok(())
    }

    /// Keeps the token in its Secret, or takes it away.
    async fn token(&self, progress: &mut Progress) -> Result<(), Error> {
        let Self {
            role,
            identity,
            ctx,
            vault,
            desired,
            validated,
            told: _,
        } = self;
        let object = role.object_ref(&());
        let token = Token {
            ctx,
            vault,
            identity,
            name: &desired.name,
        };
        let before = progress.token.clone();
        let known = before.as_ref().and_then(|before| before.accessor.as_deref());
        let delivery = validated.delivery.as_ref();
        if let Some(delivery) = delivery {
            let done = token.ensure(delivery, &desired.token, known).await?;
            let secret = &delivery.secret_name;
            if done.issued {
                let note = format!("a new token is stored in Secret {secret}");
                ctx.reporter
                    .publish(&object, Reason::CredentialsIssued, secret, &note)
                    .await;
            }
            if done.revoked > 0 {
                let note = format!(
                    "{} tokens that are not in Secret {secret} are revoked",
                    done.revoked
                );
                ctx.reporter
                    .publish(&object, Reason::CredentialsDestroyed, secret, &note)
                    .await;
            }
            progress.next = progress.next.into_iter().chain([done.next]).min();
            progress.token = Some(DeliveredToken {
                secret_name: secret.clone(),
                accessor: done.accessor,
            });
        }
        // The Secret of an earlier name goes only when the new one is there.
        if let Some(before) = &before
            && Some(&before.secret_name) != delivery.map(|delivery| &delivery.secret_name)
        {
            let old = BTreeSet::from([before.secret_name.clone()]);
            token.end(&old, known).await?;
            // AppRole credentials may lie there now.
            let app_role = validated.app_role.as_ref().map(|wish| &wish.secret_name);
            if Some(&before.secret_name) != app_role {
                credentials::remove(ctx, identity, &before.secret_name).await?;
            }
            if delivery.is_none() {
                progress.token = None;
            }
        }
        Ok(())
    }

    /// Keeps the client certificate, or takes away the one that the spec asks for no more.
    async fn certificate(&self, progress: &mut Progress) -> Result<(), Error> {
        let Self {
            role,
            identity,
            ctx,
            vault,
            desired,
            validated,
            told,
        } = self;
        let wished = validated.certificate.as_ref();
        let wanted = wished.map(|certificate| certificate::Wanted {
            certificate,
            token: &desired.token,
            cas: told.map_or("", |told| told.ca.as_str()),
        });
        let noted = role
            .status
            .as_ref()
            .and_then(|status| status.certificate.as_ref());
        let done = match (wanted, noted) {
            (Some(wanted), _) => certificate::ensure(ctx, vault, identity, role, wanted).await?,
            (None, Some(noted)) => certificate::Done {
                revoked: certificate::withdraw(ctx, vault, identity, noted).await?,
                ..certificate::Done::default()
            },
            (None, None) => return Ok(()),
        };
        let certificate::Done {
            role_written,
            issued,
            revoked,
            due,
        } = done;
        let tell = async |reason, note: String| {
            ctx.reporter
                .publish(&role.object_ref(&()), reason, "", &note)
                .await;
        };
        if role_written {
            let note = format!(
                "certificate auth role `{}` brought to the declared state in Vault",
                identity.vault_name()
            );
            tell(Reason::IdentityWritten, note).await;
        }
        if let Some((serial, until)) = issued {
            let secret = wished.map_or("", |wished| wished.secret_name.as_str());
            let note = format!(
                "a client certificate with serial {serial}, good until {until}, is stored in Secret {secret}"
            );
            tell(Reason::CertificateIssued, note).await;
        }
        if revoked > 0 {
            let note = format!(
                "{revoked} client certificates are revoked: they were lost, or are not wanted any more"
            );
            tell(Reason::CredentialsDestroyed, note).await;
        }
        progress.next = progress.next.into_iter().chain(due.map(until)).min();
        Ok(())
    }
}

/// How long it is until then, at least a second.
fn until(due: Timestamp) -> Duration {
    let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    left.max(Duration::from_secs(1))
}

async fn report_credentials(ctx: &Context, object: &ObjectReference, secret: &str, done: &credentials::Done) {
    let credentials::Done {
        issued,
        destroyed,
        state: _,
    } = done;
    if let Some(cause) = issued {
        let note = format!("new credentials are stored in Secret {secret}: {}", cause.words());
        ctx.reporter
            .publish(object, Reason::CredentialsIssued, secret, &note)
            .await;
    }
    if *destroyed > 0 {
        let note = format!(
            "{destroyed} secret-ids that were not in Secret {secret}, or had been long enough, are destroyed"
        );
        ctx.reporter
            .publish(object, Reason::CredentialsDestroyed, secret, &note)
            .await;
    }
}
