//! The VaultCluster controller: observe → validate → build and plan → apply and execute → status.

mod applied;
pub(crate) mod apply;
mod bootstrap;
pub mod build;
mod cert_manager;
mod certificates;
pub mod claim;
mod configure;
mod custodians;
pub mod custody;
mod error;
mod execute;
pub mod external;
mod finalize;
mod hand_over;
pub mod key_store;
pub mod keys;
mod last_check;
pub mod migration;
mod monitor;
pub mod openpgp;
mod outage;
mod pace;
pub mod plan;
mod raft;
pub mod readiness;
mod refusal;
mod resize;
mod rollout;
mod run;
pub mod seals;
mod sightings;
pub mod states;
mod status;
pub mod tls;
pub mod tls_store;
pub mod validate;
mod volumes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use vaultkeeper_crds::cluster::{ConfigurationStatus, ReadinessRuleStatus};
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

pub use error::Error;
pub use execute::INIT_TIMEOUT;

use crate::backoff;
use crate::backup::standing;
use crate::conditions;
use crate::context::Context;
use crate::members::{Member, Probe};
use crate::metrics::ClusterNumbers;
use crate::report::Reason;
use claim::Claim;
use keys::{KeyRecord, State};
use plan::Plan;
use status::Facts;
use validate::{AutoSeal, Validated};

/// Parameters of every write.
fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(annotations::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// One pass over a VaultCluster.
pub async fn reconcile(cluster: Arc<VaultCluster>, ctx: Arc<Context>) -> Result<Action, Error> {
    let claim = claim::read(&cluster, &ctx.namespace);
    if let Claim::Anothers(owner) = &claim {
        claim::tell(&ctx, &cluster, owner).await;
        return Ok(Action::await_change());
    }
    if cluster.spec.paused {
        let now = Timestamp::now();
        let left = ctx
            .rules
            .left_to_wait(cluster.metadata.deletion_timestamp.as_ref(), now);
        if left != Some(Duration::ZERO) {
            let paused = status::paused(&cluster, &ctx.rules, now);
            status::write(&ctx, &cluster, &paused).await?;
            return Ok(left.map_or_else(Action::await_change, Action::requeue));
        }
    }
    if cluster.metadata.deletion_timestamp.is_some() {
        finalize::finalize(&ctx, &cluster).await?;
        return Ok(Action::await_change());
    }
    if let Some(vault) = &cluster.spec.external {
        return external::reconcile(&cluster, vault, &ctx).await;
    }
    let validated = match refusal::examine(&ctx, &cluster, &claim).await? {
        Ok(validated) => validated,
        Err(invalid) => {
            let now = Timestamp::now();
            ctx.metrics
                .refused(&cluster.namespace().unwrap_or_default(), &cluster.name_any());
            let refused = status::refused(&cluster, "InvalidSpec", &invalid.to_string(), now);
            status::write(&ctx, &cluster, &refused).await?;
            return Ok(Action::await_change());
        }
    };
    if claim == Claim::Nobodys {
        // The write wakes whoever has won.
        return match claim::claim(&ctx, &cluster).await? {
            Some(_) => Ok(Action::requeue(pace::SOON)),
            None => Ok(Action::requeue(pace::SETTLING)),
        };
    }
    finalize::ensure_finalizer(&ctx, &cluster).await?;
    let mut pass = Pass::default();
    let result = Box::pin(run::run(&ctx, &cluster, &validated, &mut pass)).await;
    if result.as_ref().is_err_and(Error::is_of_a_silent_api_server) {
        // Nor could a kubelet tell of another container: the time in which it might have begins anew.
        ctx.recent.forget(&sightings::sighting(&validated, ""));
    }
    let rated = rate(&ctx, &cluster, &validated, &pass);
    // Of a spec that is refused nothing is known, nor taken away.
    let monitored = match validated.refused {
        None => monitor::keep(&ctx, &validated).await,
        Some(_) => None,
    };
    let facts = Facts {
        members: &pass.members,
        record: pass.record.as_ref(),
        blocked: pass.plan.blocked.as_ref(),
        error: result.as_ref().err(),
        observed: pass.observed,
        configured: pass.configured,
        findings: pass.findings.get(),
        raft: pass.raft.as_ref(),
        seal: validated.refused.is_none().then_some(&validated.seal),
        auto: match validated.refused {
            None => validated.seal.auto().or(pass.former.as_deref()),
            Some(_) => None,
        },
        refused: validated.refusal(),
        rollout: pass.rollout.as_ref(),
        resizing: pass.resizing.as_ref(),
        volumes: pass.volumes.as_ref(),
        readiness: rated.as_deref(),
        certificates: pass.certificates.as_ref(),
        delivered: pass.delivered,
        monitored: monitored.as_ref(),
    };
    let computed = status::compute(&cluster, &facts, Timestamp::now());
    status::write(&ctx, &cluster, &computed).await?;
    if let Some((reason, message)) = status::new_failure(cluster.status.as_ref(), &computed) {
        let about = cluster.object_ref(&());
        ctx.reporter
            .publish(&about, Reason::Failed, reason, message)
            .await;
    }
    readiness::observe::tell(&ctx, &cluster, &computed.readiness_rules).await;
    measure(&ctx, &validated, &pass, &computed);
    let next = requeue(&ctx, &pass, &validated, *result.as_ref().unwrap_or(&false));
    result?;
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
    /// How far the present pod template has come.
    rollout: Option<rollout::Verdict>,
    /// How far it is with another number of members.
    resizing: Option<resize::Verdict>,
    /// What the last look at the volume claims has shown.
    volumes: Option<volumes::Report>,
    /// What is known of the certificates.
    certificates: Option<certificates::Report>,
    /// Whether the Secret for the custodians is in place.
    delivered: bool,
    /// The seal that the data is brought away from.
    former: Option<Box<AutoSeal>>,
}

/// How it stands with the rules for production. None: they cannot be judged before the cluster is set up.
fn rate(
    ctx: &Context,
    cluster: &VaultCluster,
    validated: &Validated,
    pass: &Pass,
) -> Option<Vec<ReadinessRuleStatus>> {
    let record = pass.record.as_ref().filter(|r| r.state == State::Initialized)?;
    let before = cluster.status.as_ref().map_or(&[][..], |s| &s.readiness_rules);
    if !pass.observed || before.is_empty() && record.root_token.is_some() {
        return None;
    }
    let known = readiness::observe::Known {
        members: &pass.members,
        record: Some(record),
        raft: pass.raft.as_ref(),
        backups: standing::judge(cluster, Timestamp::now()),
    };
    let waivers = &cluster.spec.readiness.waivers;
    readiness::observe::rate(ctx, validated, &known, before, waivers)
}

impl Pass {
    /// What keeps the declared configuration from being in place.
    fn problem(&self) -> Option<&(&'static str, String)> {
        self.findings.get()?.problem.as_ref()
    }
}

/// What was applied of the declared configuration.
fn applied_configuration(cluster: &VaultCluster) -> Option<&ConfigurationStatus> {
    cluster.status.as_ref()?.configuration.as_ref()
}

/// Takes away the annotation by which a person asked for something.
async fn drop_annotation(
    ctx: &Context,
    cluster: &VaultCluster,
    annotation: &str,
    step: &'static str,
) -> Result<(), Error> {
    let api: Api<VaultCluster> =
        Api::namespaced(ctx.client.clone(), &cluster.namespace().unwrap_or_default());
    let body = json!({"metadata": {"annotations": {annotation: null}}});
    api.patch(&cluster.name_any(), &patch_params(), &Patch::Merge(&body))
        .await
        .map(drop)
        .map_err(|e| Error::kubernetes(step, e))
}

/// When to look again.
fn requeue(ctx: &Context, pass: &Pass, cluster: &Validated, again: bool) -> Duration {
    let seen = pace::see(pass, cluster.replicas, again);
    let now = Instant::now();
    let print = pace::fingerprint(pass, cluster.generation, seen);
    let unchanged = ctx.recent.look(&format!("{}/pace", cluster.uid), print, now).span;
    let starting = format!("{}/starting", cluster.uid);
    if pace::is_starting(pass.members.iter().any(pace::is_awaited), unchanged) {
        ctx.recent.mark(starting, 0, now);
    } else {
        ctx.recent.forget(&starting);
    }
    pace::next(seen, unchanged)
}

fn count_outdated(pass: &Pass) -> i64 {
    let outdated = pass
        .rollout
        .as_ref()
        .and_then(|verdict| verdict.outdated.as_ref());
    i64::try_from(outdated.map_or(0, Vec::len)).unwrap_or_default()
}

fn measure(ctx: &Context, cluster: &Validated, pass: &Pass, status: &VaultClusterStatus) {
    let count = |test: &dyn Fn(&Probe) -> bool| {
        i64::try_from(pass.members.iter().filter(|m| test(&m.probe)).count()).unwrap_or_default()
    };
    let tls = status.tls.as_ref();
    let second = |time: Option<&Time>| time.map(|time| time.0.as_second());
    let numbers = ClusterNumbers {
        members_wanted: i64::from(cluster.replicas),
        members_ready: count(&Probe::serves),
        members_sealed: count(&|p| matches!(p, Probe::Sealed { .. })),
        members_outdated: count_outdated(pass),
        voters: status.voters.map(i64::from),
        failure_tolerance: status.failure_tolerance.map(i64::from),
        root_tokens: readiness::observe::root_tokens(ctx, cluster),
        certificate_begins: second(tls.and_then(|tls| tls.not_before.as_ref())),
        certificate_ends: second(tls.and_then(|tls| tls.not_after.as_ref())),
        rotations_overdue: ctx
            .sweep
            .overdue(&cluster.namespace, &cluster.name, Timestamp::now()),
        configured: conditions::is_true(&status.conditions, "Configured")
            && conditions::is_true(&status.conditions, conditions::ACCEPTED),
        available: conditions::is_true(&status.conditions, "Available"),
        seal_latched: conditions::is_true(&status.conditions, "SealLatched"),
    };
    ctx.metrics.cluster(&cluster.namespace, &cluster.name, numbers);
}

/// The longest pause after an error: members come and go, and a restarted one is to be unsealed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// When to try again after an error. `pause` grows with each failure in a row.
pub fn error_policy(cluster: &VaultCluster, error: &Error, ctx: &Context, pause: Duration) -> Action {
    let starting = format!("{}/starting", cluster.uid().unwrap_or_default());
    let is_starting = ctx
        .recent
        .is_fresh(&starting, 0, LONGEST_PAUSE * 2, Instant::now());
    Action::requeue(match error {
        Error::Outdated { .. } | Error::Abandoned => (pause / 4).min(LONGEST_PAUSE),
        // An error of one part does not make a restarted member wait.
        _ if is_starting => pause.min(backoff::FIRST),
        _ => pause.min(LONGEST_PAUSE),
    })
}
