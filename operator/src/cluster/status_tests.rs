//! Tests of what the status says.

use super::super::keys::{self, State};
use super::super::validate::tests::cluster;
use super::*;
use crate::members::Probe;

fn member(ordinal: u32, probe: Probe) -> Member {
    Member {
        name: format!("main-{ordinal}"),
        ordinal,
        probe,
        ..Member::default()
    }
}

fn record() -> KeyRecord {
    KeyRecord {
        shares: Vec::new(),
        ..keys::tests::record(State::Initialized)
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn of<'a>(status: &'a VaultClusterStatus, type_: &str) -> (&'a str, &'a str) {
    let condition = conditions::get(&status.conditions, type_).expect("the condition is there");
    (&condition.status, &condition.reason)
}

#[test]
fn an_error_in_the_configuration_does_not_make_a_serving_cluster_unavailable() {
    let members = [
        member(0, Probe::Active),
        member(1, Probe::Standby),
        member(2, Probe::Sealed { progress: 0 }),
    ];
    let record = record();
    let error = Error::NotOurs {
        kind: "Service",
        name: "main".to_owned(),
    };
    let facts = Facts {
        members: &members,
        record: Some(&record),
        error: Some(&error),
        observed: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    assert_eq!(of(&status, "Available"), ("True", "Degraded"));
    assert_eq!(of(&status, "Configured"), ("False", "NameTaken"));
    assert_eq!(status.members_ready.as_deref(), Some("2/3"));
}

#[test]
fn a_failure_is_told_once_and_waiting_is_none() {
    let mut object = cluster("");
    let members = [member(0, Probe::Active)];
    let record = record();
    let mut facts = Facts {
        members: &members,
        record: Some(&record),
        observed: true,
        ..Facts::default()
    };
    let waiting = compute(&object, &facts, now());
    assert_eq!(new_failure(None, &waiting), None, "nothing has failed");
    let error = Error::Random;
    facts.error = Some(&error);
    let failed = compute(&object, &facts, now());
    let told = new_failure(Some(&waiting), &failed);
    assert_eq!(told.map(|(reason, _)| reason), Some("NoRandomness"));
    object.status = Some(failed.clone());
    assert_eq!(
        new_failure(object.status.as_ref(), &failed),
        None,
        "it was told before"
    );
}

#[test]
fn the_score_is_shown_when_it_was_judged_and_stays_when_it_was_not() {
    use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessState};
    let mut object = cluster("");
    let members = [member(0, Probe::Active)];
    let record = record();
    let row = |rule, state| ReadinessRuleStatus {
        rule,
        state,
        since: None,
        message: "words".to_owned(),
    };
    let rows = [
        row(ReadinessRule::Audit, ReadinessState::Met),
        row(ReadinessRule::Mfa, ReadinessState::Failed),
    ];
    let mut facts = Facts {
        members: &members,
        record: Some(&record),
        configured: true,
        observed: true,
        readiness: Some(&rows),
        ..Facts::default()
    };
    let status = compute(&object, &facts, now());
    assert_eq!(
        (status.readiness.as_deref(), status.unmet_rules.as_deref()),
        (Some("1/2"), Some("MFA"))
    );
    assert_eq!(of(&status, "ProductionReady"), ("False", "RulesFailed"));
    object.status = Some(status.clone());
    facts.readiness = None;
    let later = compute(&object, &facts, now());
    assert_eq!(later.readiness_rules, status.readiness_rules, "nobody looked");
    assert_eq!(of(&later, "ProductionReady"), ("False", "RulesFailed"));
    let fresh = compute(&cluster(""), &facts, now());
    assert_eq!(fresh.readiness, None, "no score before the first look");
}

#[test]
fn a_pass_that_saw_nothing_keeps_what_was_known() {
    let mut object = cluster("");
    let members = [member(0, Probe::Active)];
    let record = record();
    let facts = Facts {
        members: &members,
        record: Some(&record),
        configured: true,
        observed: true,
        ..Facts::default()
    };
    object.status = Some(compute(&object, &facts, now()));
    let error = Error::Random;
    let blind = Facts {
        error: Some(&error),
        ..Facts::default()
    };
    let status = compute(&object, &blind, now());
    assert_eq!(of(&status, "Available"), ("True", "AllMembersServe"));
    assert_eq!(
        status.members_ready.as_deref(),
        Some("1/1"),
        "rows of members stay"
    );
}

#[test]
fn members_that_were_seen_while_the_keys_cannot_be_read_are_told_of_and_so_is_that_nobody_serves() {
    use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessState};
    let mut object = cluster("");
    let members = [member(0, Probe::Active), member(1, Probe::Standby)];
    let record = record();
    let rule = ReadinessRuleStatus {
        rule: ReadinessRule::Audit,
        state: ReadinessState::Met,
        since: None,
        message: "words".to_owned(),
    };
    let facts = Facts {
        members: &members,
        record: Some(&record),
        configured: true,
        observed: true,
        readiness: Some(std::slice::from_ref(&rule)),
        ..Facts::default()
    };
    object.status = Some(compute(&object, &facts, now()));
    let error = Error::Random;
    let unread = |members| Facts {
        members,
        error: Some(&error),
        ..Facts::default()
    };
    let alone = [member(0, Probe::Pending), member(1, Probe::Active)];
    let status = compute(&object, &unread(&alone), now());
    assert_eq!(of(&status, "Available"), ("True", "Degraded"));
    assert_eq!(status.leader.as_deref(), Some("main-1"));
    let gone = [
        member(0, Probe::Pending),
        member(1, Probe::Sealed { progress: 0 }),
    ];
    object.status = Some(status);
    let status = compute(&object, &unread(&gone), now());
    assert_eq!(
        of(&status, "Available"),
        ("False", "NoRandomness"),
        "nobody serves"
    );
    assert_eq!(status.members_ready.as_deref(), Some("0/2"));
    let said = conditions::get(&status.conditions, "Available").unwrap();
    assert!(said.message.contains("main-1 is Sealed"), "{}", said.message);
    object.status = Some(status);
    let status = compute(&object, &unread(&members), now());
    assert_eq!(
        of(&status, "Available"),
        ("True", "AllMembersServe"),
        "they are back"
    );
    let unborn = compute(&cluster(""), &unread(&members), now());
    assert_eq!(of(&unborn, "Available").0, "False", "it was never set up");
}

#[test]
fn a_seal_that_is_away_is_the_reason_why_a_cluster_is_not_available() {
    let spec =
        "  seal: {transit: {address: 'https://kms.test:8200', keyName: k, tokenSecret: {name: n, key: t}}}";
    let object = cluster(spec);
    let validated = super::super::validate::validate(&object).unwrap();
    let mut members = [member(0, Probe::Pending), member(1, Probe::Pending)];
    for member in &mut members {
        member.stopped = Some(crate::members::Stopped {
            exit_code: Some(1),
            last_words: Some("error parsing Seal configuration: connection refused".to_owned()),
            ..Default::default()
        });
    }
    let record = record();
    let facts = Facts {
        members: &members,
        record: Some(&record),
        observed: true,
        seal: Some(&validated.seal),
        auto: validated.seal.auto(),
        ..Facts::default()
    };
    let status = compute(&object, &facts, now());
    assert_eq!(of(&status, "Available"), ("False", "SealUnreachable"));
    let message = &conditions::get(&status.conditions, "Available").unwrap().message;
    let named = "the transit seal at https://kms.test:8200 cannot be reached";
    assert_eq!(
        message.matches(named).count(),
        1,
        "once for all members: {message}"
    );
    assert!(
        status
            .members
            .iter()
            .all(|m| m.message.as_ref().is_some_and(|t| t.contains(named)))
    );
}

#[test]
fn a_pause_is_said_keeps_what_was_known_and_is_gone_after_it() {
    let mut object = cluster("  paused: true");
    let members = [member(0, Probe::Active)];
    let record = record();
    let facts = Facts {
        members: &members,
        record: Some(&record),
        configured: true,
        observed: true,
        ..Facts::default()
    };
    object.status = Some(compute(&object, &facts, now()));
    let rules = Rules::default();
    let held = paused(&object, &rules, now());
    assert_eq!(of(&held, "Paused"), ("True", "SpecPaused"));
    assert_eq!(of(&held, "Available"), ("True", "AllMembersServe"));
    let end = Timestamp::from_second(2_000_000).unwrap();
    let mut issued = object.clone();
    if let Some(status) = &mut issued.status {
        status.tls = Some(vaultkeeper_crds::cluster::TlsStatus {
            not_after: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(end)),
            ..Default::default()
        });
    }
    let warned = paused(&issued, &rules, now());
    let said = &conditions::get(&warned.conditions, "Paused").unwrap().message;
    assert!(
        said.contains("not renewed") && said.contains(&end.to_string()),
        "{said}"
    );
    issued.status = Some(warned.clone());
    assert_eq!(paused(&issued, &rules, now()), warned, "said once");
    object.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert_eq!(
        of(&paused(&object, &rules, now()), "Paused"),
        ("True", "DeletionHeld")
    );
    object.status = Some(held);
    let after = compute(&object, &facts, now());
    assert!(conditions::get(&after.conditions, "Paused").is_none());
}

#[test]
fn a_member_that_cannot_start_says_why() {
    let mut members = [member(0, Probe::Pending)];
    members[0].obstacle = Some("ImagePullBackOff: Back-off pulling image".to_owned());
    let facts = Facts {
        members: &members,
        observed: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    let said = conditions::get(&status.conditions, "Available").unwrap();
    assert!(said.message.contains("ImagePullBackOff"), "{said:?}");
}

#[test]
fn a_cluster_with_a_root_token_at_rest_is_not_available() {
    let members = [member(0, Probe::Active)];
    let mut record = record();
    record.root_token = Some("root".to_owned().into());
    let facts = Facts {
        members: &members,
        record: Some(&record),
        observed: true,
        ..Facts::default()
    };
    assert_eq!(of(&compute(&cluster(""), &facts, now()), "Available").0, "False");
}

#[test]
fn a_declared_object_that_fails_is_told_while_the_cluster_serves() {
    let members = [member(0, Probe::Active)];
    let record = record();
    let findings = Findings::default().with_problem(
        "UnknownAuthMethod",
        "spec.configuration.policies[0]: …".to_owned(),
    );
    let facts = Facts {
        members: &members,
        record: Some(&record),
        findings: Some(&findings),
        observed: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    assert_eq!(of(&status, "Configured"), ("False", "UnknownAuthMethod"));
    assert_eq!(of(&status, "Available"), ("True", "AllMembersServe"));
    assert_eq!(of(&status, "Accepted"), ("True", "Valid"));
}

#[test]
fn a_spec_that_is_refused_is_told_and_the_members_are_told_of_as_ever() {
    let members = [member(0, Probe::Active), member(1, Probe::Standby)];
    let record = record();
    let object = cluster("  replicas: 2");
    let refused = super::super::validate::validate(&object).unwrap_err();
    let facts = Facts {
        members: &members,
        record: Some(&record),
        observed: true,
        refused: Some(&refused),
        ..Facts::default()
    };
    let status = compute(&object, &facts, now());
    assert_eq!(of(&status, "Accepted"), ("False", "InvalidSpec"));
    assert_eq!(of(&status, "Unsealed"), ("True", "AllMembers"));
    assert_eq!(status.members_ready.as_deref(), Some("2/2"));
    let said = &conditions::get(&status.conditions, "Accepted").unwrap().message;
    assert!(said.contains("spec.replicas"), "{said}");
}

#[test]
fn a_cluster_whose_people_are_to_unseal_it_says_so_and_is_not_in_error() {
    let mut held = record();
    held.custody = Some(super::super::custody::Custody {
        threshold: 2,
        custodians: ["alice", "bob"]
            .map(|name| super::super::custody::Holder {
                name: name.to_owned(),
                fingerprint: format!("{name}-key"),
            })
            .into(),
    });
    let with_container = |ordinal, probe| Member {
        container: Some("c".to_owned()),
        ..member(ordinal, probe)
    };
    let members = [
        with_container(0, Probe::Sealed { progress: 1 }),
        with_container(1, Probe::Sealed { progress: 0 }),
    ];
    let facts = Facts {
        members: &members,
        record: Some(&held),
        observed: true,
        delivered: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    assert_eq!(of(&status, "Available"), ("False", "AwaitingCustodians"));
    assert_eq!(of(&status, "AwaitingCustodians"), ("True", "MembersSealed"));
    let said = conditions::get(&status.conditions, "AwaitingCustodians").unwrap();
    assert!(
        said.message.contains("main-0 (1/2), main-1 (0/2)") && said.message.contains("2 of alice, bob"),
        "{}",
        said.message
    );
    let custody = status.custody.clone().expect("who holds the shares");
    assert_eq!((custody.held_by_operator, custody.delivered), (0, true));
    assert_eq!(custody.waiting[0].progress, "1/2");

    let one = [
        with_container(0, Probe::Active),
        with_container(1, Probe::Sealed { progress: 0 }),
    ];
    let mut object = cluster("");
    object.status = Some(status);
    let facts = Facts {
        members: &one,
        configured: true,
        ..facts
    };
    let status = compute(&object, &facts, now());
    assert_eq!(of(&status, "Available"), ("True", "Degraded"), "the other serves");
    assert_eq!(of(&status, "AwaitingCustodians"), ("True", "MembersSealed"));

    let all = [
        with_container(0, Probe::Active),
        with_container(1, Probe::Standby),
    ];
    let status = compute(
        &object,
        &Facts {
            members: &all,
            ..facts
        },
        now(),
    );
    assert!(
        conditions::get(&status.conditions, "AwaitingCustodians").is_none(),
        "nobody waits any more"
    );
}

#[test]
fn a_cluster_without_an_active_member_is_told_with_what_brings_one_back() {
    let away = || Probe::Unreachable("no answer".to_owned());
    let members = [member(0, Probe::Standby), member(1, away()), member(2, away())];
    let record = record();
    let facts = Facts {
        members: &members,
        record: Some(&record),
        observed: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    assert_eq!(of(&status, "Available"), ("False", "NoActiveMember"));
    let said = |type_| &conditions::get(&status.conditions, type_).unwrap().message;
    let words = [
        "2 of 3 members",
        "main-1 is Unreachable",
        "kubectl logs main-2 -c vault",
    ];
    for words in words {
        assert!(
            said("Available").contains(words),
            "{words}: {}",
            said("Available")
        );
    }
    assert_eq!(of(&status, "Unsealed"), ("False", "SomeMembers"));
    assert!(
        said("Unsealed").contains("kubectl logs main-1 -c vault"),
        "{}",
        said("Unsealed")
    );
}

#[test]
fn a_pod_that_keeps_the_first_initialisation_waiting_is_told_with_the_command_that_shows_why() {
    let members = [member(0, Probe::Uninitialized), member(1, Probe::Pending)];
    let facts = Facts {
        members: &members,
        observed: true,
        ..Facts::default()
    };
    let status = compute(&cluster(""), &facts, now());
    assert_eq!(of(&status, "Available"), ("False", "Initializing"));
    let said = &conditions::get(&status.conditions, "Available").unwrap().message;
    assert!(said.contains("kubectl describe pod main-1"), "{said}");
}
