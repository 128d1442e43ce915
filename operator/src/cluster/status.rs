//! The status of a VaultCluster: computed purely from what was observed, written only when it differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::cluster::ReadinessRuleStatus;
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations, names};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::certificates;
use super::configure::Findings;
use super::custody;
use super::error::Error;
use super::keys::KeyRecord;
use super::migration;
use super::monitor;
use super::outage::{self, Outage};
use super::plan::Blocked;
use super::readiness;
use super::resize;
use super::rollout::{self, Verdict};
use super::tls::judgement::{self, Judgement};
use super::validate::{AutoSeal, Invalid, Seal};
use super::volumes;
use crate::backup::standing::{self, Standing};
use crate::conditions::{self, Draft};
use crate::context::{Context, Rules};
use crate::members::Member;

mod remedies;
mod rows;
mod serving;

/// The operator does nothing to this cluster.
pub(super) const PAUSED: &str = "Paused";
/// Members are sealed, and people hold the shares.
const AWAITING: &str = "AwaitingCustodians";

/// Everything that the status speaks of.
#[derive(Default)]
pub(crate) struct Facts<'a> {
    /// The members.
    pub members: &'a [Member],
    /// The key Secret.
    pub record: Option<&'a KeyRecord>,
    /// What blocks without a person.
    pub blocked: Option<&'a Blocked>,
    /// The error of this pass.
    pub error: Option<&'a Error>,
    /// Whether members and keys could be looked at in this pass.
    pub observed: bool,
    /// Whether the declared configuration is in place.
    pub configured: bool,
    /// What a look at the declared configuration found, when there was one.
    pub findings: Option<&'a Findings>,
    /// Raft's members, when the active member could be asked.
    pub raft: Option<&'a (RaftConfiguration, AutopilotState)>,
    /// The seal, when the spec is known to be valid.
    pub seal: Option<&'a Seal>,
    /// The seal in the members' configuration that opens by itself, if there is one.
    pub auto: Option<&'a AutoSeal>,
    /// How far the present pod template has come.
    pub rollout: Option<&'a Verdict>,
    /// How far it is with another number of members.
    pub resizing: Option<&'a resize::Verdict>,
    /// What a look at the volume claims has shown, when there was one.
    pub volumes: Option<&'a volumes::Report>,
    /// Why the spec is refused.
    pub refused: Option<&'a Invalid>,
    /// How it stands with the rules for production, when they could be judged.
    pub readiness: Option<&'a [ReadinessRuleStatus]>,
    /// The certificates, when they were looked at.
    pub certificates: Option<&'a certificates::Report>,
    /// Whether the Secret for the custodians is in place.
    pub delivered: bool,
    /// How Prometheus watches the members, when that was looked after.
    pub monitored: Option<&'a monitor::Told>,
}

/// Computes the status.
pub(crate) fn compute(cluster: &VaultCluster, facts: &Facts<'_>, now: Timestamp) -> VaultClusterStatus {
    let old = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let Facts {
        members,
        record,
        blocked,
        error,
        observed,
        configured,
        findings,
        raft,
        seal,
        auto,
        rollout,
        resizing,
        volumes,
        refused,
        readiness,
        certificates,
        delivered,
        monitored,
    } = facts;
    let problem = findings.and_then(|f| f.problem.clone());
    let failed = error.map(|e| (e.reason(), e.chain())).or(problem);

    let mut draft = Draft::new(old.conditions.clone(), generation, now);
    draft.remove(PAUSED);
    if let Some(report) = certificates {
        certificate_conditions(&mut draft, report);
    }
    match monitored {
        Some(monitor::Told {
            holds,
            reason,
            message,
        }) => draft.set(monitor::MONITORED, *holds, reason, message),
        None if cluster.spec.monitoring.enabled == Some(false) => draft.remove(monitor::MONITORED),
        None => {}
    }
    match refused {
        None => draft.set(conditions::ACCEPTED, true, "Valid", "the spec can work"),
        Some(invalid) => draft.set(conditions::ACCEPTED, false, "InvalidSpec", &invalid.to_string()),
    }
    // What fails in a pass is said here; whether the cluster serves is judged by what its members answer.
    match &failed {
        Some((reason, message)) => draft.set("Configured", false, reason, message),
        None if *configured => draft.set(
            "Configured",
            true,
            "InPlace",
            "the declared configuration is in place and no root token is left",
        ),
        None => draft.set("Configured", false, "Waiting", "waiting for an active member"),
    }
    if !observed {
        return rows::unobserved(old, draft, members, failed, *certificates);
    }
    let explain = |m: &Member| match resizing.filter(|resizing| resizing.takes_out(m)) {
        Some(_) => Some(resize::taken_out()),
        None => outage::explain(*auto, m),
    };
    let outages: Vec<Option<Outage>> = members.iter().map(explain).collect();
    let awaited = awaited_people(cluster, *record, members);
    let serving = serving::Seen {
        members,
        record: *record,
        stuck: blocked.map(|b| (b.reason, b.message.clone())),
        // At first it is not available before the configuration was tried, so that who waits finds its engines.
        tried: *configured || failed.is_some() || conditions::is_true(&old.conditions, "Available"),
        failed,
        awaited: awaited.as_deref(),
        majority: cluster.spec.storage.raft.as_ref().map(|_| members.len() / 2 + 1),
        outages: &outages,
    };
    serving::tell(&mut draft, &serving);
    let latched = record.and_then(|r| latched(cluster, r, *auto));
    draft.set_while("SealLatched", "SealedOnPurpose", latched.as_deref());
    let rules = readiness.map_or(old.readiness_rules, <[_]>::to_vec);
    if readiness.is_some() {
        let (status, reason, message) = readiness::condition(&rules);
        draft.set(conditions::PRODUCTION_READY, status, reason, &message);
    }
    let differs = seal
        .zip(*record)
        .and_then(|(seal, record)| custody::differs(seal, record));
    match standing::judge(cluster, now) {
        Standing::Off => draft.remove(standing::BACKED_UP),
        Standing::Good(message) => draft.set(standing::BACKED_UP, true, "BackedUp", &message),
        Standing::Bad { reason, message } => draft.set(standing::BACKED_UP, false, reason, &message),
    }
    draft.set_while(AWAITING, "MembersSealed", awaited.as_deref());
    draft.set_while("CustodiansDiffer", "HeldByOthers", differs.as_deref());
    if let Some(findings) = findings {
        drifted(&mut draft, findings);
    }
    let told = migration::report::Told {
        note: record.and_then(|r| r.seal.as_ref()),
        error: *error,
        rollout: *rollout,
        members,
    };
    migration::report::tell(&mut draft, told);
    if let Some(verdict) = rollout {
        rollout::tell(&mut draft, verdict);
    }
    let (reason, message) = match resizing {
        Some(verdict) => (verdict.reason, Some(verdict.message.as_str())),
        None => ("RemovingMember", None),
    };
    draft.set_while("Resizing", reason, message);
    if let Some(volumes) = volumes {
        match &volumes.told {
            Some((reason, message)) => draft.set(volumes::GROWING, true, reason.as_str(), message),
            None => draft.remove(volumes::GROWING),
        }
    }
    VaultClusterStatus {
        observed_generation: generation,
        conditions: draft.finish(),
        address: Some(names::address(
            &cluster.namespace().unwrap_or_default(),
            &cluster.name_any(),
        )),
        login_audience: None,
        ca_hash: None,
        cluster_id: members
            .iter()
            .find_map(|m| m.cluster_id.clone())
            .or(old.cluster_id),
        leader: rows::leader(members),
        members_ready: Some(rows::ready(members)),
        voters: raft.and_then(|(c, _)| i32::try_from(c.voters()).ok()),
        configuration: findings.map(Findings::write).or(old.configuration),
        readiness: (!rules.is_empty()).then(|| readiness::score(&rules)),
        unmet_rules: readiness::unmet(&rules),
        readiness_rules: rules,
        tls: certificates.map(|report| report.tls.clone()).or(old.tls),
        failure_tolerance: raft.and_then(|(_, a)| i32::try_from(a.failure_tolerance).ok()),
        backup: old.backup,
        custody: custody::status(*seal, *record, members, &cluster.name_any(), *delivered),
        members: rows::all(members, &outages, raft.map(|(c, _)| c), *rollout),
    }
}

/// Which members are held sealed, and how that ends. `auto` unseals new processes by itself.
fn latched(cluster: &VaultCluster, record: &KeyRecord, auto: Option<&AutoSeal>) -> Option<String> {
    let members: Vec<&str> = record.seals.latched.iter().map(String::as_str).collect();
    (!members.is_empty()).then(|| {
        format!(
            "{} sealed on purpose and not unsealed by the operator{}. To release: kubectl annotate vc {} -n {} {}=\"<reason>\"",
            members.join(", "),
            match auto {
                Some(by) => format!(
                    ". A restart of the process ends this: {} unseals a new one. To keep it sealed, take that key away from it. Until it is released no member may be evicted, so that a drain of its node (kubectl drain) waits; kubectl delete pod asks nobody",
                    by.describe()
                ),
                None => String::new(),
            },
            cluster.name_any(),
            cluster.namespace().unwrap_or_default(),
            annotations::RELEASE_SEAL,
        )
    })
}

/// What members show, and while two CAs are trusted, how far that is.
fn certificate_conditions(draft: &mut Draft, report: &certificates::Report) {
    let certificates::Report {
        current,
        rollover,
        tls: _,
    } = report;
    let mut set = |type_, judged: &Judgement| {
        let Judgement {
            status,
            reason,
            message,
        } = judged;
        draft.set(type_, *status, reason, message);
    };
    set(judgement::CURRENT, current);
    match rollover {
        Some(rollover) => set(judgement::ROLLOVER, rollover),
        None => draft.remove(judgement::ROLLOVER),
    }
}

/// Who is to unseal which members, and how, where people are to.
fn awaited_people(cluster: &VaultCluster, record: Option<&KeyRecord>, members: &[Member]) -> Option<String> {
    let custody = record.and_then(|r| r.custody.as_ref())?;
    let waiting = custody::waiting(members, record);
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let place = custody::Place {
        namespace: &namespace,
        name: &name,
        distribution: cluster.spec.distribution,
    };
    (!waiting.is_empty()).then(|| custody::instructions(custody, &waiting, place))
}

/// The condition is there only while something differs that was left.
pub(super) fn drifted(draft: &mut Draft, findings: &Findings) {
    let left = &findings.left;
    let message = (!left.is_empty()).then(|| {
        format!(
            "changed in Vault by somebody else: {}. Put it right there, or set spec.configuration.drift to Enforce",
            left.join("; ")
        )
    });
    draft.set_while("Drifted", "DiffersFromSpec", message.as_deref());
}

/// The status of a cluster that is left alone: what was known of it stays.
pub(crate) fn paused(cluster: &VaultCluster, rules: &Rules, now: Timestamp) -> VaultClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let (reason, message) = if cluster.metadata.deletion_timestamp.is_some() {
        (
            "DeletionHeld",
            format!(
                "spec.paused is true: the deletion waits for {}; then the object goes, and its volumes and keys stay, whatever spec.deletionPolicy says. To let the deletion go on as usual, set spec.paused to false",
                rules.patience(),
            ),
        )
    } else {
        (
            "SpecPaused",
            "spec.paused is true: the operator does nothing to this cluster, and the rest of this status may be old".to_owned(),
        )
    };
    let end = status.tls.as_ref().and_then(|tls| tls.not_after.as_ref());
    let message = match end.filter(|_| cluster.spec.tls.managed.is_some()) {
        Some(end) => format!(
            "{message}. The members' certificate is not renewed either, and ends at {}",
            end.0
        ),
        None => message,
    };
    let mut draft = Draft::new(status.conditions, cluster.metadata.generation, now);
    draft.set(PAUSED, true, reason, &message);
    status.conditions = draft.finish();
    status
}

/// The status of a spec that cannot work.
pub(crate) fn refused(
    cluster: &VaultCluster,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> VaultClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let mut draft = Draft::new(status.conditions, cluster.metadata.generation, now);
    draft.remove(PAUSED);
    draft.set(conditions::ACCEPTED, false, reason, message);
    if !draft.has("Available") {
        draft.set("Available", false, reason, message);
    }
    status.conditions = draft.finish();
    status.observed_generation = cluster.metadata.generation;
    status
}

/// Writes the status if it differs from what is there.
pub(crate) async fn write(
    ctx: &Context,
    cluster: &VaultCluster,
    status: &VaultClusterStatus,
) -> Result<(), Error> {
    // Another controller's, which may have written a newer one since.
    let status = &VaultClusterStatus {
        backup: None,
        ..status.clone()
    };
    let known = cluster.status.clone().map(|known| VaultClusterStatus {
        backup: None,
        ..known
    });
    if known.as_ref() == Some(status) {
        return Ok(());
    }
    let api: Api<VaultCluster> =
        Api::namespaced(ctx.client.clone(), &cluster.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": format!("{}/{}", vaultkeeper_crds::GROUP, vaultkeeper_crds::VERSION),
        "kind": "VaultCluster",
        "metadata": {"name": cluster.name_any()},
        "status": status,
    });
    match api
        .patch_status(
            &cluster.name_any(),
            &super::patch_params().force(),
            &Patch::Apply(&body),
        )
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes("write the status", error)),
    }
}

/// What fails now and did not fail like this before, for an event: its reason and message.
pub(crate) fn new_failure<'a>(
    before: Option<&VaultClusterStatus>,
    after: &'a VaultClusterStatus,
) -> Option<(&'a str, &'a str)> {
    let configured = |status: &'a VaultClusterStatus| conditions::get(&status.conditions, "Configured");
    let now = configured(after).filter(|c| c.status == "False" && c.reason != "Waiting")?;
    let known = before.and_then(|status| conditions::get(&status.conditions, "Configured"));
    let is_new = known.is_none_or(|known| known.reason != now.reason);
    is_new.then_some((now.reason.as_str(), now.message.as_str()))
}

/// A condition by its type, for the log line.
pub(crate) fn reason_of(status: &VaultClusterStatus, type_: &str) -> String {
    let found: Option<&Condition> = conditions::get(&status.conditions, type_);
    found
        .map(|c| format!("{}: {}", c.reason, c.message))
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
