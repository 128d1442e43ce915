//! Tests of who holds the shares and what a hand-over does next.

use super::super::keys;
use super::super::keys::SealRecord;
use super::*;

fn custody() -> Custody {
    let holder = |name: &str| Holder {
        name: name.to_owned(),
        fingerprint: format!("{name}-key"),
    };
    Custody {
        threshold: 2,
        custodians: ["alice", "bob", "carol"].map(holder).into(),
    }
}

fn backup(nonce: &str, fingerprints: &[&str]) -> RekeyBackup {
    RekeyBackup {
        nonce: nonce.to_owned(),
        keys: fingerprints
            .iter()
            .map(|f| ((*f).to_owned(), vec![format!("message for {f}")]))
            .collect(),
    }
}

fn whole(nonce: &str) -> RekeyBackup {
    backup(nonce, &["alice-key", "bob-key", "carol-key"])
}

fn attempt(nonce: &str, fingerprints: &[&str]) -> RekeyStatus {
    RekeyStatus {
        nonce: nonce.to_owned(),
        started: true,
        shares: 3,
        threshold: 2,
        pgp_fingerprints: fingerprints.iter().map(|f| (*f).to_owned()).collect(),
        backup: true,
        ..RekeyStatus::default()
    }
}

fn noted_attempt(nonce: &str) -> Attempt {
    Attempt {
        nonce: nonce.to_owned(),
        custody: custody(),
    }
}

fn run(
    noted: &[&str],
    status: &RekeyStatus,
    backup: Option<&RekeyBackup>,
    in_force: (u32, u32),
    stored: (u32, u32),
) -> Next {
    let noted: Vec<Attempt> = noted.iter().map(|n| noted_attempt(n)).collect();
    let seen = Seen {
        noted: &noted,
        status,
        backup,
        in_force,
        stored,
    };
    next(&custody(), &seen)
}

#[test]
fn a_fresh_cluster_starts_an_attempt() {
    let idle = RekeyStatus::default();
    assert_eq!(run(&[], &idle, None, (1, 1), (1, 1)), Next::Start);
}

#[test]
fn a_lost_answer_is_made_good_from_the_backup_once_the_new_shares_are_in_force() {
    let idle = RekeyStatus::default();
    let kept = run(&["n1"], &idle, Some(&whole("n1")), (3, 2), (1, 1));
    let Next::Keep(for_whom, encrypted) = kept else {
        panic!("the backup should be kept: {kept:?}");
    };
    assert_eq!(for_whom, custody());
    assert_eq!(encrypted["bob"], "message for bob-key");
    assert_eq!(encrypted.len(), 3);

    assert_eq!(
        run(&["n1"], &idle, Some(&whole("n1")), (1, 1), (1, 1)),
        Next::Start,
        "Vault died between the backup and the new key: the old share is in force"
    );
    assert_eq!(
        run(&["n1"], &idle, Some(&whole("n2")), (3, 2), (1, 1)),
        Next::Start,
        "a backup of somebody else's attempt says nothing"
    );
    assert_eq!(
        run(&["n1"], &idle, Some(&whole("n1")), (3, 2), (3, 2)),
        Next::Start,
        "with equal numbers only the old shares themselves can tell"
    );
    let others = backup("n1", &["alice-key", "bob-key", "mallory-key"]);
    assert_eq!(
        run(&["n1"], &idle, Some(&others), (3, 2), (1, 1)),
        Next::Start,
        "one share is missing"
    );
}

#[test]
fn an_open_attempt_is_ended_if_it_is_ours_and_left_if_it_is_not() {
    let names = ["alice-key", "bob-key", "carol-key"];
    let open = attempt("n1", &names);
    assert_eq!(
        run(&["n1"], &open, None, (1, 1), (1, 1)),
        Next::CancelAndStart("n1".to_owned())
    );
    let theirs = attempt("n9", &["alice-key", "bob-key", "mallory-key"]);
    assert_eq!(run(&[], &theirs, None, (1, 1), (1, 1)), Next::Elsewhere);
}

#[test]
fn a_spec_that_changed_meanwhile_does_not_lose_the_shares_of_an_attempt_that_came_into_force() {
    let mut changed = custody();
    changed.custodians[2].fingerprint = "carols-new-key".to_owned();
    let noted = [noted_attempt("n1")];
    let backup = whole("n1");
    let seen = Seen {
        noted: &noted,
        status: &RekeyStatus::default(),
        backup: Some(&backup),
        in_force: (3, 2),
        stored: (1, 1),
    };
    let kept = next(&changed, &seen);
    assert!(
        matches!(&kept, Next::Keep(for_whom, _) if *for_whom == custody()),
        "they are of those who were named then: {kept:?}"
    );
}

#[test]
fn an_attempt_whose_shares_vault_has_kept_is_never_forgotten() {
    let mut noted = vec![noted_attempt("first")];
    for n in 0..20 {
        noted = with_attempt(&noted, Some(&whole("first")), noted_attempt(&format!("n{n}")));
    }
    assert!(noted.len() <= REMEMBERED + 1, "{} are remembered", noted.len());
    assert!(noted.iter().any(|a| a.nonce == "first"), "{noted:?}");
    assert_eq!(noted.last().map(|a| a.nonce.as_str()), Some("n19"));
}

#[test]
fn no_share_is_given_to_an_attempt_for_other_people_or_another_quorum() {
    let names = ["alice-key", "bob-key", "carol-key"];
    assert!(is_ours(&custody(), &attempt("n", &names)));
    assert!(
        !is_ours(
            &custody(),
            &attempt("n", &["alice-key", "bob-key", "mallory-key"])
        ),
        "somebody else's key"
    );
    let lower = RekeyStatus {
        threshold: 1,
        ..attempt("n", &names)
    };
    assert!(!is_ours(&custody(), &lower), "one share would unseal");
    let unsaved = RekeyStatus {
        backup: false,
        ..attempt("n", &names)
    };
    assert!(!is_ours(&custody(), &unsaved), "its answer could be lost");
}

#[test]
fn an_answer_without_a_share_for_each_custodian_is_none() {
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let fingerprints = texts(&["alice-key", "bob-key", "carol-key"]);
    let encrypted = answered(&custody(), &fingerprints, &texts(&["a", "b", "c"])).unwrap();
    assert_eq!(encrypted["carol"], "c", "in the order of the shares");
    assert_eq!(answered(&custody(), &fingerprints, &texts(&["a", "b"])), None);
    assert_eq!(
        answered(&custody(), &texts(&["alice-key"]), &texts(&["a", "b", "c"])),
        None
    );
}

#[test]
fn a_custodian_whose_share_somebody_took_out_of_the_key_secret_is_named() {
    let stored = |names: &[&str]| -> BTreeMap<String, Vec<u8>> {
        let message = |name: &&str| ((*name).to_owned(), b"message".to_vec());
        names.iter().map(message).collect()
    };
    let all = ["alice", "bob", "carol"];
    assert!(without_share(&custody(), &stored(&all)).is_empty());
    assert_eq!(without_share(&custody(), &stored(&["alice", "carol"])), ["bob"]);
    let mut empty = stored(&all);
    empty.insert("alice".to_owned(), Vec::new());
    assert_eq!(
        without_share(&custody(), &empty),
        ["alice"],
        "an empty one opens nothing"
    );
}

fn record(seals: SealRecord) -> KeyRecord {
    KeyRecord {
        shares: Vec::new(),
        threshold: 0,
        custody: Some(custody()),
        seals,
        ..keys::tests::record(State::Initialized)
    }
}

fn member(ordinal: u32, container: &str, probe: Probe) -> Member {
    Member {
        name: format!("main-{ordinal}"),
        ordinal,
        container: Some(container.to_owned()),
        probe,
        ..Member::default()
    }
}

#[test]
fn a_restarted_member_waits_for_the_custodians_and_one_sealed_on_purpose_does_not() {
    let seals = SealRecord {
        unsealed: BTreeMap::from([
            ("main-0".to_owned(), "c0".to_owned()),
            ("main-1".to_owned(), "c1".to_owned()),
        ]),
        latched: BTreeSet::from(["main-2".to_owned()]),
        damaged: false,
    };
    let members = [
        member(0, "c0", Probe::Sealed { progress: 0 }),
        member(1, "c1 anew", Probe::Sealed { progress: 1 }),
        member(2, "c2", Probe::Sealed { progress: 0 }),
        member(3, "c3", Probe::Active),
    ];
    assert_eq!(
        waiting(&members, Some(&record(seals))),
        [("main-1", 1)],
        "main-0 may have been sealed on purpose just now, main-2 was"
    );
}

#[test]
fn the_instructions_name_the_people_the_members_and_commands_to_type() {
    let place = Place {
        namespace: "vault",
        name: "main",
        distribution: Distribution::Vault,
    };
    let text = instructions(&custody(), &[("main-1", 1), ("main-2", 0)], place);
    for wanted in [
        "main-1 (1/2), main-2 (0/2)",
        "2 of alice, bob, carol",
        "kubectl get secret main-custodians -n vault -o jsonpath='{.data.NAME}' | base64 -d | gpg --decrypt",
        "kubectl exec -it MEMBER -n vault -- vault operator unseal",
    ] {
        assert!(text.contains(wanted), "{wanted:?} should be in: {text}");
    }
}

#[test]
fn the_status_tells_before_and_after_the_hand_over_what_the_operator_holds() {
    let mut before = record(SealRecord::default());
    before.custody = None;
    before.shares = vec!["share".into()];
    let seal = Seal::Shamir {
        split: Split {
            shares: 5,
            threshold: 3,
        },
        custodians: Vec::new(),
    };
    assert_eq!(
        status(Some(&seal), Some(&before), &[], "main", false),
        None,
        "nobody asked for custodians"
    );
    let after = record(SealRecord::default());
    let status = status(Some(&seal), Some(&after), &[], "main", true).unwrap();
    assert_eq!(
        (
            status.shares,
            status.threshold,
            status.held_by_operator,
            status.delivered
        ),
        (3, 2, 0, true)
    );
    assert_eq!(status.custodians[1].fingerprint, "bob-key");
    assert_eq!(status.secret.as_deref(), Some("main-custodians"));
    assert!(
        differs(&seal, &after).is_some_and(|words| words.contains("2 of alice, bob, carol")),
        "the spec names nobody"
    );
}
