//! What to do next, from what was observed. Pure: this is where keys could be lost, so nothing here does I/O.

use std::collections::BTreeSet;

use super::keys::{KeyKind, KeyRecord, SealRecord, State};
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
    /// Send the shares to a member.
    Unseal {
        /// Index in the list of members.
        member: usize,
    },
    /// With the root token: audit, auth methods, the operator's own login; then revoke the root token.
    Bootstrap,
    /// With the operator's own login: keep the declared configuration.
    Configure,
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
    // Members that unseal themselves are left to it. Only a seal on purpose that was released does not end by itself:
    // recovery keys open it as shares would.
    let ours_to_unseal = record.kind == KeyKind::Unseal || observed.release.is_some();
    let held = seals::held(observed.members, &seals);
    if ours_to_unseal && !seals::holds_all(&held, observed.members.len()) {
        let sealed = observed.members.iter().enumerate().filter(|(_, m)| {
            matches!(m.probe, Probe::Sealed { .. }) && m.container.is_some() && !held.contains(&m.name)
        });
        steps.extend(sealed.map(|(index, _)| Step::Unseal { member: index }));
    }
    if observed.members.iter().any(|m| m.probe == Probe::Active) {
        steps.push(if record.root_token.is_some() {
            Step::Bootstrap
        } else {
            Step::Configure
        });
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
mod tests {
    use vaultkeeper_vault::SecretString;

    use super::*;

    fn member(ordinal: u32, container: &str, probe: Probe) -> Member {
        Member {
            name: format!("main-{ordinal}"),
            ordinal,
            container: Some(container.to_owned()),
            probe,
            ..Member::default()
        }
    }

    fn sealed() -> Probe {
        Probe::Sealed { progress: 0 }
    }

    fn record(state: State) -> KeyRecord {
        KeyRecord {
            kind: KeyKind::Unseal,
            state,
            attempt: "a".into(),
            identity: "u".into(),
            wiping_volume: None,
            shares: vec![SecretString::from("s")],
            threshold: 1,
            root_token: None,
            seals: SealRecord::default(),
            resource_version: "1".into(),
        }
    }

    fn raft() -> Storage {
        Storage::Raft(serde_yaml::from_str("{}").unwrap())
    }

    fn run(members: &[Member], record: Option<&KeyRecord>, volume: Option<&str>) -> Plan {
        run_on(&raft(), members, record, volume)
    }

    fn run_on(
        storage: &Storage,
        members: &[Member],
        record: Option<&KeyRecord>,
        volume: Option<&str>,
    ) -> Plan {
        plan(&Observed {
            members,
            record,
            storage,
            uid: "u",
            first_volume: volume,
            confirmed: &BTreeSet::new(),
            release: None,
        })
    }

    #[test]
    fn the_marker_is_written_before_the_first_init() {
        let members = [
            member(0, "c", Probe::Uninitialized),
            member(1, "c", Probe::Uninitialized),
        ];
        assert_eq!(run(&members, None, None).steps, [Step::Mark]);
        assert_eq!(
            run(&members, Some(&record(State::Initializing)), None).steps,
            [Step::Initialize]
        );
    }

    #[test]
    fn no_cluster_is_begun_while_a_member_that_may_hold_data_is_away() {
        let members = [
            member(0, "c", Probe::Uninitialized),
            member(1, "c", Probe::Pending),
        ];
        assert!(run(&members, None, None).steps.is_empty());
    }

    #[test]
    fn members_of_two_clusters_block() {
        let mut members = [member(0, "c", Probe::Active), member(1, "c", Probe::Active)];
        members[0].cluster_id = Some("one".into());
        members[1].cluster_id = Some("two".into());
        let plan = run(&members, Some(&record(State::Initialized)), None);
        assert!(plan.steps.is_empty());
        assert_eq!(plan.blocked.unwrap().reason, "SplitCluster");
    }

    #[test]
    fn nothing_but_the_first_member_is_ever_initialised() {
        let members = [
            member(0, "c", Probe::Pending),
            member(1, "c", Probe::Uninitialized),
        ];
        assert!(run(&members, None, None).steps.is_empty());
        assert!(
            run(&members, Some(&record(State::Initializing)), None)
                .steps
                .is_empty()
        );
    }

    #[test]
    fn a_lost_reply_leads_to_a_wipe_and_a_new_attempt() {
        let lost = [member(0, "c", sealed())];
        assert_eq!(
            run(&lost, Some(&record(State::Initializing)), Some("v1")).steps,
            [Step::BeginWipe { volume: "v1".into() }]
        );
        let mut wiping = record(State::Wiping);
        wiping.wiping_volume = Some("v1".into());
        assert_eq!(
            run(&lost, Some(&wiping), Some("v1")).steps,
            [Step::Wipe { volume: "v1".into() }]
        );
        let empty = [member(0, "d", Probe::Uninitialized)];
        assert_eq!(run(&empty, Some(&wiping), Some("v2")).steps, [Step::EndWipe]);
        assert!(
            run(&lost, Some(&wiping), Some("v2")).steps.is_empty(),
            "a volume that was not condemned is not wiped"
        );
    }

    #[test]
    fn nothing_is_initialised_or_wiped_while_another_member_holds_data() {
        let members = [member(0, "c", sealed()), member(1, "c", Probe::Standby)];
        for state in [State::Initializing, State::Wiping] {
            let mut known = record(state);
            known.wiping_volume = Some("v1".into());
            let plan = run(&members, Some(&known), Some("v1"));
            assert!(plan.steps.is_empty(), "{state:?}: {plan:?}");
            assert_eq!(plan.blocked.unwrap().reason, "ForeignData", "{state:?}");
        }
    }

    #[test]
    fn a_stored_cluster_is_never_initialised_or_wiped_again() {
        let empty = [
            member(0, "c", Probe::Uninitialized),
            member(1, "c", Probe::Uninitialized),
        ];
        let plan = run(&empty, Some(&record(State::Initialized)), Some("v1"));
        assert!(plan.steps.is_empty());
        assert_eq!(plan.blocked.unwrap().reason, "StorageLost");
    }

    #[test]
    fn an_initialised_member_without_a_key_secret_blocks() {
        let plan = run(&[member(0, "c", sealed())], None, Some("v1"));
        assert!(plan.steps.is_empty());
        assert_eq!(plan.blocked.unwrap().reason, "KeysMissing");
    }

    #[test]
    fn a_new_process_is_unsealed_and_an_old_one_is_latched() {
        let mut known = record(State::Initialized);
        known.seals.unsealed.insert("main-0".into(), "c1".into());
        let new = [
            member(0, "c2", sealed()),
            member(1, "c", Probe::Active),
            member(2, "c", Probe::Standby),
        ];
        let steps = run(&new, Some(&known), None).steps;
        assert!(steps.contains(&Step::Unseal { member: 0 }), "{steps:?}");

        let same = [
            member(0, "c1", sealed()),
            member(1, "c", Probe::Active),
            member(2, "c", Probe::Standby),
        ];
        let unseals = |steps: &[Step]| steps.iter().any(|s| matches!(s, Step::Unseal { .. }));
        let steps = run(&same, Some(&known), None).steps;
        assert!(!unseals(&steps), "held from the first sighting: {steps:?}");
        assert!(
            !steps
                .iter()
                .any(|s| matches!(s, Step::RecordSeals(seals) if !seals.latched.is_empty())),
            "the kubelet may be late: {steps:?}"
        );
        let confirmed = BTreeSet::from(["main-0".to_owned()]);
        let steps = plan(&Observed {
            members: &same,
            record: Some(&known),
            storage: &raft(),
            uid: "u",
            first_volume: None,
            confirmed: &confirmed,
            release: None,
        })
        .steps;
        assert!(!unseals(&steps), "{steps:?}");
        let Some(Step::RecordSeals(seals)) = steps.first() else {
            panic!("the latch must be recorded first: {steps:?}")
        };
        assert!(seals.latched.contains("main-0"));
    }

    #[test]
    fn a_latch_outlives_a_restart_of_the_member() {
        let mut known = record(State::Initialized);
        known.seals.latched.insert("main-0".into());
        known.seals.unsealed.insert("main-0".into(), "c1".into());
        let members = [
            member(0, "c2", sealed()),
            member(1, "c", Probe::Active),
            member(2, "c", Probe::Standby),
        ];
        let steps = run(&members, Some(&known), None).steps;
        assert!(
            !steps.iter().any(|s| matches!(s, Step::Unseal { .. })),
            "{steps:?}"
        );
    }

    #[test]
    fn two_latched_of_three_hold_the_third_as_well() {
        let mut known = record(State::Initialized);
        known
            .seals
            .latched
            .extend(["main-0".to_owned(), "main-1".to_owned()]);
        let members = [
            member(0, "c", sealed()),
            member(1, "c", sealed()),
            member(2, "new", sealed()),
        ];
        assert!(
            !run(&members, Some(&known), None)
                .steps
                .iter()
                .any(|s| matches!(s, Step::Unseal { .. }))
        );
    }

    #[test]
    fn two_of_three_that_may_have_been_sealed_on_purpose_hold_the_third_meanwhile() {
        let mut known = record(State::Initialized);
        for n in 0..2 {
            known.seals.unsealed.insert(format!("main-{n}"), "c".into());
        }
        let members = [
            member(0, "c", sealed()),
            member(1, "c", sealed()),
            member(2, "new", sealed()),
        ];
        let steps = run(&members, Some(&known), None).steps;
        assert!(steps.is_empty(), "{steps:?}");
    }

    #[test]
    fn a_release_unseals_what_was_latched() {
        let mut known = record(State::Initialized);
        known.seals.latched.insert("main-0".into());
        known.seals.unsealed.insert("main-0".into(), "c1".into());
        let members = [
            member(0, "c1", sealed()),
            member(1, "c", Probe::Active),
            member(2, "c", Probe::Standby),
        ];
        let observed = Observed {
            members: &members,
            record: Some(&known),
            storage: &raft(),
            uid: "u",
            first_volume: None,
            confirmed: &BTreeSet::new(),
            release: Some("drill over"),
        };
        let steps = plan(&observed).steps;
        assert!(
            matches!(steps.first(), Some(Step::RecordSeals(s)) if s.latched.is_empty()),
            "{steps:?}"
        );
        assert!(steps.contains(&Step::Unseal { member: 0 }), "{steps:?}");
    }

    #[test]
    fn members_that_unseal_themselves_get_no_keys_unless_a_seal_is_released() {
        let mut known = record(State::Initialized);
        known.kind = KeyKind::Recovery;
        known.seals.unsealed.insert("main-0".into(), "c1".into());
        let unseals = |plan: &Plan| plan.steps.iter().any(|s| matches!(s, Step::Unseal { .. }));

        let restarted = [member(0, "c2", sealed())];
        assert_eq!(run(&restarted, Some(&known), None).steps, [], "it unseals itself");

        let same = [member(0, "c1", sealed())];
        let confirmed = BTreeSet::from(["main-0".to_owned()]);
        let storage = raft();
        let latched = plan(&Observed {
            members: &same,
            record: Some(&known),
            storage: &storage,
            uid: "u",
            first_volume: None,
            confirmed: &confirmed,
            release: None,
        });
        assert!(
            matches!(latched.steps.first(), Some(Step::RecordSeals(s)) if s.latched.contains("main-0")),
            "sealed in the same process: {:?}",
            latched.steps
        );
        assert!(!unseals(&latched));

        known.seals.latched.insert("main-0".into());
        let released = plan(&Observed {
            members: &same,
            record: Some(&known),
            storage: &storage,
            uid: "u",
            first_volume: None,
            confirmed: &BTreeSet::new(),
            release: Some("drill over"),
        });
        assert!(unseals(&released), "{:?}", released.steps);

        let back = [member(0, "c2", Probe::Active)];
        let steps = run(&back, Some(&known), None).steps;
        assert!(
            matches!(steps.first(), Some(Step::RecordSeals(s)) if s.latched.is_empty()),
            "a process that unsealed itself is not latched any more: {steps:?}"
        );
    }

    #[test]
    fn a_lost_memory_is_started_over_and_a_lost_volume_is_not() {
        let mut known = record(State::Initialized);
        known.seals.unsealed.insert("main-0".into(), "c1".into());
        let empty = [member(0, "c2", Probe::Uninitialized)];
        assert_eq!(
            run_on(&Storage::Ephemeral, &empty, Some(&known), Some("c2")).steps,
            [Step::StartOver]
        );
        assert!(run(&empty, Some(&known), None).blocked.is_some());

        known.seals.latched.insert("main-0".into());
        assert_eq!(
            run_on(&Storage::Ephemeral, &empty, Some(&known), Some("c2")).steps,
            [],
            "a seal on purpose holds"
        );

        let mut earlier = record(State::Initialized);
        earlier.identity = "of a deleted VaultCluster with volumes".into();
        let plan = run_on(&Storage::Ephemeral, &empty, Some(&earlier), Some("c2"));
        assert_eq!(plan.steps, [], "keys of kept data are never forgotten");
        assert_eq!(plan.blocked.unwrap().reason, "KeysOfAnother");
    }

    #[test]
    fn a_lost_answer_with_consul_needs_a_person() {
        let consul = Storage::Consul(serde_yaml::from_str("{address: 'https://c:8501'}").unwrap());
        let marked = record(State::Initializing);
        let empty = [
            member(0, "c", Probe::Uninitialized),
            member(1, "c", Probe::Uninitialized),
        ];
        assert_eq!(
            run_on(&consul, &empty, Some(&marked), None).steps,
            [Step::Initialize]
        );
        let all_see_it = [member(0, "c", sealed()), member(1, "c", sealed())];
        let plan = run_on(&consul, &all_see_it, Some(&marked), None);
        assert!(plan.steps.is_empty());
        let blocked = plan.blocked.unwrap();
        assert_eq!(blocked.reason, "InitializationLost");
        assert!(
            blocked.message.contains("consul kv delete -recurse vault/"),
            "{}",
            blocked.message
        );
    }

    #[test]
    fn the_root_token_means_bootstrap_and_its_absence_means_upkeep() {
        let members = [member(0, "c", Probe::Active)];
        let mut known = record(State::Initialized);
        known.seals.unsealed.insert("main-0".into(), "c".into());
        assert_eq!(run(&members, Some(&known), None).steps, [Step::Configure]);
        known.root_token = Some(SecretString::from("r"));
        assert_eq!(run(&members, Some(&known), None).steps, [Step::Bootstrap]);
    }
}
