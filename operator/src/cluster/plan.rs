//! What to do next, from what was observed. Pure: this is where keys could be lost, so nothing here does I/O.

use std::collections::BTreeSet;

use super::keys::{KeyKind, KeyRecord, SealRecord, State};
use super::migration::{self, SealNote};
use super::seals;
use super::validate::Storage;
use crate::members::{Member, Probe};

/// Everything that decides about initialisation and seals.
pub struct Observed<'a> {
    /// One entry per wanted member, in order.
    pub members: &'a [Member],
    /// The key Secret.
    pub record: Option<&'a KeyRecord>,
    /// Where the data lies.
    pub storage: &'a Storage,
    /// UID of the VaultCluster.
    pub uid: &'a str,
    /// What holds the first member's data: the UID of its volume claim, or its container if the data is in memory.
    pub first_volume: Option<&'a str>,
    /// Members that were sealed on purpose and are not latched yet.
    pub confirmed: &'a BTreeSet<String>,
    /// Whether the spec asks for people to hold the shares.
    pub custodians: bool,
    /// Whether the spec asks for unseal shares.
    pub by_shares: bool,
    /// Reason given with the annotation that releases a latched seal.
    pub release: Option<&'a str>,
}

/// One thing to do. Each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the key Secret with the marker: proof that the operator can write where the keys will go.
    Mark,
    /// `sys/init` on the first member, then the shares and the root token in one write.
    Initialize,
    /// Note that the first member's volume holds a store that nobody can open.
    BeginWipe {
        /// UID of that volume's claim, or the container.
        volume: String,
    },
    /// Delete that volume and its pod.
    Wipe {
        /// UID of that volume's claim.
        volume: String,
    },
    /// The new volume is empty: back to the marker, as a new attempt.
    EndWipe,
    /// The memory that held the data is gone with its process: back to the marker, without the keys.
    StartOver,
    /// Write down which containers are unsealed and which members are latched.
    RecordSeals(SealRecord),
    /// Write down that Vault has migrated the data to another seal.
    RecordSeal(SealNote),
    /// Send the shares to a member.
    Unseal {
        /// Index in the list of members.
        member: usize,
    },
    /// With the root token: audit, auth methods, the operator's own login; then revoke the root token.
    Bootstrap,
    /// With the operator's own login: keep the declared configuration.
    Configure,
    /// With the operator's own login: new shares, encrypted to the custodians, in the place of the stored ones.
    HandOver,
}

impl Step {
    /// Whether it keeps a cluster serving that was set up before, and needs nothing of its spec.
    pub(super) fn keeps_serving(&self) -> bool {
        matches!(
            self,
            Self::RecordSeals(_) | Self::RecordSeal(_) | Self::Unseal { .. }
        )
    }
}

/// Why nothing can go on without a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Reason of the condition.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Steps of this pass, and what blocks further ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Set when a person has to act.
    pub blocked: Option<Blocked>,
}

impl Plan {
    fn step(step: Step) -> Self {
        Self {
            steps: vec![step],
            blocked: None,
        }
    }

    fn blocked(reason: &'static str, message: String) -> Self {
        Self {
            steps: Vec::new(),
            blocked: Some(Blocked { reason, message }),
        }
    }
}

/// Decides.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let Some(first) = observed.members.first() else {
        return Plan::default();
    };
    if observed
        .record
        .is_none_or(|record| record.state == State::Initializing)
        && let Some(blocked) = other_seal(observed)
    {
        return blocked;
    }
    let holds_data = |m: &&Member| m.probe.is_initialized();
    match observed.record {
        None => match observed.members.iter().find(holds_data) {
            Some(member) => Plan::blocked(
                "KeysMissing",
                format!(
                    "{} is initialised, but the key Secret is not there: restore it from a backup{}. Nothing is initialised or unsealed until then",
                    member.name,
                    match observed.storage {
                        Storage::Consul(consul) => format!(
                            ", or, if the data below {} in Consul is another cluster's, create this one with another spec.storage.consul.path",
                            consul.path
                        ),
                        Storage::Raft(_) | Storage::Ephemeral => String::new(),
                    }
                ),
            ),
            // All of them, so that a member with data that is merely away is not outvoted by a new cluster.
            None if observed.members.iter().all(|m| m.probe == Probe::Uninitialized) => {
                Plan::step(Step::Mark)
            }
            None => Plan::default(),
        },
        Some(record) => match record.state {
            State::Initializing => plan_initializing(observed, first),
            State::Wiping => plan_wiping(observed, record, first),
            State::Initialized => plan_initialized(observed, record),
        },
    }
}

/// Empty members that were started for another kind of seal than the spec has by now: what `sys/init` is asked for would not
/// fit, and there is nothing to migrate.
fn other_seal(observed: &Observed<'_>) -> Option<Plan> {
    let differs = |m: &&Member| {
        let by_shares = m.seal_type.as_deref().map(|kind| kind == migration::SHAMIR);
        m.probe == Probe::Uninitialized && by_shares.is_some_and(|is| is != observed.by_shares)
    };
    let stale: Vec<&str> = observed
        .members
        .iter()
        .filter(differs)
        .map(|m| m.name.as_str())
        .collect();
    (!stale.is_empty()).then(|| {
        Plan::blocked(
            "SealDiffers",
            format!(
                "spec.seal was changed to another kind before anything was initialised, and {} still run for the one before: kubectl delete pod {}. They are empty",
                stale.join(", "),
                stale.join(" ")
            ),
        )
    })
}

/// Data on another member than the first cannot come from an initialisation of ours: nothing is made or wiped.
fn foreign_data(observed: &Observed<'_>) -> Option<Plan> {
    let other = observed
        .members
        .iter()
        .skip(1)
        .find(|m| m.probe.is_initialized())?;
    Some(Plan::blocked(
        "ForeignData",
        format!(
            "{} already holds data, though this cluster was never initialised: delete its volume claim if that data is not needed",
            other.name
        ),
    ))
}

fn plan_initializing(observed: &Observed<'_>, first: &Member) -> Plan {
    if let Storage::Consul(consul) = observed.storage {
        // All members see the same data, and the operator has no business in Consul.
        return match observed.members.iter().find(|m| m.probe.is_initialized()) {
            Some(member) => Plan::blocked(
                "InitializationLost",
                format!(
                    "{} says that the data below {} in Consul is initialised, but its keys were never stored: the answer of sys/init was lost, or the path is another cluster's. If nobody needs that data, delete it (consul kv delete -recurse {}) and then each pod",
                    member.name, consul.path, consul.path
                ),
            ),
            None if first.probe == Probe::Uninitialized => Plan::step(Step::Initialize),
            None => Plan::default(),
        };
    }
    if let Some(blocked) = foreign_data(observed) {
        return blocked;
    }
    match (&first.probe, observed.first_volume) {
        (Probe::Uninitialized, _) => Plan::step(Step::Initialize),
        // The reply of an earlier sys/init was lost before its shares were stored.
        (probe, Some(volume)) if probe.is_initialized() => Plan::step(Step::BeginWipe {
            volume: volume.to_owned(),
        }),
        _ => Plan::default(),
    }
}

fn plan_wiping(observed: &Observed<'_>, record: &KeyRecord, first: &Member) -> Plan {
    if let Some(blocked) = foreign_data(observed) {
        return blocked;
    }
    let condemned = record.wiping_volume.as_deref();
    match observed.first_volume {
        Some(volume) if Some(volume) == condemned => Plan::step(Step::Wipe {
            volume: volume.to_owned(),
        }),
        Some(_) if first.probe == Probe::Uninitialized => Plan::step(Step::EndWipe),
        _ => Plan::default(),
    }
}

fn plan_initialized(observed: &Observed<'_>, record: &KeyRecord) -> Plan {
    if observed.members.iter().all(|m| m.probe == Probe::Uninitialized) {
        if *observed.storage == Storage::Ephemeral {
            return plan_lost_memory(observed, record);
        }
        return Plan::blocked(
            "StorageLost",
            "every member is empty, but keys of an earlier store exist: restore the volumes or a snapshot. \
             If that data is gone for good, delete the key Secret by hand and the cluster starts anew"
                .to_owned(),
        );
    }
    if let Some((one, other)) = split(observed.members) {
        return Plan::blocked(
            "SplitCluster",
            format!(
                "{one} and {other} belong to two different Vault clusters: delete the pod and the volume claim of the one whose data is not wanted"
            ),
        );
    }
    let mut steps = Vec::new();
    let seals = seals::next(
        observed.members,
        &record.seals,
        observed.confirmed,
        observed.release.is_some(),
    );
    if seals != record.seals {
        steps.push(Step::RecordSeals(seals.clone()));
    }
    steps.extend(migration::next(record, observed.members));
    // Members that unseal themselves are left to it. Only a seal on purpose that was released does not end by itself:
    // recovery keys open it as shares would.
    // What people hold, people unseal with. While a hand-over is open, whether the stored shares are still the right ones
    // is found out at the active member, and tried on the others only where there is none.
    let is_active = observed.members.iter().any(|m| m.probe == Probe::Active);
    let ours_to_unseal =
        record.custody.is_none() && (record.hand_over.is_empty() || !is_active || !observed.custodians);
    let held = seals::held(observed.members, &seals);
    if ours_to_unseal && !seals::holds_all(&held, observed.members.len()) {
        let sealed = observed.members.iter().enumerate().filter(|(_, m)| {
            let is_ours = migration::opens(record, m) || (observed.release.is_some() && !m.migrating);
            matches!(m.probe, Probe::Sealed { .. })
                && m.container.is_some()
                && is_ours
                && !held.contains(&m.name)
        });
        steps.extend(sealed.map(|(index, _)| Step::Unseal { member: index }));
    }
    if is_active {
        steps.push(if record.root_token.is_some() {
            Step::Bootstrap
        } else {
            Step::Configure
        });
        // Old shares do not open a member that joins later, and make it hang: all of them must be there.
        let all_serve = observed.members.iter().all(|m| m.probe.serves());
        let is_due = observed.custodians
            && record.custody.is_none()
            && record.kind == KeyKind::Unseal
            && record.seal.as_ref().is_none_or(|note| note.target.is_none());
        if is_due && record.root_token.is_none() && (all_serve || !record.hand_over.is_empty()) {
            steps.push(Step::HandOver);
        }
    }
    Plan { steps, blocked: None }
}

/// Data in memory ends with its process. A seal on purpose holds all the same: what comes after it is a person's choice.
fn plan_lost_memory(observed: &Observed<'_>, record: &KeyRecord) -> Plan {
    let Some(first) = observed.members.first() else {
        return Plan::default();
    };
    if record.identity != observed.uid {
        return Plan::blocked(
            "KeysOfAnother",
            "the key Secret is of an earlier VaultCluster of this name, whose data may have been kept: choose another \
             name, or, if that data is gone for good, delete the key Secret by hand"
                .to_owned(),
        );
    }
    let another_process = first
        .container
        .as_ref()
        .is_some_and(|container| record.seals.unsealed.get(&first.name) != Some(container));
    let held = !record.seals.latched.is_empty() && observed.release.is_none();
    if another_process && !held {
        Plan::step(Step::StartOver)
    } else {
        Plan::default()
    }
}

/// Two members that serve for different clusters.
fn split(members: &[Member]) -> Option<(&str, &str)> {
    let mut known = members
        .iter()
        .filter(|m| m.probe.serves())
        .filter_map(|m| Some((m, m.cluster_id.as_ref()?)));
    let (first, id) = known.next()?;
    known
        .find(|(_, other)| *other != id)
        .map(|(other, _)| (first.name.as_str(), other.name.as_str()))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
