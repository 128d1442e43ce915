//! A VaultCluster whose Vault runs elsewhere: observe → configuration as code → status. Nothing here initialises,
//! unseals or seals, and no key, pod or Service is made.

mod allowed;
pub(crate) mod ca;
mod error;
mod open;
mod status;
mod validate;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::controller::Action;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::ExternalVault;
use vaultkeeper_vault::Error as VaultError;
use vaultkeeper_vault::sys::health::Health;

use super::configure::{self, Declaration, Findings, Looks};
use super::error::Error as ClusterError;
use super::validate::Invalid;
use super::{applied_configuration, claim, finalize, pace};
use crate::conditions;
use crate::context::Context;
use crate::hex::short_hash;
use crate::metrics::ClusterNumbers;
use crate::report::Reason;
use crate::sessions::{self, SessionError, Target};

pub use allowed::{Address, AddressError, AllowedAddress, AllowedAddresses};
pub use error::Error;
pub(crate) use open::{Opened, open};
pub(crate) use validate::External;

/// How often a Vault that serves is asked how it is.
const AT_REST: Duration = Duration::from_secs(30);
/// How often one that does not serve is.
const AWAITED: Duration = Duration::from_secs(10);

/// Whether a spec with `external` can work.
///
/// # Errors
/// The field that stands in the way, and the remedy.
pub fn accepts(cluster: &VaultCluster, vault: &ExternalVault) -> Result<(), Invalid> {
    validate::validate(cluster, vault).map(drop)
}

/// What a pass has learnt, also when it failed half way.
#[derive(Default)]
struct Pass {
    ca_hash: Option<String>,
    health: Option<Health>,
    findings: Option<Findings>,
}

/// One pass over a VaultCluster that is neither paused nor being deleted.
pub(super) async fn reconcile(
    cluster: &VaultCluster,
    vault: &ExternalVault,
    ctx: &Context,
) -> Result<Action, ClusterError> {
    let external = match validate::validate(cluster, vault) {
        Ok(external) => external,
        Err(invalid) => {
            let now = Timestamp::now();
            let refused = super::status::refused(cluster, "InvalidSpec", &invalid.to_string(), now);
            super::status::write(ctx, cluster, &refused).await?;
            return Ok(Action::await_change());
        }
    };
    if claim::read(cluster, &ctx.namespace) == claim::Claim::Nobodys {
        // The write wakes whoever has won.
        return match claim::claim(ctx, cluster).await? {
            Some(_) => Ok(Action::requeue(pace::SOON)),
            None => Ok(Action::requeue(pace::SETTLING)),
        };
    }
    finalize::ensure_finalizer(ctx, cluster).await?;
    let mut pass = Pass::default();
    let result = Box::pin(run(ctx, cluster, &external, &mut pass)).await;
    let facts = status::Facts {
        external: &external,
        ca_hash: pass.ca_hash.as_deref(),
        health: pass.health.as_ref(),
        findings: pass.findings.as_ref(),
        error: result.as_ref().err(),
    };
    let computed = status::compute(cluster, &facts, Timestamp::now());
    super::status::write(ctx, cluster, &computed).await?;
    if let Some((reason, message)) = super::status::new_failure(cluster.status.as_ref(), &computed) {
        let about = cluster.object_ref(&());
        ctx.reporter
            .publish(&about, Reason::Failed, reason, message)
            .await;
    }
    let available = conditions::is_true(&computed.conditions, "Available");
    let numbers = ClusterNumbers {
        members_wanted: 0,
        members_ready: 0,
        members_sealed: 0,
        members_outdated: 0,
        voters: None,
        failure_tolerance: None,
        root_tokens: None,
        certificate_begins: None,
        certificate_ends: None,
        rotations_overdue: ctx
            .sweep
            .overdue(&external.namespace, &external.name, Timestamp::now()),
        configured: result.is_ok(),
        available,
        seal_latched: false,
    };
    ctx.metrics.cluster(&external.namespace, &external.name, numbers);
    match result {
        Ok(()) if available => Ok(Action::requeue(AT_REST)),
        Ok(()) => Ok(Action::requeue(AWAITED)),
        // Only a new spec, or an operator with other settings, can help.
        Err(ClusterError::Session(error)) if error.is_final() => Ok(Action::await_change()),
        Err(error) => Err(error),
    }
}

async fn run(
    ctx: &Context,
    cluster: &VaultCluster,
    external: &External,
    pass: &mut Pass,
) -> Result<(), ClusterError> {
    let session_error = |error| ClusterError::from(Box::new(SessionError::from(error)));
    let Opened { client, address, ca } = open(ctx, &external.namespace, &external.vault)
        .await
        .map_err(session_error)?;
    let ca_hash = short_hash(ca.as_bytes(), 8);
    let before = cluster.status.as_ref().and_then(|status| status.ca_hash.as_ref());
    if before.is_some_and(|before| *before != ca_hash) {
        // A session made before goes on to trust what is trusted no more.
        ctx.sessions
            .forget(cluster.metadata.uid.as_deref().unwrap_or_default())
            .await;
    }
    pass.ca_hash = Some(ca_hash);
    let health = client.health().await;
    let health = health.map_err(|error| unhealthy(&address, error))?;
    let health = &*pass.health.insert(health);
    if validate::ignores_namespaces(external, health) {
        return Err(session_error(Error::NamespaceIgnored { address }));
    }
    if !health.is_unsealed() {
        return Ok(());
    }
    let target = Target::from(cluster);
    let client = ctx
        .sessions
        .active(ctx, &target)
        .await
        .map_err(|e| ClusterError::from(Box::new(e)))?;
    // With the address: another Vault holds nothing of it.
    let looks = Looks::recall(
        &ctx.recent,
        &external.uid,
        &external.configuration,
        address.as_str(),
    );
    let before = looks.findings(applied_configuration(cluster));
    if looks.are_fresh() {
        pass.findings = Some(before);
        return Ok(());
    }
    let reference = cluster.object_ref(&());
    let declaration = Declaration {
        ctx,
        reference: &reference,
        namespace: &external.namespace,
        distribution: external.distribution,
        configuration: &external.configuration,
        store: &address,
    };
    let (findings, looked) = Box::pin(configure::look(&declaration, &client, before)).await;
    if let Err(error) = &looked
        && error.vault_cause().is_some_and(sessions::is_spoilt_by)
    {
        ctx.sessions.forget(&target.uid).await;
    }
    looks.keep(findings.clone(), &looked);
    pass.findings = Some(findings);
    looked
}

/// Why there is no health. Of a server that did answer no word is repeated: it may have seen a token before.
fn unhealthy(address: &str, error: VaultError) -> ClusterError {
    match error {
        silent if !silent.is_answer() => ClusterError::vault("read the health", address, silent),
        answered => {
            let address = address.to_owned();
            let reason = answered.reason();
            Box::new(SessionError::from(Error::NoVault { address, reason })).into()
        }
    }
}
