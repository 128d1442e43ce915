//! The status of a VaultCluster: computed purely from what was observed, written only when it differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::cluster::{MemberStatus, ReadinessRuleStatus};
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations, names};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::certificates;
use super::configure::Findings;
use super::custody;
use super::error::Error;
use super::keys::{KeyKind, KeyRecord, State};
use super::migration;
use super::outage::{self, Outage};
use super::plan::Blocked;
use super::readiness;
use super::rollout::{self, Verdict};
use super::tls::judgement::{self, Judgement};
use super::validate::{AutoSeal, Invalid, Seal};
use crate::conditions::{self, Status};
use crate::context::{Context, Rules};
use crate::members::{Member, Probe};

mod rows;

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
    /// Why the spec is refused.
    pub refused: Option<&'a Invalid>,
    /// How it stands with the rules for production, when they could be judged.
    pub readiness: Option<&'a [ReadinessRuleStatus]>,
    /// The certificates, when they were looked at.
    pub certificates: Option<&'a certificates::Report>,
    /// Whether the Secret for the custodians is in place.
    pub delivered: bool,
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
        refused,
        readiness,
        certificates,
        delivered,
    } = facts;
    let wanted = members.len();
    let serving = members.iter().filter(|m| m.probe.serves()).count();
    let active = members.iter().find(|m| m.probe == Probe::Active);
    let initialized = record.is_some_and(|r| r.state == State::Initialized);
    let set_up = record.is_some_and(|r| r.state == State::Initialized && r.root_token.is_none());
    let kind = record.map_or(KeyKind::Unseal, |r| r.kind);
    let problem = findings.and_then(|f| f.problem.clone());
    let failed = error.map(|e| (e.reason(), e.chain())).or(problem);
    let stuck = blocked.map(|b| (b.reason, b.message.clone()));

    let mut list = old.conditions.clone();
    conditions::remove(&mut list, PAUSED);
    if let Some(report) = certificates {
        certificate_conditions(&mut list, report, generation, now);
    }
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        conditions::set(
            &mut list,
            type_,
            Status::from(holds),
            reason,
            message,
            generation,
            now,
        );
    };
    match refused {
        None => set(conditions::ACCEPTED, true, "Valid", "the spec can work"),
        Some(invalid) => set(conditions::ACCEPTED, false, "InvalidSpec", &invalid.to_string()),
    }
    // What fails in a pass is said here; whether the cluster serves is judged by what its members answer.
    match &failed {
        Some((reason, message)) => set("Configured", false, reason, message),
        None if *configured => {
            set(
                "Configured",
                true,
                "InPlace",
                "the declared configuration is in place and no root token is left",
            );
        }
        None => set("Configured", false, "Waiting", "waiting for an active member"),
    }
    if !observed {
        let mut status = old;
        if let Some(report) = certificates {
            status.tls = Some(report.tls.clone());
        }
        let failed_words = failed.clone();
        if conditions::get(&list, "Available").is_none() {
            let (reason, message) = failed.unwrap_or(("Waiting", "not looked at yet".to_owned()));
            conditions::set(
                &mut list,
                "Available",
                Status::False,
                reason,
                &message,
                generation,
                now,
            );
        }
        if !members.is_empty() {
            rows::without_keys(
                &mut status,
                &mut list,
                members,
                failed_words.as_ref(),
                generation,
                now,
            );
        }
        status.conditions = list;
        return status;
    }
    if initialized {
        let message = match record.and_then(|r| r.custody.as_ref()) {
            Some(custody) => format!(
                "initialised, and the {} are with {}",
                kind.words(),
                custody.quorum()
            ),
            None => format!("initialised, and the {} are stored", kind.words()),
        };
        set("Initialized", true, "KeysStored", &message);
    } else {
        let waits = (
            "Waiting",
            "waiting for every member to answer that it is empty".to_owned(),
        );
        let (reason, message) = stuck.clone().or(failed.clone()).unwrap_or(waits);
        set("Initialized", false, reason, &message);
    }
    let others: Vec<String> = members
        .iter()
        .filter(|m| !m.probe.serves())
        .map(Member::says)
        .collect();
    let outages: Vec<Option<Outage>> = members.iter().map(|m| outage::explain(*auto, m)).collect();
    let others = with_reasons(&others.join(", "), &outages);
    let awaited = awaited_people(cluster, *record, members);
    let all_serve = serving == wanted && wanted > 0;
    if all_serve {
        set("Unsealed", true, "AllMembers", "every member serves");
    } else {
        set("Unsealed", false, "SomeMembers", &others);
    }
    // At first it is not available before the configuration was tried, so that who waits finds its engines.
    let tried = *configured || failed.is_some() || conditions::is_true(&old.conditions, "Available");
    match active.filter(|_| set_up && tried && stuck.is_none()) {
        Some(leader) if all_serve => {
            let message = format!("{} is active, {serving} of {wanted} members serve", leader.name);
            set("Available", true, "AllMembersServe", &message);
        }
        Some(leader) => {
            let message = format!(
                "{} is active, {serving} of {wanted} members serve: {others}",
                leader.name
            );
            set("Available", true, "Degraded", &message);
        }
        None => {
            let (reason, message) = stuck
                .or(failed)
                .or_else(|| awaited.clone().map(|words| (AWAITING, words)))
                .or_else(|| {
                    outages
                        .iter()
                        .flatten()
                        .next()
                        .map(|o| (o.reason, others.clone()))
                })
                .unwrap_or_else(|| waiting(initialized, active.is_some(), &others));
            set("Available", false, reason, &message);
        }
    }

    let latched: Vec<&str> = record
        .map(|r| r.seals.latched.iter().map(String::as_str).collect())
        .unwrap_or_default();
    if latched.is_empty() {
        conditions::remove(&mut list, "SealLatched");
    } else {
        let message = format!(
            "{} sealed on purpose and not unsealed by the operator{}. To release: kubectl annotate vc {} -n {} {}=\"<reason>\"",
            latched.join(", "),
            match seal.and_then(Seal::auto) {
                Some(by) => format!(
                    ". A restart of the process ends this: {} unseals a new one. To keep it sealed, take that key away from it",
                    by.describe()
                ),
                None => String::new(),
            },
            cluster.name_any(),
            cluster.namespace().unwrap_or_default(),
            annotations::RELEASE_SEAL,
        );
        conditions::set(
            &mut list,
            "SealLatched",
            Status::True,
            "SealedOnPurpose",
            &message,
            generation,
            now,
        );
    }

    let rows = readiness.map_or(old.readiness_rules, <[_]>::to_vec);
    if readiness.is_some() {
        let (status, reason, message) = readiness::condition(&rows);
        let type_ = conditions::PRODUCTION_READY;
        conditions::set(&mut list, type_, status, reason, &message, generation, now);
    }

    let differs = seal
        .zip(*record)
        .and_then(|(seal, record)| custody::differs(seal, record));
    for (type_, reason, message) in [
        (AWAITING, "MembersSealed", awaited),
        ("CustodiansDiffer", "HeldByOthers", differs),
    ] {
        match message {
            Some(words) => conditions::set(&mut list, type_, Status::True, reason, &words, generation, now),
            None => conditions::remove(&mut list, type_),
        }
    }

    if let Some(findings) = findings {
        drifted(&mut list, findings, generation, now);
    }
    let told = migration::report::Told {
        note: record.and_then(|r| r.seal.as_ref()),
        error: *error,
        rollout: *rollout,
        members,
    };
    migration::report::tell(&mut list, told, generation, now);
    if let Some(verdict) = rollout {
        rollout::tell(&mut list, verdict, generation, now);
    }
    let voter = |name: &str| raft.map(|(configuration, _)| configuration.has_vote(name));
    VaultClusterStatus {
        observed_generation: generation,
        conditions: list,
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
        leader: active.map(|m| m.name.clone()),
        members_ready: Some(format!("{serving}/{wanted}")),
        voters: raft.and_then(|(c, _)| i32::try_from(c.voters()).ok()),
        configuration: findings.map(Findings::write).or(old.configuration),
        readiness: (!rows.is_empty()).then(|| readiness::score(&rows)),
        unmet_rules: readiness::unmet(&rows),
        readiness_rules: rows,
        tls: certificates.map(|report| report.tls.clone()).or(old.tls),
        failure_tolerance: raft.and_then(|(_, a)| i32::try_from(a.failure_tolerance).ok()),
        custody: custody::status(*seal, *record, members, &cluster.name_any(), *delivered),
        members: members
            .iter()
            .zip(&outages)
            .map(|(m, outage)| MemberStatus {
                name: m.name.clone(),
                state: m.probe.word().to_owned(),
                voter: voter(&m.name),
                version: m.version.clone(),
                up_to_date: rollout.and_then(|verdict| verdict.is_current(m)),
                certificate: m.certificate.as_ref().map(|shown| shown.serial.clone()),
                message: outage
                    .as_ref()
                    .map(|o| o.message.clone())
                    .or_else(|| rows::unready(m)),
            })
            .collect(),
    }
}

/// What members show, and while two CAs are trusted, how far that is.
fn certificate_conditions(
    list: &mut Vec<Condition>,
    report: &certificates::Report,
    generation: Option<i64>,
    now: Timestamp,
) {
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
        conditions::set(list, type_, *status, reason, message, generation, now);
    };
    set(judgement::CURRENT, current);
    match rollover {
        Some(rollover) => set(judgement::ROLLOVER, rollover),
        None => conditions::remove(list, judgement::ROLLOVER),
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

/// The members that do not serve, and each reason once.
fn with_reasons(others: &str, outages: &[Option<Outage>]) -> String {
    let mut text = others.to_owned();
    let mut said: Vec<&str> = Vec::new();
    for outage in outages.iter().flatten() {
        if !said.contains(&outage.message.as_str()) {
            said.push(&outage.message);
            text = format!("{text}; {}", outage.message);
        }
    }
    text
}

/// The condition is there only while something differs that was left.
pub(super) fn drifted(
    list: &mut Vec<Condition>,
    findings: &Findings,
    generation: Option<i64>,
    now: Timestamp,
) {
    match findings.left.as_slice() {
        [] => conditions::remove(list, "Drifted"),
        left => {
            let message = format!(
                "changed in Vault by somebody else: {}. Put it right there, or set spec.configuration.drift to Enforce",
                left.join("; ")
            );
            conditions::set(
                list,
                "Drifted",
                Status::True,
                "DiffersFromSpec",
                &message,
                generation,
                now,
            );
        }
    }
}

fn waiting(initialized: bool, active: bool, others: &str) -> (&'static str, String) {
    match (initialized, active) {
        (false, _) => (
            "Initializing",
            format!("waiting for every member to be up and empty: {others}"),
        ),
        (true, false) => ("NoActiveMember", format!("no member is active: {others}")),
        (true, true) => ("Configuring", "the configuration is being written".to_owned()),
    }
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
    conditions::set(
        &mut status.conditions,
        PAUSED,
        Status::True,
        reason,
        &message,
        cluster.metadata.generation,
        now,
    );
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
    conditions::remove(&mut status.conditions, PAUSED);
    status.observed_generation = cluster.metadata.generation;
    conditions::set(
        &mut status.conditions,
        conditions::ACCEPTED,
        Status::False,
        reason,
        message,
        cluster.metadata.generation,
        now,
    );
    if conditions::get(&status.conditions, "Available").is_none() {
        conditions::set(
            &mut status.conditions,
            "Available",
            Status::False,
            reason,
            message,
            cluster.metadata.generation,
            now,
        );
    }
    status
}

/// Writes the status if it differs from what is there.
pub(crate) async fn write(
    ctx: &Context,
    cluster: &VaultCluster,
    status: &VaultClusterStatus,
) -> Result<(), Error> {
    if cluster.status.as_ref() == Some(status) {
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
