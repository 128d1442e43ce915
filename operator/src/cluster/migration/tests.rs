//! Tests of what is decided about a seal migration.

use super::super::keys::tests::record;
use super::*;
use crate::cluster::validate::{tests::cluster, validate};
use vaultkeeper_vault::SecretString;

const TRANSIT: &str = "  seal: {transit: {address: 'https://kms.test:8200', keyName: k, tokenSecret: {name: n, key: t}}, recovery: {shares: 3, threshold: 2}}";
const SHARES: &str = "  seal: {shamir: {shares: 3, threshold: 2}}";
const AWS: &str = "  seal: {awskms: {region: r, kmsKeyId: k}, recovery: {shares: 3, threshold: 2}}";

fn spec(extra: &str) -> Validated {
    validate(&cluster(extra)).unwrap()
}

fn keys(seal: Option<SealNote>, kind: KeyKind) -> KeyRecord {
    KeyRecord {
        kind,
        shares: ["a", "b", "c"].map(SecretString::from).into(),
        threshold: 2,
        seal,
        ..record(State::Initialized)
    }
}

fn note(in_force: Side, target: Option<Side>, migrations: u32) -> SealNote {
    SealNote {
        in_force,
        target,
        auto: spec(TRANSIT).seal.auto().cloned(),
        migrations,
    }
}

fn member(ordinal: u32, probe: Probe, kind: &str, migrating: bool, mark: Option<&str>) -> Member {
    Member {
        name: format!("main-{ordinal}"),
        ordinal,
        container: Some(format!("c{ordinal}")),
        probe,
        seal_type: Some(kind.to_owned()),
        migrating,
        seal_mark: mark.map(str::to_owned),
        ..Member::default()
    }
}

fn sealed() -> Probe {
    Probe::Sealed { progress: 0 }
}

#[test]
fn a_change_to_another_kind_is_noted_before_anything_is_applied() {
    let began = begin(&spec(TRANSIT), &keys(None, KeyKind::Unseal))
        .unwrap()
        .unwrap();
    assert_eq!(began, note(Side::Shamir, Some(Side::Auto), 0));
    let again = keys(Some(began), KeyKind::Unseal);
    assert_eq!(begin(&spec(TRANSIT), &again), Ok(None), "once");

    let settled = keys(Some(note(Side::Auto, None, 0)), KeyKind::Recovery);
    assert_eq!(
        begin(&spec(SHARES), &settled).unwrap(),
        Some(note(Side::Auto, Some(Side::Shamir), 0)),
        "the seal that the data is under is kept, though the spec has forgotten it"
    );
    assert_eq!(
        begin(&spec(SHARES), &keys(None, KeyKind::Unseal)),
        Ok(None),
        "no change"
    );
    let empty = KeyRecord {
        state: State::Initializing,
        ..keys(None, KeyKind::Unseal)
    };
    assert_eq!(
        begin(&spec(TRANSIT), &empty),
        Ok(None),
        "there is nothing to migrate"
    );
}

#[test]
fn what_cannot_be_migrated_safely_is_refused_with_the_remedy() {
    // Boxed: a list of cases would be large on the stack.
    let spec = |text: &str| Box::new(spec(text));
    let shares = || keys(None, KeyKind::Unseal);
    let held = KeyRecord {
        custody: Some(
            serde_json::from_str(r#"{"threshold":2,"custodians":[{"name":"a","fingerprint":"f"},{"name":"b","fingerprint":"g"}]}"#).unwrap(),
        ),
        shares: Vec::new(),
        threshold: 0,
        ..shares()
    };
    let mut latched = shares();
    latched.seals.latched.insert("main-1".to_owned());
    let unfinished = KeyRecord {
        root_token: Some(SecretString::from("r")),
        ..shares()
    };
    let alone = format!("  replicas: 1\n  profile: Development\n{TRANSIT}");
    let other_numbers = TRANSIT.replace("shares: 3", "shares: 5");
    for (what, cluster, record, wanted) in [
        (
            "a single member",
            spec(&alone),
            shares(),
            "raise spec.replicas to 3",
        ),
        (
            "OpenBao",
            spec(&format!("  distribution: OpenBao\n{TRANSIT}")),
            shares(),
            "with OpenBao",
        ),
        ("custodians", spec(TRANSIT), held, "custodians hold the keys"),
        ("a deliberate seal", spec(TRANSIT), latched, "sealed on purpose"),
        (
            "a bootstrap that is not finished",
            spec(TRANSIT),
            unfinished,
            "before the cluster is set up",
        ),
        (
            "other numbers",
            spec(&other_numbers),
            shares(),
            "spec.seal.recovery.shares to 3 and threshold to 2",
        ),
        (
            "one key management service to another",
            spec(AWS),
            keys(Some(note(Side::Auto, None, 0)), KeyKind::Recovery),
            "change it to shamir first",
        ),
        (
            "a former seal that nobody knows",
            spec(SHARES),
            keys(None, KeyKind::Recovery),
            "put the former spec.seal back",
        ),
    ] {
        let said = begin(&cluster, &record).expect_err(what);
        assert!(said.contains(wanted), "{what}: {wanted:?} should be in: {said}");
    }
    assert!(
        begin(&spec(TRANSIT), &shares()).is_ok(),
        "their neighbour is taken"
    );
}

#[test]
fn a_change_that_is_taken_back_is_taken_back_whatever_holds_the_cluster() {
    let mut under_way = keys(Some(note(Side::Shamir, Some(Side::Auto), 0)), KeyKind::Unseal);
    under_way.seals.latched.insert("main-1".to_owned());
    assert_eq!(
        begin(&spec(SHARES), &under_way).unwrap(),
        Some(note(Side::Shamir, Some(Side::Shamir), 0))
    );
    // Another service cannot be next before the members have returned.
    let said = begin(&spec(AWS), &under_way).unwrap_err();
    assert!(said.contains("change it to shamir first"), "{said}");
}

#[test]
fn the_configuration_follows_from_what_the_data_is_under_and_what_is_wanted() {
    let bound = |extra: &str, note: &SealNote| {
        let bound = bind(&spec(extra), Some(note));
        (bound.former.is_some(), bound.seal_mark)
    };
    let mark = |text: &str| Some(text.to_owned());
    let began = note(Side::Shamir, Some(Side::Auto), 0);
    assert_eq!(bound(TRANSIT, &began), (false, mark("0-shamir-to-auto")));
    assert_eq!(
        bound(SHARES, &note(Side::Shamir, Some(Side::Shamir), 0)),
        (false, None),
        "taken back: the template of before"
    );
    let done = note(Side::Auto, Some(Side::Auto), 1);
    assert_eq!(
        bound(TRANSIT, &done),
        (false, mark("1-auto")),
        "all restart once more"
    );
    let back = note(Side::Auto, Some(Side::Shamir), 1);
    assert_eq!(
        bound(SHARES, &back),
        (true, mark("1-auto-to-shamir")),
        "a seal that the data is under stays in the configuration, disabled"
    );
    assert_eq!(
        bound(SHARES, &note(Side::Shamir, Some(Side::Shamir), 2)),
        (false, mark("2-shamir"))
    );
    assert_eq!(bind(&spec(SHARES), None), spec(SHARES));
}

#[test]
fn only_the_active_member_says_that_the_data_was_migrated() {
    let began = note(Side::Shamir, Some(Side::Auto), 0);
    let with = |active: Member| {
        carried_out(
            &began,
            &[member(0, Probe::Standby, "transit", false, None), active],
        )
    };
    assert_eq!(
        with(member(1, Probe::Active, "shamir", false, None)),
        None,
        "of before"
    );
    assert_eq!(
        with(member(1, Probe::Active, "transit", true, None)),
        None,
        "it has not migrated yet"
    );
    assert_eq!(
        with(member(1, Probe::Active, "transit", false, None)),
        Some(note(Side::Auto, Some(Side::Auto), 1))
    );
    assert_eq!(
        with(member(1, Probe::Active, "awskms", false, None)),
        None,
        "a seal that nobody asked for"
    );
    let taken_back = note(Side::Shamir, Some(Side::Shamir), 0);
    assert_eq!(
        carried_out(&taken_back, &[member(1, Probe::Active, "transit", false, None)]),
        Some(note(Side::Auto, Some(Side::Shamir), 1)),
        "it came before the change was taken back everywhere: the way back is a migration by now"
    );
}

#[test]
fn on_the_way_back_a_process_of_before_proves_nothing() {
    let back = note(Side::Auto, Some(Side::Shamir), 1);
    let says = |kind, migrating, mark| carried_out(&back, &[member(1, Probe::Active, kind, migrating, mark)]);
    assert_eq!(says("transit", false, Some("1-auto")), None);
    assert_eq!(says("shamir", true, Some("1-auto-to-shamir")), None, "not yet");
    assert_eq!(
        says("shamir", false, Some("0-shamir-to-auto")),
        None,
        "a process from before the first migration"
    );
    assert_eq!(
        says("shamir", false, Some("1-auto-to-shamir")),
        Some(note(Side::Shamir, Some(Side::Shamir), 2))
    );
}

#[test]
fn members_in_migration_get_the_keys_only_on_the_way_there() {
    let under_way = keys(Some(note(Side::Shamir, Some(Side::Auto), 0)), KeyKind::Unseal);
    assert!(opens(&under_way, &member(0, sealed(), "transit", true, None)));
    assert!(
        opens(&under_way, &member(0, sealed(), "shamir", false, None)),
        "one that crashed before it was restarted for the new seal"
    );
    assert!(
        !opens(&under_way, &member(0, sealed(), "transit", false, None)),
        "it opens by itself"
    );
    let taken_back = keys(Some(note(Side::Shamir, Some(Side::Shamir), 0)), KeyKind::Unseal);
    assert!(
        !opens(&taken_back, &member(0, sealed(), "transit", true, None)),
        "it is restarted instead"
    );
    let back = keys(Some(note(Side::Auto, Some(Side::Shamir), 1)), KeyKind::Recovery);
    for migrating in [true, false] {
        assert!(opens(&back, &member(0, sealed(), "shamir", migrating, None)));
    }
    let without_note = keys(None, KeyKind::Recovery);
    assert!(!opens(&without_note, &member(0, sealed(), "shamir", true, None)));
}

#[test]
fn it_is_over_when_every_member_has_started_with_the_new_seal_alone() {
    let done = keys(Some(note(Side::Auto, Some(Side::Auto), 1)), KeyKind::Recovery);
    let well = |n, probe| member(n, probe, "transit", false, Some("1-auto"));
    let all = [well(0, Probe::Standby), well(1, Probe::Active)];
    assert_eq!(
        settled(&spec(TRANSIT), &done, &all),
        Some(note(Side::Auto, None, 1))
    );
    let one_left = [
        well(0, Probe::Standby),
        member(1, Probe::Active, "transit", true, None),
    ];
    assert_eq!(settled(&spec(TRANSIT), &done, &one_left), None);
    let one_away = [well(0, Probe::Pending), well(1, Probe::Active)];
    assert_eq!(settled(&spec(TRANSIT), &done, &one_away), None);
    assert_eq!(
        settled(
            &spec(TRANSIT),
            &keys(Some(note(Side::Shamir, Some(Side::Auto), 0)), KeyKind::Unseal),
            &all
        ),
        None,
        "nobody said yet that the data was migrated"
    );
}

#[test]
fn a_seal_that_opens_by_itself_is_remembered_and_shares_need_no_note() {
    let transit = |n| member(n, Probe::Active, "transit", false, None);
    let first = settled(&spec(TRANSIT), &keys(None, KeyKind::Recovery), &[transit(0)]);
    assert_eq!(first, Some(note(Side::Auto, None, 0)));
    assert_eq!(
        settled(&spec(TRANSIT), &keys(first, KeyKind::Recovery), &[transit(0)]),
        None,
        "written once"
    );
    let shamir = member(0, Probe::Active, "shamir", false, None);
    assert_eq!(
        settled(&spec(SHARES), &keys(None, KeyKind::Unseal), &[shamir]),
        None
    );
}
