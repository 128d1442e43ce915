//! The VaultCluster controller: observe → validate → build and plan → apply and execute → status.

mod apply;
mod bootstrap;
pub mod build;
mod cert_manager;
mod certificates;
pub mod claim;
mod configure;
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
pub mod openpgp;
mod outage;
mod pace;
pub mod plan;
mod raft;
pub mod readiness;
mod refusal;
mod rollout;
pub mod seals;
pub mod states;
mod status;
pub mod tls;
pub mod tls_store;
pub mod validate;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use vaultkeeper_crds::cluster::{ConfigurationStatus, Distribution, ReadinessRuleStatus};
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations, names};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

pub use error::Error;
pub use execute::INIT_TIMEOUT;

use crate::backoff;
use crate::conditions;
use crate::context::Context;
use crate::controllers::hash;
use crate::members::{self, Member, Probe};
use crate::metrics::ClusterNumbers;
use crate::report::Reason;
use certificates::Held;
use claim::Claim;
use execute::Scope;
use keys::{KeyRecord, SealRecord, State};
use plan::{Observed, Plan};
use rollout::Verdict;
use status::Facts;
use validate::{AutoSeal, Storage, Validated};

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
    let result = Box::pin(run(&ctx, &cluster, &validated, &mut pass)).await;
    if result.as_ref().is_err_and(Error::is_of_a_silent_api_server) {
        // Nor could a kubelet tell of another container: the time in which it might have begins anew.
        ctx.recent.forget(&sighting(&validated, ""));
    }
    let rated = rate(&ctx, &cluster, &validated, &pass);
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
        readiness: rated.as_deref(),
        certificates: pass.certificates.as_ref(),
        delivered: pass.delivered,
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
    };
    let waivers = &cluster.spec.readiness.waivers;
    readiness::observe::rate(ctx, validated, &known, before, waivers)
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
    if is_known(cluster) {
        // Before it is applied again: what somebody took away is told, not only put right.
        readiness::observe::network(ctx, validated).await;
    }
    let mut held = certificates::hold(ctx, validated).await?;
    let record = key_store::get(ctx, namespace, name).await;
    let Noted {
        bound,
        is_new,
        applied,
    } = match &record {
        Ok(record) => Box::pin(note_and_apply(ctx, cluster, validated, &held, record.as_ref())).await,
        // That is said below. Which seal the data is under is not known without it.
        Err(_) => Noted::nothing(validated),
    };
    let validated = &bound;
    pass.former.clone_from(&validated.former);
    if applied.is_err() {
        // A spec that waits to be corrected must not let the certificate expire.
        certificates::renew_alone(ctx, cluster, validated, &mut held).await;
    }
    let Some(trust) = held.trust.as_deref() else {
        // No member could be verified. Their pods wait for the certificate as well.
        pass.certificates = certificates::report(validated, &held, &[], None);
        applied?;
        return Err(held.problem.unwrap_or(Error::CertificateMissing {
            secret: validated.tls.secret_name(name),
        }));
    };
    let record = if is_new {
        key_store::get(ctx, namespace, name).await
    } else {
        record
    };
    pass.members = members::observe(ctx, namespace, name, *replicas, trust)
        .await
        .map_err(|e| Error::kubernetes("list the members' pods", e))?;
    let advanced = match &applied {
        Ok(()) => certificates::advance(ctx, cluster, validated, &held, &pass.members).await,
        Err(_) => Ok(None),
    };
    let (rollover, advanced) = match advanced {
        Ok(rollover) => (rollover, Ok(())),
        Err(error) => (None, Err(error)),
    };
    pass.certificates = certificates::report(validated, &held, &pass.members, rollover);
    let applied = applied.and(held.problem.map_or(Ok(()), Err)).and(advanced);
    // Before all that may block: clients of the active name wait for it.
    let labelled = states::follow(ctx, namespace, &pass.members).await;
    // Whatever has become of the keys: members are labelled and told of.
    pass.record = record?;
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
    let release = seals::release_of(cluster.annotations());
    let confirmed = match &pass.record {
        Some(record) => sealed_on_purpose(ctx, validated, &pass.members, &record.seals).await,
        None => BTreeSet::new(),
    };
    let delivered = deliver(ctx, validated, pass).await;
    pass.plan = plan::plan(&Observed {
        members: &pass.members,
        record: pass.record.as_ref(),
        storage: &validated.storage,
        uid: &validated.uid,
        first_volume: first_volume.as_deref(),
        confirmed: &confirmed,
        custodians: !validated.seal.custodians().is_empty(),
        by_shares: validated.seal.auto().is_none(),
        release,
    });
    if validated.refused.is_some() {
        pass.plan.steps.retain(plan::Step::keeps_serving);
    }
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
    tell_who_waits(&scope, cluster.spec.distribution).await;
    let unseals = |step: &plan::Step| matches!(step, plan::Step::Unseal { .. });
    let to_look = pass.plan.steps.contains(&plan::Step::Configure) && has_served(cluster);
    let is_busy = pass.plan.steps.iter().any(unseals);
    if readiness::observe::may_take_its_time(ctx, validated, is_busy) && to_look {
        readiness::observe::look(&scope, is_in_place(cluster)).await;
    }
    let executed = execute::execute_all(&scope, &pass.plan.steps).await;
    if executed.is_ok() && initialized && pass.record.as_ref().is_some_and(|r| r.seals.damaged) {
        scope
            .event(Reason::SealLatched, keys::SEAL_RECORD, &damaged_note(validated))
            .await;
    }
    if pass.plan.steps.contains(&plan::Step::Configure) {
        pass.configured = executed.is_ok() && pass.problem().is_none();
        if matches!(validated.storage, Storage::Raft(_)) {
            pass.raft = raft::observe(ctx, validated).await;
        }
    }
    let problem = applied.as_ref().err().map(rollout::Problem::from);
    let status = cluster.status.as_ref();
    let known = rollout::act::Known {
        ca: trust,
        problem: problem.as_ref(),
        was_begun: status.is_some_and(|status| status.cluster_id.is_some()),
        blocked: pass.plan.blocked.as_ref(),
        raft: pass.raft.as_ref(),
        before: status.map(|s| s.conditions.as_slice()),
    };
    let rolled = Box::pin(rollout::act::roll(&scope, &known)).await;
    let is_rolled_out = rolled.verdict.as_ref().is_some_and(Verdict::is_over);
    let settled = match &applied {
        Ok(()) if is_rolled_out => migration::act::settle(&scope).await,
        _ => Ok(false),
    };
    pass.rollout = rolled.verdict;
    let again = executed?;
    if let Some(reason) = release
        && initialized
        && pass.plan.blocked.is_none()
    {
        let note = format!("released by annotation: {reason}");
        scope.event(Reason::SealReleased, "", &note).await;
        drop_release(ctx, cluster).await?;
    }
    if release.is_none() && cluster.annotations().contains_key(annotations::RELEASE_SEAL) {
        let note = format!(
            "the annotation {} holds no reason, so that no seal is released by it",
            annotations::RELEASE_SEAL
        );
        scope.event(Reason::Refused, "release", &note).await;
        drop_release(ctx, cluster).await?;
    }
    let acted = applied.and(labelled).and(delivered).and(rolled.acted)?;
    Ok(again || acted || settled?)
}

/// What was applied of the spec, and how.
struct Noted {
    /// The cluster with what its members need beside the spec.
    bound: Validated,
    /// Whether the key Secret was written.
    is_new: bool,
    /// What became of it.
    applied: Result<(), Error>,
}

impl Noted {
    fn nothing(cluster: &Validated) -> Self {
        Self {
            bound: cluster.clone(),
            is_new: false,
            applied: Ok(()),
        }
    }
}

/// Applies the spec. Another kind of seal in it is noted before.
async fn note_and_apply(
    ctx: &Context,
    object: &VaultCluster,
    cluster: &Validated,
    held: &Held,
    record: Option<&KeyRecord>,
) -> Noted {
    let noted = match rollout::version::check(object) {
        Ok(()) => migration::act::begin(ctx, object, cluster, record).await,
        Err(error) => Err(error),
    };
    match noted {
        Ok(migration::act::Noted { note, is_new }) => {
            let bound = migration::bind(cluster, note.as_ref());
            let applied = Box::pin(build_and_apply(ctx, &bound, held)).await;
            Noted {
                bound,
                is_new,
                applied,
            }
        }
        Err(error) => Noted {
            bound: migration::bind(cluster, record.and_then(|r| r.seal.as_ref())),
            is_new: false,
            applied: Err(error),
        },
    }
}

/// Puts the encrypted shares where the custodians fetch them. The originals stay in the key Secret.
async fn deliver(ctx: &Context, cluster: &Validated, pass: &mut Pass) -> Result<(), Error> {
    let Some(record) = pass.record.as_ref() else {
        return Ok(());
    };
    let Some(custody) = &record.custody else {
        return Ok(());
    };
    let Validated { namespace, name, .. } = cluster;
    let missing = custody::without_share(custody, &record.encrypted);
    if !missing.is_empty() {
        // To apply what is left would take them out of the copy as well.
        return Err(Error::CustodyIncomplete {
            secret: names::key_secret(namespace, name),
            names: missing.join(", "),
            copy: names::custodian_secret(name),
            namespace: namespace.clone(),
        });
    }
    let secret = build::custodian_secret(cluster, &record.encrypted);
    apply::secret(ctx, cluster, &secret).await?;
    pass.delivered = true;
    Ok(())
}

/// An event for each member that begins to wait for the custodians.
async fn tell_who_waits(scope: &Scope<'_>, distribution: Distribution) {
    let Some(custody) = scope.record.and_then(|r| r.custody.as_ref()) else {
        return;
    };
    let Validated {
        namespace, name, uid, ..
    } = scope.cluster;
    let place = custody::Place {
        namespace,
        name,
        distribution,
    };
    for (waiting, progress) in custody::waiting(scope.members, scope.record) {
        let container = scope.members.iter().find(|m| m.name == waiting);
        let print = hash(&container.and_then(|m| m.container.as_ref()));
        let (key, now) = (format!("{uid}/awaits/{waiting}"), Instant::now());
        if !scope.ctx.recent.is_fresh(&key, print, Duration::MAX, now) {
            let note = custody::instructions(custody, &[(waiting, progress)], place);
            scope.event(Reason::AwaitingCustodians, waiting, &note).await;
            scope.ctx.recent.mark(key, print, now);
        }
    }
}

impl Pass {
    /// What keeps the declared configuration from being in place.
    fn problem(&self) -> Option<&(&'static str, String)> {
        self.findings.get()?.problem.as_ref()
    }
}

/// Whether the rules were judged before, for the present spec.
fn is_known(cluster: &VaultCluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| {
        !status.readiness_rules.is_empty() && status.observed_generation == cluster.metadata.generation
    })
}

/// Whether it was set up and served before this pass. Until then nothing is to keep it from that.
fn has_served(cluster: &VaultCluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| {
        conditions::is_true(&status.conditions, "Available") || !status.readiness_rules.is_empty()
    })
}

/// Whether the configuration of the present spec was applied to Vault.
fn is_in_place(cluster: &VaultCluster) -> bool {
    let list = cluster.status.as_ref().map(|status| &status.conditions);
    let condition = list.and_then(|list| conditions::get(list, "Configured"));
    condition.is_some_and(|c| c.status == "True" && c.observed_generation == cluster.metadata.generation)
}

/// What was applied of the declared configuration.
fn applied_configuration(cluster: &VaultCluster) -> Option<&ConfigurationStatus> {
    cluster.status.as_ref()?.configuration.as_ref()
}

/// Members found sealed, pass after pass, in the container that was seen unsealed. Their pods are read again after
/// they have answered: what was read before may be of a process that had ended by then.
async fn sealed_on_purpose(
    ctx: &Context,
    cluster: &Validated,
    members: &[Member],
    seals: &SealRecord,
) -> BTreeSet<String> {
    let suspects = seals::suspects(members, seals);
    let key = |member: &str| sighting(cluster, &format!("{member}/"));
    for member in members {
        if !suspects.contains_key(member.name.as_str()) {
            ctx.recent.forget(&key(&member.name));
        }
    }
    if suspects.is_empty() {
        return BTreeSet::new();
    }
    let containers = match members::containers(ctx, &cluster.namespace, &cluster.name).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::debug!(%error, "the pods of sealed members could not be read again");
            ctx.recent.forget(&sighting(cluster, ""));
            return BTreeSet::new();
        }
    };
    let is_confirmed = |member: &str, container: &str| {
        if containers.get(member).is_none_or(|now| now != container) {
            ctx.recent.forget(&key(member));
            return false;
        }
        seals::is_deliberate(ctx.recent.look(&key(member), hash(&container), Instant::now()))
    };
    suspects
        .into_iter()
        .filter(|(member, container)| is_confirmed(member, container))
        .map(|(member, _)| member.to_owned())
        .collect()
}

/// Where it is remembered since when a member is seen sealed in the same container.
fn sighting(cluster: &Validated, member: &str) -> String {
    format!("{}/sealed/{member}", cluster.uid)
}

fn damaged_note(cluster: &Validated) -> String {
    let Validated { namespace, name, .. } = cluster;
    format!(
        "the annotation {} of Secret {} is gone or could not be read, so that nobody knows which members were sealed on purpose: it is written anew, and members that did not serve are held. To release them: kubectl annotate vc {name} -n {namespace} {}=\"<reason>\"",
        keys::SEAL_RECORD,
        names::key_secret(namespace, name),
        annotations::RELEASE_SEAL,
    )
}

/// Nothing is applied while our own certificate cannot be made; one from elsewhere is the kubelet's to wait for.
async fn build_and_apply(ctx: &Context, cluster: &Validated, held: &Held) -> Result<(), Error> {
    if let Some(invalid) = cluster.unbuildable() {
        return Err(Error::Refused(invalid.clone()));
    }
    let certificate = match (&held.issued, &held.trust) {
        (Some(leaf), Some(trust)) => Some(build::Certificate { leaf, trust }),
        _ if cluster.tls.is_managed() => return Ok(()),
        // Told as the problem that it is.
        _ if certificates::would_strand(ctx, cluster, held).await? => return Ok(()),
        _ => None,
    };
    let around = build::Around {
        operator_namespace: &ctx.namespace,
        helper: &ctx.helper,
    };
    let objects = Box::new(build::build(cluster, certificate, around)?);
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
    let step = "remove the annotation that released a seal";
    drop_annotation(ctx, cluster, annotations::RELEASE_SEAL, step).await
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
    let numbers = ClusterNumbers {
        members_wanted: i64::from(cluster.replicas),
        members_ready: count(&Probe::serves),
        members_sealed: count(&|p| matches!(p, Probe::Sealed { .. })),
        members_outdated: count_outdated(pass),
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
