//! The VaultCluster controller: observe → validate → build and plan → apply and execute → status.

mod apply;
mod bootstrap;
pub mod build;
mod configure;
mod error;
mod execute;
mod finalize;
pub mod key_store;
pub mod keys;
mod outage;
pub mod plan;
mod states;
mod status;
pub mod tls;
pub mod tls_store;
pub mod validate;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

pub use error::Error;
pub use execute::INIT_TIMEOUT;

use crate::conditions;
use crate::context::Context;
use crate::members::{self, Member, Probe};
use crate::metrics::ClusterNumbers;
use crate::report::Reason;
use crate::sessions::{self, Target};
use execute::Scope;
use keys::{KeyRecord, State};
use plan::{Observed, Plan};
use status::Facts;
use validate::{Storage, Validated};

/// While something is under way: a restarted member is to be unsealed within a second.
const SOON: Duration = Duration::from_millis(250);
/// While new members wait for their vote.
const SETTLING: Duration = Duration::from_secs(2);
/// At rest: a seal through the API makes no Kubernetes event.
const AT_REST: Duration = Duration::from_secs(5);

/// Parameters of every write.
fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(annotations::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// One pass over a VaultCluster.
pub async fn reconcile(cluster: Arc<VaultCluster>, ctx: Arc<Context>) -> Result<Action, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        finalize::finalize(&ctx, &cluster).await?;
        return Ok(Action::await_change());
    }
    if cluster.spec.paused {
        return Ok(Action::await_change());
    }
    let validated = match validate::validate(&cluster) {
        Ok(validated) => validated,
        Err(invalid) => {
            let now = Timestamp::now();
            let refused = status::refused(&cluster, "InvalidSpec", &invalid.to_string(), now);
            status::write(&ctx, &cluster, &refused).await?;
            return Ok(Action::await_change());
        }
    };
    finalize::ensure_finalizer(&ctx, &cluster).await?;
    let mut pass = Pass::default();
    let result = Box::pin(run(&ctx, &cluster, &validated, &mut pass)).await;
    let facts = Facts {
        members: &pass.members,
        record: pass.record.as_ref(),
        blocked: pass.plan.blocked.as_ref(),
        error: result.as_ref().err(),
        observed: pass.observed,
        configured: pass.configured,
        findings: pass.findings.get(),
        raft: pass.raft.as_ref(),
        seal: Some(&validated.seal),
    };
    let computed = status::compute(&cluster, &facts, Timestamp::now());
    status::write(&ctx, &cluster, &computed).await?;
    measure(&ctx, &validated, &pass, &computed);
    let again = result?;
    let next = requeue(&pass, &validated, again);
    tracing::debug!(cluster = %format!("{}/{}", validated.namespace, validated.name), available = %status::reason_of(&computed, "Available"), ?next, "pass");
    Ok(Action::requeue(next))
}

/// What a pass has learnt, for the status, also when it failed half way.
#[derive(Default)]
struct Pass {
    members: Vec<Member>,
    record: Option<KeyRecord>,
    plan: Plan,
    /// Whether members and keys could be looked at; if not, what was known of them stays in the status.
    observed: bool,
    configured: bool,
    /// What a look at the declared configuration found; not every pass looks.
    findings: OnceLock<configure::Findings>,
    raft: Option<(RaftConfiguration, AutopilotState)>,
}

/// An error of one part does not keep the others from their work: a spec that cannot be applied must not stop the
/// unsealing of members that run.
async fn run(
    ctx: &Context,
    cluster: &VaultCluster,
    validated: &Validated,
    pass: &mut Pass,
) -> Result<bool, Error> {
    let Validated {
        namespace,
        name,
        replicas,
        ..
    } = validated;
    let (ca, applied) = match tls_store::ensure_ca(ctx, validated).await {
        Ok(ca) => {
            let applied = Box::pin(build_and_apply(ctx, validated, &ca)).await;
            (ca.certificate, applied)
        }
        Err(Error::CaLost {
            secret,
            certificates,
            certificate,
        }) => (
            certificate.clone(),
            Err(Error::CaLost {
                secret,
                certificates,
                certificate,
            }),
        ),
        Err(error) => return Err(error),
    };
    pass.record = key_store::get(ctx, namespace, name).await?;
    pass.members = members::observe(ctx, namespace, name, *replicas, &ca)
        .await
        .map_err(|e| Error::kubernetes("list the members' pods", e))?;
    // Before all that may block: clients of the active name wait for it.
    let labelled = states::follow(ctx, namespace, &pass.members).await;
    if pass.members.iter().all(|m| m.probe == Probe::Pending) {
        // Perhaps somebody deleted or scaled down the StatefulSet: the next pass applies everything again.
        ctx.recent.forget(&format!("{}/apply/", validated.uid));
    }
    let initialized = pass
        .record
        .as_ref()
        .is_some_and(|r| r.state == State::Initialized);
    let first_volume = match &validated.storage {
        Storage::Raft(_) if !initialized => first_volume(ctx, validated).await?,
        Storage::Ephemeral => pass.members.first().and_then(|m| m.container.clone()),
        Storage::Raft(_) | Storage::Consul(_) => None,
    };
    let release = cluster
        .annotations()
        .get(annotations::RELEASE_SEAL)
        .map(String::as_str);
    pass.plan = plan::plan(&Observed {
        members: &pass.members,
        record: pass.record.as_ref(),
        storage: &validated.storage,
        first_volume: first_volume.as_deref(),
        release,
    });
    pass.observed = true;
    let reference = cluster.object_ref(&());
    let scope = Scope {
        ctx,
        reference: &reference,
        cluster: validated,
        members: &pass.members,
        record: pass.record.as_ref(),
        applied: applied_configuration(cluster),
        findings: &pass.findings,
    };
    let executed = execute::execute_all(&scope, &pass.plan.steps).await;
    if pass.plan.steps.contains(&plan::Step::Configure) {
        pass.configured = executed.is_ok();
        if matches!(validated.storage, Storage::Raft(_)) {
            pass.raft = observe_raft(ctx, validated).await;
        }
    }
    let again = executed?;
    if let Some(reason) = release
        && initialized
        && pass.plan.blocked.is_none()
    {
        let note = format!("released by annotation: {reason}");
        scope.event(Reason::SealReleased, "", &note).await;
        drop_release(ctx, cluster).await?;
    }
    applied.and(labelled).map(|()| again)
}

/// Identifies the declared configuration that was applied last.
fn applied_configuration(cluster: &VaultCluster) -> Option<&str> {
    let status = cluster.status.as_ref()?;
    status.configuration.as_ref()?.applied.as_deref()
}

async fn build_and_apply(ctx: &Context, cluster: &Validated, ca: &tls::Issued) -> Result<(), Error> {
    let leaf = tls_store::current_or_new_leaf(ctx, cluster, ca).await?;
    let objects = Box::new(build::build(cluster, &ca.certificate, &leaf, &ctx.namespace)?);
    apply::apply(ctx, cluster, &objects).await
}

async fn first_volume(ctx: &Context, cluster: &Validated) -> Result<Option<String>, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let claim = claims.get_opt(&build::volume_claim(&cluster.name, 0)).await;
    Ok(claim
        .map_err(|e| Error::kubernetes("read the first member's volume claim", e))?
        .and_then(|c| c.uid()))
}

/// The release is done and recorded: the annotation goes, so that a later seal is latched again.
async fn drop_release(ctx: &Context, cluster: &VaultCluster) -> Result<(), Error> {
    let api: Api<VaultCluster> =
        Api::namespaced(ctx.client.clone(), &cluster.namespace().unwrap_or_default());
    let body = json!({"metadata": {"annotations": {annotations::RELEASE_SEAL: null}}});
    api.patch(&cluster.name_any(), &patch_params(), &Patch::Merge(&body))
        .await
        .map(drop)
        .map_err(|e| Error::kubernetes("remove the annotation that released a seal", e))
}

/// Raft's members and autopilot's judgement. Missing numbers are no failure of the pass.
async fn observe_raft(ctx: &Context, cluster: &Validated) -> Option<(RaftConfiguration, AutopilotState)> {
    let client = ctx.sessions.active(ctx, &Target::from(cluster)).await.ok()?;
    let asked = async {
        Ok::<_, vaultkeeper_vault::Error>((
            client.raft_configuration().await?,
            client.autopilot_state().await?,
        ))
    };
    match asked.await {
        Ok(raft) => Some(raft),
        Err(error) => {
            tracing::debug!(%error, "Raft's state is not known in this pass");
            if sessions::is_spoilt_by(&error) {
                ctx.sessions.forget(&cluster.uid).await;
            }
            None
        }
    }
}

/// When to look again.
fn requeue(pass: &Pass, cluster: &Validated, again: bool) -> Duration {
    let held = pass
        .record
        .as_ref()
        .map(|r| r.seals.latched.clone())
        .unwrap_or_default();
    let waits = |m: &Member| match m.probe {
        // A pod that cannot start makes an event when it does.
        Probe::Active | Probe::Standby | Probe::Removed | Probe::Pending => false,
        Probe::Sealed { .. } => !held.contains(&m.name) && !plan::holds_all(&held, pass.members.len()),
        Probe::Uninitialized | Probe::Unreachable(_) => true,
    };
    let voters = pass
        .raft
        .as_ref()
        .map(|(c, _)| c.servers.iter().filter(|s| s.voter).count());
    if pass.plan.blocked.is_some() {
        AT_REST
    } else if again
        || pass.members.iter().any(waits)
        || !pass.configured && pass.members.iter().any(|m| m.node.is_some())
    {
        SOON
    } else if voters.is_some_and(|v| v < usize::try_from(cluster.replicas).unwrap_or_default()) {
        SETTLING
    } else {
        AT_REST
    }
}

fn measure(ctx: &Context, cluster: &Validated, pass: &Pass, status: &VaultClusterStatus) {
    let count = |test: &dyn Fn(&Probe) -> bool| {
        i64::try_from(pass.members.iter().filter(|m| test(&m.probe)).count()).unwrap_or_default()
    };
    let numbers = ClusterNumbers {
        members_wanted: i64::from(cluster.replicas),
        members_ready: count(&Probe::serves),
        members_sealed: count(&|p| matches!(p, Probe::Sealed { .. })),
        voters: i64::from(status.voters.unwrap_or_default()),
        failure_tolerance: i64::from(status.failure_tolerance.unwrap_or_default()),
        available: conditions::is_true(&status.conditions, "Available"),
        seal_latched: conditions::is_true(&status.conditions, "SealLatched"),
    };
    ctx.metrics.cluster(&cluster.namespace, &cluster.name, numbers);
}

/// The longest pause after an error: members come and go, and a restarted one is to be unsealed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// When to try again after an error. `pause` grows with each failure in a row.
pub fn error_policy(error: &Error, pause: Duration) -> Action {
    match error {
        Error::Outdated { .. } | Error::Abandoned => Action::requeue(SOON),
        _ => Action::requeue(pause.min(LONGEST_PAUSE)),
    }
}
