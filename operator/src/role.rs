//! The VaultRole controller: observe → validate → plan → execute → status.
//!
//! A role is given what its cluster's `spec.access` grants, and keeps nothing when that is taken away. The
//! finalizer is there exactly while something of the role may be in Vault.

pub mod ca_config_map;
pub mod credentials;
pub mod delete;
pub mod desired;
pub mod error;
pub mod execute;
pub mod finalizer;
pub mod policy;
pub mod secret;
pub mod status;
pub mod validate;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, Resource};
use vaultkeeper_crds::role::ExternalLoginStatus;
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_vault::Client;

use crate::backoff::spread;
use crate::context::Context;
use crate::report::Reason;
use crate::sessions::Target;
pub use error::Error;
use status::{Outcome, Progress};
use validate::Validated;

/// How often a role at rest is compared with Vault and its Secret, which no watch tells about.
const RESYNC: Duration = Duration::from_secs(600);

/// Namespace and name of a VaultCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Which VaultRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another object of the same name has another.
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Its VaultCluster.
    pub cluster: ClusterName,
}

impl Identity {
    /// Reads it off an object from the API server.
    pub fn of(role: &VaultRole) -> Result<Self, Error> {
        let meta = &role.metadata;
        let get = |value: &Option<String>, what| value.clone().ok_or(Error::Incomplete(what));
        Ok(Self {
            namespace: get(&meta.namespace, "metadata.namespace")?,
            name: get(&meta.name, "metadata.name")?,
            uid: get(&meta.uid, "metadata.uid")?,
            generation: meta.generation.unwrap_or_default(),
            cluster: ClusterName {
                namespace: role.spec.cluster.namespace.clone(),
                name: role.spec.cluster.name.clone(),
            },
        })
    }

    /// Name of the policy and roles in Vault.
    pub fn vault_name(&self) -> String {
        names::vault_name(&self.namespace, &self.name)
    }
}

/// One pass over a VaultRole.
pub async fn reconcile(role: Arc<VaultRole>, ctx: Arc<Context>) -> Result<Action, Error> {
    let identity = Identity::of(&role)?;
    if role.metadata.deletion_timestamp.is_some() {
        return delete::reconcile(&role, &identity, &ctx).await;
    }
    let mut progress = Progress::of(role.status.as_ref());
    let outcome = provide(&role, &identity, &ctx, &mut progress).await;
    if let Ok(Outcome::Begun) = outcome {
        // The write of the finalizer wakes this role again.
        return Ok(Action::await_change());
    }
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
        Outcome::InPlace => Action::requeue(spread(RESYNC, &identity.uid)),
        // The cluster's watch or an edit wakes it.
        Outcome::Begun | Outcome::Refused(_) | Outcome::Waiting { .. } => Action::await_change(),
    })
}

/// The VaultCluster that a role names.
async fn cluster_of(ctx: &Context, identity: &Identity) -> Result<Option<VaultCluster>, Error> {
    let ClusterName { namespace, name } = &identity.cluster;
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), namespace);
    api.get_opt(name)
        .await
        .map_err(|e| Error::kubernetes("read the VaultCluster", e))
}

/// Gives the role what it asks for, as far as it is allowed.
async fn provide(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    progress: &mut Progress,
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
    let validated = match verdict {
        Ok(validated) => validated,
        Err(refusal) => {
            progress.refusal = Some(refusal.clone());
            // It was accepted before. Access that was taken away in the cluster's spec must end in Vault too.
            if refusal.withdraws && finalizer::is_set(role) {
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
    if finalizer::add(ctx, role).await? {
        return Ok(Outcome::Begun);
    }
    let told = ca_config_map::ensure(ctx, identity, &cluster).await?;
    progress.external = told
        .as_ref()
        .and_then(|told| external_login(&cluster, &told.address));
    progress.config_map = told.map(|told| told.name);
    let vault = session(ctx, &cluster).await?;
    let place = InVault {
        vault: &vault,
        kubernetes_path: cluster.spec.kubernetes_auth_path(),
    };
    let result = provide_in_vault(role, identity, ctx, place, &validated, progress).await;
    forget_a_spoilt_session(ctx, &cluster, &result).await;
    result.map(|()| Outcome::InPlace)
}

/// How injected pods log in, where the Vault runs elsewhere.
fn external_login(cluster: &VaultCluster, address: &str) -> Option<ExternalLoginStatus> {
    let vault = cluster.spec.external.as_ref()?;
    Some(ExternalLoginStatus {
        address: address.to_owned(),
        auth_path: vault.kubernetes_auth.path.clone(),
        namespace: vault.namespace.clone(),
    })
}

async fn session(ctx: &Context, cluster: &VaultCluster) -> Result<Client, Error> {
    ctx.sessions
        .active(ctx, &Target::from(cluster))
        .await
        .map_err(|e| Error::Session(Box::new(e)))
}

async fn forget_a_spoilt_session<T>(ctx: &Context, cluster: &VaultCluster, result: &Result<T, Error>) {
    if let Err(error) = result
        && error.spoils_the_session()
    {
        ctx.sessions
            .forget(cluster.metadata.uid.as_deref().unwrap_or_default())
            .await;
    }
}

/// Where a role is written to.
struct InVault<'a> {
    vault: &'a Client,
    /// Path of the auth method for ServiceAccounts.
    kubernetes_path: &'a str,
}

async fn provide_in_vault(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    InVault {
        vault,
        kubernetes_path,
    }: InVault<'_>,
    validated: &Validated,
    progress: &mut Progress,
) -> Result<(), Error> {
    let desired = desired::desired(&identity.namespace, &identity.name, validated);
    let object = role.object_ref(&());
    progress.vault_name = Some(desired.name.clone());
    let changed = execute::apply(vault, kubernetes_path, &desired).await?;
    if !changed.is_empty() {
        let note = format!(
            "{} `{}` brought to the declared state in Vault",
            changed.join(", "),
            desired.name
        );
        ctx.reporter
            .publish(&object, Reason::IdentityWritten, "", &note)
            .await;
    }
    if let Some(secret_name) = &validated.secret_name {
        let done = credentials::ensure(ctx, vault, identity, &desired.name, secret_name).await?;
        report_credentials(ctx, &object, secret_name, done).await;
    }
    // The Secret of an earlier name goes only when the new one is there.
    if let Some(old) = &progress.secret
        && Some(old) != validated.secret_name.as_ref()
    {
        credentials::remove(ctx, identity, old).await?;
    }
    progress.secret.clone_from(&validated.secret_name);
    Ok(())
}

async fn report_credentials(ctx: &Context, object: &ObjectReference, secret: &str, done: credentials::Done) {
    let credentials::Done { issued, destroyed } = done;
    if issued {
        let note = format!("a new secret-id is stored in Secret {secret}");
        ctx.reporter
            .publish(object, Reason::CredentialsIssued, secret, &note)
            .await;
    }
    if destroyed > 0 {
        let note = format!("{destroyed} secret-ids that were not in Secret {secret} are destroyed");
        ctx.reporter
            .publish(object, Reason::CredentialsDestroyed, secret, &note)
            .await;
    }
}

/// Takes away what a role had that its cluster does not allow any more.
async fn withdraw(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    cluster: &VaultCluster,
    progress: &mut Progress,
) -> Result<(), Error> {
    if let Err(error) = delete::remove_from_vault(identity, ctx, cluster).await
        && !delete::nothing_is_there(&error, role)
    {
        return Err(error);
    }
    for secret in delete::secrets_of(role) {
        credentials::remove(ctx, identity, &secret).await?;
    }
    (progress.secret, progress.vault_name) = (None, None);
    finalizer::remove(ctx, role).await?;
    let note = "the VaultCluster does not allow this any more: policy, roles and Secret are removed";
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::AccessWithdrawn, "", note)
        .await;
    Ok(())
}
