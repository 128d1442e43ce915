//! The VaultRole controller: observe → validate → plan → execute → status.
//!
//! A role is given what its cluster's `spec.access` grants, and keeps nothing when that is taken away. The
//! finalizer is there exactly while something of the role may be in Vault.

pub mod ca_config_map;
pub mod certificate;
pub mod credentials;
pub mod delete;
pub mod desired;
pub mod error;
pub mod execute;
mod failures;
pub mod finalizer;
pub mod further;
mod hand_out;
mod identity;
mod in_vault;
pub mod mount_limits;
pub mod owner;
pub mod password;
mod place;
pub mod policy;
pub mod rotation;
pub mod secret;
pub mod status;
pub mod sweep;
pub mod token;
pub mod validate;
mod withdraw;
mod written;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::controller::Action;
use vaultkeeper_crds::{VaultCluster, VaultRole};

use crate::context::Context;
use crate::report::Reason;
use desired::Elsewhere;
pub use error::Error;
pub use identity::{ClusterName, Identity};
use in_vault::{InVault, provide_in_vault};
use place::{cluster_of, external_login, forget_a_spoilt_session, session, tell_if_it_moved, was_written_to};
use status::{Outcome, Progress};
use sweep::{Comparison, Task};
use withdraw::withdraw;

/// One pass over a VaultRole.
pub async fn reconcile(role: Arc<VaultRole>, ctx: Arc<Context>) -> Result<Action, Error> {
    let role = written::caught_up(&ctx, &Identity::of(&role)?, role).await?;
    let identity = Identity::of(&role)?;
    if role.metadata.deletion_timestamp.is_some() {
        return Box::pin(delete::reconcile(&role, &identity, &ctx)).await;
    }
    let mut progress = Progress::of(role.status.as_ref());
    let mut comparison = None;
    let outcome = provide(&role, &identity, &ctx, &mut progress, &mut comparison).await;
    match &outcome {
        // The write of the finalizer, or the first list of namespaces, wakes this role again.
        Ok(Outcome::Begun) => return Ok(Action::await_change()),
        Ok(Outcome::AtRest(wait)) => return Ok(Action::requeue(*wait)),
        // Nothing is known to be wrong: the VaultCluster says that its Vault is away, and its roles need not repeat it.
        Err(error) if comparison.is_some() && error.is_absence() => {
            tracing::debug!(error = error.chain(), role = %identity.vault_name(), "not compared");
            return Ok(Action::requeue(
                ctx.sweep.compared(&identity, comparison.as_ref()),
            ));
        }
        _ => {}
    }
    if !matches!(outcome, Ok(Outcome::InPlace)) && finalizer::is_set(&role) {
        // Whatever the status says by now, the watch may bring it late.
        ctx.sweep.begun(&identity);
    }
    let before = progress.next_action_at.as_deref();
    progress.next_action_at = sweep::next_action(before, progress.next, Timestamp::now());
    let wanted = status::build(&role, &identity, &outcome, &progress, Timestamp::now());
    let written = status::write(&ctx, &identity, role.status.as_ref(), &wanted).await;
    // The error of the pass itself matters more than that of telling it.
    let outcome = outcome?;
    let news = written?;
    if let (true, Outcome::Refused(refusal)) = (news, &outcome) {
        ctx.reporter
            .publish(&role.object_ref(&()), Reason::Refused, "", &refusal.message)
            .await;
    }
    Ok(match outcome {
        Outcome::InPlace => {
            let resync = ctx.sweep.compared(&identity, comparison.as_ref());
            Action::requeue(progress.next.map_or(resync, |next| next.min(resync)))
        }
        // The cluster's watch or an edit wakes it.
        Outcome::Begun | Outcome::AtRest(_) | Outcome::Refused(_) | Outcome::Waiting { .. } => {
            Action::await_change()
        }
    })
}

/// Gives the role what it asks for, as far as it is allowed.
async fn provide(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    progress: &mut Progress,
    comparison: &mut Option<Comparison>,
) -> Result<Outcome, Error> {
    let Some(cluster) = cluster_of(ctx, identity).await? else {
        // Nothing is taken away: the cluster may come back with its volumes and keys.
        progress.accepted = Some(false);
        return Ok(Outcome::Waiting {
            reason: "ClusterNotFound",
            message: format!(
                "spec.cluster: there is no VaultCluster {}/{}: create it, or correct the name",
                identity.cluster.namespace, identity.cluster.name
            ),
        });
    };
    let verdict = validate::validate(&role.spec, &identity.namespace, &cluster.spec.access);
    let verdict = verdict.and_then(|mut validated| {
        let (name, access) = ((&*identity.namespace, &*identity.name), &cluster.spec.access);
        let methods = &cluster.spec.configuration.auth_methods;
        (validated.person, validated.provider) = validate::people(&role.spec, name, access, methods)?;
        if cluster.spec.external.is_some() {
            validate::elsewhere(&validated)?;
        }
        Ok(validated)
    });
    progress.accepted = Some(verdict.is_ok());
    if cluster.spec.paused {
        return Ok(match verdict {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(_) => Outcome::Waiting {
                reason: "ClusterPaused",
                message: "the VaultCluster is paused (spec.paused): nothing is changed in it".to_owned(),
            },
        });
    }
    let mut validated = match verdict {
        Ok(validated) => validated,
        Err(mut refusal) => {
            // It was accepted before. Access that was taken away in the cluster's spec must end in Vault too; a slip in the
            // role's own spec must not take a running application down.
            let was_accepted = refusal.withdraws && finalizer::is_set(role);
            let stays = was_accepted && sweep::is_granted_as_before(role, &cluster);
            if stays {
                refusal.message += ". What was in place before stays as it was";
            }
            progress.refusal = Some(refusal.clone());
            if was_accepted && !stays {
                withdraw(role, identity, ctx, &cluster, progress).await?;
            }
            return Ok(Outcome::Refused(refusal));
        }
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Waiting {
            reason: "ClusterDeleted",
            message: "the VaultCluster is being deleted".to_owned(),
        });
    }
    if let Some(accounts) = &mut validated.kubernetes
        && !accounts.select(&ctx.namespaces)
    {
        // The labels of namespaces are not read yet. Once they are, this role is woken; until then it stays as it is.
        return Ok(Outcome::Begun);
    }
    let applied = sweep::fingerprint(role, &validated, &cluster);
    match ctx.sweep.task(role, identity, &cluster, &applied) {
        Task::Rest(wait) => {
            ctx.sweep.keep(identity, &validated);
            tell_clients(ctx, identity, &cluster).await?;
            if let Some(certificate) = &validated.certificate
                && let Some(told) = ca_config_map::ensure(ctx, identity, &cluster).await?
            {
                certificate::refresh_cas(ctx, identity, certificate, &told.ca).await?;
            }
            return Ok(Outcome::AtRest(wait));
        }
        Task::Compare(begun) => *comparison = Some(begun),
        Task::All => {}
    }
    if finalizer::add(ctx, role).await? {
        return Ok(Outcome::Begun);
    }
    let told = ca_config_map::ensure(ctx, identity, &cluster).await?;
    let login = told
        .as_ref()
        .and_then(|told| external_login(&cluster, &told.address));
    tell_if_it_moved(role, ctx, progress, login.as_ref()).await;
    let written_before = was_written_to(role, login.as_ref());
    progress.external.clone_from(&login);
    if let (Some(told), Some(certificate)) = (&told, &validated.certificate) {
        certificate::refresh_cas(ctx, identity, certificate, &told.ca).await?;
    }
    progress.config_map = told.as_ref().map(|told| told.name.clone());
    let vault = session(ctx, &cluster).await?;
    let vault = comparison
        .as_ref()
        .map_or_else(|| vault.clone(), |comparison| comparison.paced(&vault));
    let elsewhere = match login {
        Some(login) => Some(Elsewhere {
            owner: owner::of_this_kubernetes(ctx).await?,
            audience: login.audience,
        }),
        None => None,
    };
    let place = InVault {
        vault: &vault,
        kubernetes_path: cluster.spec.kubernetes_auth_path(),
        elsewhere: elsewhere.as_ref(),
        written_before,
        applied_before: (progress.applied.as_ref())
            .is_some_and(|before| sweep::is_same_wish(before, &applied)),
        told: told.as_ref(),
    };
    let result = provide_in_vault(role, identity, ctx, place, &validated, progress).await;
    forget_a_spoilt_session(ctx, &cluster, &result).await;
    result?;
    ctx.sweep.ended(identity, &applied);
    ctx.sweep.keep(identity, &validated);
    progress.applied = Some(applied);
    Ok(Outcome::InPlace)
}

/// Has the ConfigMap of a namespace tell the present CA, once for all the roles at rest in it.
async fn tell_clients(ctx: &Context, identity: &Identity, cluster: &VaultCluster) -> Result<(), Error> {
    let Identity {
        namespace,
        cluster: name,
        ..
    } = identity;
    if let Some(ca) = ctx.sweep.untold_ca(namespace, cluster, name) {
        ca_config_map::ensure(ctx, identity, cluster).await?;
        ctx.sweep.tell(namespace, name, ca);
    }
    Ok(())
}
