//! The end of a VaultRole: what it had in Vault goes first, then its Secret, then the object.

mod retain;
mod tokens;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::controller::Action;
use vaultkeeper_crds::role::{ExternalLoginStatus, RoleDeletionPolicy};
use vaultkeeper_crds::{VaultCluster, VaultRole};
use vaultkeeper_vault::Client;

use super::error::Error;
use super::failures::Failures;
use super::owner::{self, Whose};
use super::status::{self, Outcome, Progress};
use super::token::deliver::Token;
use super::{
    ClusterName, Identity, certificate, cluster_of, credentials, execute, external_login, finalizer,
    forget_a_spoilt_session, further, session, was_written_to,
};
use crate::cluster::external::Address;
use crate::cluster::key_store;
use crate::context::{Context, Rules};
use crate::controllers::ReconcileError;
use crate::report::Reason;
use crate::sessions::SessionError;

/// One pass over a VaultRole that is being deleted.
pub async fn reconcile(role: &VaultRole, identity: &Identity, ctx: &Context) -> Result<Action, Error> {
    if !finalizer::is_set(role) {
        return Ok(Action::await_change());
    }
    if role.spec.deletion_policy == RoleDeletionPolicy::Retain {
        retain::leave(role, identity, ctx).await?;
        finalizer::remove(ctx, role).await?;
        ctx.sweep.forget(identity);
        return Ok(Action::await_change());
    }
    let cluster = cluster_of(ctx, identity).await?;
    let is_paused = cluster.as_ref().is_some_and(|cluster| cluster.spec.paused);
    if is_paused {
        // A person stopped all work there and can let it go on, which wakes this role.
        let paused = "the VaultCluster is paused (spec.paused): nothing is removed from it";
        let deleted = role.metadata.deletion_timestamp.as_ref();
        let left = ctx.rules.left_to_wait(deleted, Timestamp::now());
        let left = left.unwrap_or_default();
        if !left.is_zero() {
            pending(role, identity, ctx, paused.to_owned()).await?;
            return Ok(Action::requeue(left));
        }
        report_what_is_left(role, identity, ctx, paused).await;
    }
    if cluster.is_none() {
        // Gone, so that nobody can be waited for. Its data may be kept, and this role in it.
        report_a_kept_cluster(role, identity, ctx).await?;
    }
    if certificate::is_mentioned(role) {
        // Also where Vault cannot be told of it now.
        certificate::revoke_all(ctx, None, identity).await?;
    }
    if let Some(cluster) = cluster
        && !is_paused
        && let Err(error) = remove_from_vault(role, identity, ctx, &cluster).await
    {
        match verdict(&error, role, Timestamp::now(), &ctx.rules) {
            Verdict::NothingThere => {}
            Verdict::LetGo => report_what_is_left(role, identity, ctx, &error.chain()).await,
            Verdict::Retry => {
                pending(
                    role,
                    identity,
                    ctx,
                    format!("{}: {}", error.reason(), error.chain()),
                )
                .await?;
                return Err(error);
            }
        }
    }
    for secret in secrets_of(role) {
        credentials::remove(ctx, identity, &secret).await?;
    }
    finalizer::remove(ctx, role).await?;
    ctx.sweep.forget(identity);
    Ok(Action::await_change())
}

async fn pending(role: &VaultRole, identity: &Identity, ctx: &Context, message: String) -> Result<(), Error> {
    let outcome = Ok(Outcome::Waiting {
        reason: "CleanupPending",
        message,
    });
    let old = role.status.as_ref();
    let wanted = status::build(role, identity, &outcome, &Progress::of(old), Timestamp::now());
    status::write(ctx, identity, old, &wanted).await.map(|_| ())
}

/// Where the keys of a deleted cluster are kept, a new VaultCluster of its name brings back all that was in it.
async fn report_a_kept_cluster(role: &VaultRole, identity: &Identity, ctx: &Context) -> Result<(), Error> {
    let ClusterName { namespace, name } = &identity.cluster;
    if role
        .status
        .as_ref()
        .is_none_or(|status| status.vault_name.is_none())
    {
        return Ok(());
    }
    let left = format!(
        "policy, AppRole role and Kubernetes auth role `{}`",
        identity.vault_name()
    );
    let elsewhere = role.status.as_ref().and_then(|status| status.external.as_ref());
    let note = if let Some(ExternalLoginStatus { address, .. }) = elsewhere {
        format!(
            "VaultCluster {namespace}/{name} is gone, but its Vault runs elsewhere. Left behind in {address}: {left}; \
             remove them by hand"
        )
    } else if matches!(key_store::get(ctx, namespace, name).await, Ok(None)) {
        return Ok(());
    } else {
        format!(
            "VaultCluster {namespace}/{name} is gone, but its keys are kept: if it comes back with its volumes, the \
             {left} are still in it; remove them by hand then"
        )
    };
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::LeftBehind, "", &note)
        .await;
    Ok(())
}

/// `why` nothing could be removed until now.
async fn report_what_is_left(role: &VaultRole, identity: &Identity, ctx: &Context, why: &str) {
    let note = format!(
        "Vault could not be reached for {} and the deletion goes on without it. Left behind in \
         VaultCluster {}/{}: policy, AppRole role and Kubernetes auth role `{}`; remove them by hand. Last \
         error: {why}",
        ctx.rules.patience(),
        identity.cluster.namespace,
        identity.cluster.name,
        identity.vault_name(),
    );
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::LeftBehind, "", &note)
        .await;
}

/// Names under which the role may have stored credentials: as it was seen last, and as its spec says now.
pub fn secrets_of(role: &VaultRole) -> BTreeSet<String> {
    let seen = role.status.as_ref().and_then(|status| status.secret_name.clone());
    let wished = role
        .spec
        .app_role
        .as_ref()
        .map(|app_role| app_role.secret_name.clone());
    let delivered = role.status.as_ref().and_then(|status| status.token.as_ref());
    let delivered = delivered.map(|token| token.secret_name.clone());
    let deliver = role.spec.token.deliver.as_ref();
    let deliver = deliver.map(|deliver| deliver.secret_name.clone());
    let tokens = delivered.into_iter().chain(deliver);
    seen.into_iter()
        .chain(wished)
        .chain(tokens)
        .chain(certificate::secrets_of(role))
        .collect()
}

/// Removes policy and roles from Vault. What somebody else made under that name in a Vault elsewhere stays.
pub(super) async fn remove_from_vault(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    cluster: &VaultCluster,
) -> Result<(), Error> {
    let vault = session(ctx, cluster).await?;
    let result = Box::pin(remove_ours(role, identity, ctx, (cluster, &vault))).await;
    forget_a_spoilt_session(ctx, cluster, &result).await;
    result
}

async fn remove_ours(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    (cluster, vault): (&VaultCluster, &Client),
) -> Result<(), Error> {
    let (path, name) = (cluster.spec.kubernetes_auth_path(), identity.vault_name());
    let further = further::known(ctx, role, identity);
    if let Some(place) = &cluster.spec.external {
        let address = Address::parse(&place.address).map(|address| address.to_string());
        let login = address.ok().and_then(|address| external_login(cluster, &address));
        let owner = owner::of_this_kubernetes(ctx).await?;
        let by_certificate = certificate::is_mentioned(role);
        let there = owner::look(vault, path, &name, &further, by_certificate).await?;
        let was_ours = was_written_to(role, login.as_ref());
        match owner::whose(&there, &owner, was_ours) {
            Whose::Ours => {}
            Whose::Anothers if was_ours => {
                let why = format!(
                    "the policy `{name}` there does not say any more that it is this Kubernetes cluster's"
                );
                let note = format!(
                    "Left behind in {}: policy and roles `{name}`, since {why}; remove them by hand if they are nobody else's",
                    place.address
                );
                ctx.reporter
                    .publish(&role.object_ref(&()), Reason::LeftBehind, "", &note)
                    .await;
                return Ok(());
            }
            Whose::Anothers | Whose::Nobodys => return Ok(()),
        }
    }
    // Each of them goes, whatever becomes of the others: what nobody can remove must not keep the ways in.
    let mut failures = Failures::default();
    let delivered = role.status.as_ref().and_then(|status| status.token.as_ref());
    if delivered.is_some() || role.spec.token.deliver.is_some() {
        let token = Token {
            ctx,
            vault,
            identity,
            name: &name,
        };
        let accessor = delivered.and_then(|token| token.accessor.as_deref());
        failures.keep(token.end(&secrets_of(role), accessor).await)?;
    }
    if failures.keep(further::remove(vault, &further).await)?.is_some() {
        further::remember(ctx, identity, &BTreeSet::new());
    }
    if certificate::is_mentioned(role) {
        failures.keep(certificate::remove_from_vault(ctx, vault, identity).await)?;
    }
    failures.keep(execute::remove(vault, path, &name).await)?;
    if role.spec.revoke_tokens {
        // After the ways in: no token comes that is not seen.
        let revoked = failures
            .keep(tokens::revoke(vault, &name).await)?
            .unwrap_or_default();
        if revoked > 0 {
            let note = format!("{revoked} tokens that were given to `{name}` are revoked");
            ctx.reporter
                .publish(&role.object_ref(&()), Reason::TokensRevoked, "", &note)
                .await;
        }
    }
    failures.end()
}

/// What follows from a failed removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Retry,
    LetGo,
    /// The cluster was never ready and nothing was ever written to it.
    NothingThere,
}

/// Whether the error says that the cluster was never ready, and nothing was ever written to it for this role.
pub(super) fn nothing_is_there(error: &Error, role: &VaultRole) -> bool {
    let never_written = role
        .status
        .as_ref()
        .is_none_or(|status| status.vault_name.is_none());
    let Error::Session(session) = error else {
        return false;
    };
    // An address that may not be called was not called before either.
    never_written && (matches!(**session, SessionError::NotReady) || session.is_final())
}

fn verdict(error: &Error, role: &VaultRole, now: Timestamp, rules: &Rules) -> Verdict {
    if nothing_is_there(error, role) {
        return Verdict::NothingThere;
    }
    let left = rules.left_to_wait(role.metadata.deletion_timestamp.as_ref(), now);
    if error.is_about_vault() && left == Some(Duration::ZERO) {
        Verdict::LetGo
    } else {
        Verdict::Retry
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use vaultkeeper_crds::VaultRoleStatus;

    use super::*;

    fn role(vault_name: Option<&str>) -> VaultRole {
        let mut role: VaultRole = serde_json::from_value(serde_json::json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": "app", "namespace": "shop" },
            "spec": {
                "cluster": { "name": "main", "namespace": "vault" },
                "policy": { "names": ["x"] },
                "appRole": { "secretName": "new" },
            },
        }))
        .unwrap();
        role.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        role.status = Some(VaultRoleStatus {
            vault_name: vault_name.map(str::to_owned),
            secret_name: Some("old".to_owned()),
            ..VaultRoleStatus::default()
        });
        role
    }

    fn no_session(error: SessionError) -> Error {
        Error::Session(Box::new(error))
    }

    /// The verdict so many minutes after the deletion.
    fn judged(error: &Error, vault_name: Option<&str>, minutes: i64) -> Verdict {
        let now = Timestamp::from_second(minutes * 60).unwrap();
        verdict(error, &role(vault_name), now, &Rules::default())
    }

    #[test]
    fn a_vault_that_is_away_delays_a_deletion_for_ten_minutes_and_no_longer() {
        let error = no_session(SessionError::NoActive("main-0 is sealed".to_owned()));
        assert_eq!(judged(&error, Some("shop.app"), 9), Verdict::Retry);
        assert_eq!(judged(&error, Some("shop.app"), 10), Verdict::LetGo);
    }

    #[test]
    fn a_failing_api_server_is_waited_for_without_end() {
        let error = Error::Incomplete("metadata.uid");
        assert_eq!(judged(&error, Some("shop.app"), 100), Verdict::Retry);
    }

    #[test]
    fn a_cluster_that_was_never_ready_holds_nothing_up() {
        assert_eq!(
            judged(&no_session(SessionError::NotReady), None, 0),
            Verdict::NothingThere
        );
        assert_eq!(
            judged(&no_session(SessionError::NotReady), Some("shop.app"), 0),
            Verdict::Retry,
            "something was written once"
        );
    }

    #[test]
    fn the_secrets_of_a_role_are_those_seen_and_those_wished_for() {
        assert_eq!(
            secrets_of(&role(None)),
            BTreeSet::from(["new".to_owned(), "old".to_owned()])
        );
    }
}
