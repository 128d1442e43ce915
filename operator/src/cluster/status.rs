//! The status of a VaultCluster: computed purely from what was observed, written only when it differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::cluster::MemberStatus;
use vaultkeeper_crds::{VaultCluster, VaultClusterStatus, annotations, names};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::error::Error;
use super::keys::{KeyRecord, State};
use super::plan::Blocked;
use crate::conditions::{self, Status};
use crate::context::Context;
use crate::members::{Member, Probe};

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
    /// Whether the declared configuration is in place.
    pub configured: bool,
    /// Raft's members, when the active member could be asked.
    pub raft: Option<&'a (RaftConfiguration, AutopilotState)>,
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
        configured,
        raft,
    } = facts;
    let wanted = members.len();
    let serving = members.iter().filter(|m| m.probe.serves()).count();
    let active = members.iter().find(|m| m.probe == Probe::Active);
    let initialized = record.is_some_and(|r| r.state == State::Initialized);

    let mut list = old.conditions.clone();
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
    set(conditions::ACCEPTED, true, "Valid", "the spec can work");
    let failed = error.map(|e| (e.reason(), e.chain()));
    let stuck = blocked.map(|b| (b.reason, b.message.clone()));
    if initialized {
        set(
            "Initialized",
            true,
            "KeysStored",
            "initialised, and the unseal shares are stored",
        );
    } else {
        let (reason, message) = stuck
            .clone()
            .or(failed.clone())
            .unwrap_or(("Waiting", "waiting for the first member to answer".to_owned()));
        set("Initialized", false, reason, &message);
    }
    let sealed: Vec<String> = members
        .iter()
        .filter(|m| !m.probe.serves())
        .map(|m| format!("{} is {}", m.name, m.probe.word()))
        .collect();
    let all_serve = serving == wanted && wanted > 0;
    set(
        "Unsealed",
        all_serve,
        if all_serve { "AllMembers" } else { "SomeMembers" },
        &if all_serve {
            "every member serves".to_owned()
        } else {
            sealed.join(", ")
        },
    );
    let in_place = *configured
        || (raft.is_some() && conditions::is_true(&old.conditions, "Configured") && error.is_none());
    match &failed {
        Some((reason, message)) if !in_place => set("Configured", false, reason, message),
        _ if in_place => set(
            "Configured",
            true,
            "InPlace",
            "the declared configuration is in place and no root token is left",
        ),
        _ => set("Configured", false, "Waiting", "waiting for an active member"),
    }
    let (available, reason, message) = match (active, in_place) {
        (Some(leader), true) if all_serve => (
            true,
            "AllMembersServe",
            format!("{} is active, {serving} of {wanted} members serve", leader.name),
        ),
        (Some(leader), true) => (
            true,
            "Degraded",
            format!(
                "{} is active, {serving} of {wanted} members serve: {}",
                leader.name,
                sealed.join(", ")
            ),
        ),
        _ => {
            let (reason, message) = stuck
                .or(failed)
                .unwrap_or_else(|| waiting(initialized, active.is_some(), &sealed));
            (false, reason, message)
        }
    };
    set("Available", available, reason, &message);

    let latched: Vec<&str> = record
        .map(|r| r.seals.latched.iter().map(String::as_str).collect())
        .unwrap_or_default();
    if latched.is_empty() {
        conditions::remove(&mut list, "SealLatched");
    } else {
        let message = format!(
            "{} sealed on purpose and not unsealed by the operator. To release: kubectl annotate vc {} -n {} {}=\"<reason>\"",
            latched.join(", "),
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

    let voter = |name: &str| raft.map(|(c, _)| c.servers.iter().any(|s| s.node_id == name && s.voter));
    VaultClusterStatus {
        observed_generation: generation,
        conditions: list,
        address: Some(names::address(
            &cluster.namespace().unwrap_or_default(),
            &cluster.name_any(),
        )),
        cluster_id: members
            .iter()
            .find_map(|m| m.cluster_id.clone())
            .or(old.cluster_id),
        leader: active.map(|m| m.name.clone()),
        members_ready: Some(format!("{serving}/{wanted}")),
        voters: raft.and_then(|(c, _)| i32::try_from(c.servers.iter().filter(|s| s.voter).count()).ok()),
        failure_tolerance: raft.and_then(|(_, a)| i32::try_from(a.failure_tolerance).ok()),
        members: members
            .iter()
            .map(|m| MemberStatus {
                name: m.name.clone(),
                state: m.probe.word().to_owned(),
                voter: voter(&m.name),
                version: m.version.clone(),
            })
            .collect(),
    }
}

fn waiting(initialized: bool, active: bool, sealed: &[String]) -> (&'static str, String) {
    match (initialized, active) {
        (false, _) => (
            "Initializing",
            format!("waiting for the first member: {}", sealed.join(", ")),
        ),
        (true, false) => (
            "NoActiveMember",
            format!("no member is active: {}", sealed.join(", ")),
        ),
        (true, true) => ("Configuring", "the configuration is being written".to_owned()),
    }
}

/// The status of a spec that cannot work.
pub(crate) fn refused(
    cluster: &VaultCluster,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> VaultClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
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

/// A condition by its type, for the log line.
pub(crate) fn reason_of(status: &VaultClusterStatus, type_: &str) -> String {
    let found: Option<&Condition> = conditions::get(&status.conditions, type_);
    found
        .map(|c| format!("{}: {}", c.reason, c.message))
        .unwrap_or_default()
}
