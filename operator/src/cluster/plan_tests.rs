//! Tests of what is to be done next.

use vaultkeeper_vault::SecretString;

use super::super::keys::tests::record;
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

fn raft() -> Storage {
    Storage::Raft(serde_yaml::from_str("{}").unwrap())
}

fn run(members: &[Member], record: Option<&KeyRecord>, volume: Option<&str>) -> Plan {
    run_on(&raft(), members, record, volume)
}

fn run_on(storage: &Storage, members: &[Member], record: Option<&KeyRecord>, volume: Option<&str>) -> Plan {
    plan(&Observed {
        members,
        record,
        storage,
        uid: "u",
        first_volume: volume,
        confirmed: &BTreeSet::new(),
        custodians: false,
        by_shares: true,
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
        custodians: false,
        by_shares: true,
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
        custodians: false,
        by_shares: true,
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
        custodians: false,
        by_shares: true,
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
        custodians: false,
        by_shares: true,
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

fn custody() -> super::super::custody::Custody {
    super::super::custody::Custody {
        threshold: 2,
        custodians: Vec::new(),
    }
}

fn with_custodians(members: &[Member], record: &KeyRecord) -> Vec<Step> {
    let storage = raft();
    let observed = Observed {
        members,
        record: Some(record),
        storage: &storage,
        uid: "u",
        first_volume: None,
        confirmed: &BTreeSet::new(),
        custodians: true,
        by_shares: true,
        release: None,
    };
    let mut plan = plan(&observed);
    plan.steps.retain(|step| !matches!(step, Step::RecordSeals(_)));
    plan.steps
}

#[test]
fn shares_are_handed_over_when_no_root_token_is_left_and_every_member_serves() {
    let two = [member(0, "c0", Probe::Active), member(1, "c1", Probe::Standby)];
    let mut stored = record(State::Initialized);
    assert_eq!(with_custodians(&two, &stored), [Step::Configure, Step::HandOver]);
    stored.root_token = Some(SecretString::from("root"));
    assert_eq!(
        with_custodians(&two, &stored),
        [Step::Bootstrap],
        "the root token goes first"
    );
    stored.root_token = None;
    let joining = [member(0, "c0", Probe::Active), member(1, "c1", sealed())];
    assert_eq!(
        with_custodians(&joining, &stored),
        [Step::Unseal { member: 1 }, Step::Configure],
        "a member that joins needs the old share"
    );
}

#[test]
fn while_a_hand_over_is_open_no_share_is_sent_that_may_be_dead() {
    let mut open = record(State::Initialized);
    open.hand_over = vec![super::super::custody::Attempt {
        nonce: "n".to_owned(),
        custody: custody(),
    }];
    let one_sealed = [member(0, "c0", Probe::Active), member(1, "c1", sealed())];
    assert_eq!(
        with_custodians(&one_sealed, &open),
        [Step::Configure, Step::HandOver],
        "the active member knows which shares are in force"
    );
    let none_active = [member(0, "c0", sealed()), member(1, "c1", sealed())];
    assert_eq!(
        with_custodians(&none_active, &open),
        [Step::Unseal { member: 0 }, Step::Unseal { member: 1 }],
        "nobody can be asked: perhaps the old ones still work"
    );
}

#[test]
fn members_whose_shares_people_hold_are_left_to_them() {
    let mut held = record(State::Initialized);
    held.shares = Vec::new();
    held.custody = Some(custody());
    let members = [member(0, "c0", Probe::Active), member(1, "c1", sealed())];
    assert_eq!(with_custodians(&members, &held), [Step::Configure]);
    let all = [member(0, "c0", sealed()), member(1, "c1", sealed())];
    assert_eq!(with_custodians(&all, &held), []);
}

#[test]
fn members_that_were_started_for_another_kind_of_seal_are_not_initialised() {
    let mut members = [
        member(0, "c", Probe::Uninitialized),
        member(1, "c", Probe::Uninitialized),
    ];
    for member in &mut members {
        member.seal_type = Some("shamir".to_owned());
    }
    assert_eq!(run(&members, None, None).steps, [Step::Mark], "they fit the spec");
    members[0].seal_type = Some("transit".to_owned());
    for record in [None, Some(&record(State::Initializing))] {
        let blocked = run(&members, record, None)
            .blocked
            .expect("nothing is asked of them");
        assert_eq!(blocked.reason, "SealDiffers");
        assert!(
            blocked.message.contains("kubectl delete pod main-0. They"),
            "{}",
            blocked.message
        );
    }
}
