//! What is decided about claims, and what is said.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

use super::*;
use crate::cluster::validate::{tests::cluster, validate};

fn claim(name: &str, asks: &str, status: Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("u-{name}"), "resourceVersion": "7", "labels": {"vaultkeeper.dev/cluster": "main"}},
        "spec": {"resources": {"requests": {"storage": asks}}},
        "status": status,
    }))
    .unwrap()
}

fn bound(capacity: &str) -> Value {
    json!({"phase": "Bound", "capacity": {"storage": capacity}})
}

/// What is decided about the first member's claim when the spec says 20Gi.
fn first(claim: PersistentVolumeClaim) -> Plan {
    let wanted = [Wanted {
        claim: "data-main-0".to_owned(),
        size: "20Gi".to_owned(),
    }];
    decide("main", &wanted, &[claim])
}

fn reason(plan: &Plan) -> Option<Reason> {
    assert!(plan.grow.is_empty(), "nothing is to be asked for: {plan:?}");
    plan.notes.first().map(|note| note.reason)
}

#[test]
fn a_claim_that_asks_for_less_than_the_spec_is_made_larger_and_never_smaller() {
    let plan = first(claim("data-main-0", "10Gi", bound("10Gi")));
    let [growth] = plan.grow.as_slice() else {
        panic!("one claim is to grow: {plan:?}")
    };
    assert_eq!((growth.from.as_str(), growth.to.as_str()), ("10Gi", "20Gi"));
    assert_eq!(growth.resource_version, "7", "on what was looked at");
    for enough in ["20Gi", "20480Mi", "21474836480", "30Gi", "1Ti"] {
        let plan = first(claim("data-main-0", enough, bound(enough)));
        assert_eq!(plan, Plan::default(), "{enough} is enough");
    }
    assert_eq!(
        first(claim("data-main-0", "30Gi", bound("20Gi"))),
        Plan::default(),
        "somebody asked for more by hand, and the spec is met already"
    );
    assert_eq!(
        first(claim("data-main-0", "many", bound("10Gi"))),
        Plan::default(),
        "of a size that cannot be read nobody knows whether it would become smaller"
    );
}

#[test]
fn claims_of_others_and_such_as_go_are_left_alone() {
    let small = claim("data-main-0", "10Gi", bound("10Gi"));
    let of = |label: &str| {
        let mut other = small.clone();
        other
            .labels_mut()
            .insert("vaultkeeper.dev/cluster".to_owned(), label.to_owned());
        other
    };
    assert_eq!(first(of("main")).grow.len(), 1);
    assert_eq!(first(of("other")), Plan::default(), "of another cluster");
    let mut nobodys = small.clone();
    nobodys.metadata.labels = None;
    assert_eq!(first(nobodys), Plan::default(), "nobody says whose it is");
    let another = claim("data-main-3", "10Gi", bound("10Gi"));
    assert_eq!(first(another), Plan::default(), "of no member that runs");
    let mut going: Value = serde_json::to_value(&small).unwrap();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T20:00:00Z");
    assert_eq!(first(serde_json::from_value(going).unwrap()), Plan::default());
}

#[test]
fn a_claim_without_a_volume_waits_for_one() {
    let pending = json!({"phase": "Pending"});
    let small = first(claim("data-main-0", "10Gi", pending.clone()));
    assert_eq!(reason(&small), Some(Reason::VolumeAwaited));
    assert_eq!(
        first(claim("data-main-0", "20Gi", pending)),
        Plan::default(),
        "a usual new claim is nothing to speak of"
    );
}

#[test]
fn what_keeps_the_volume_from_following_is_told() {
    let with = |conditions: Value, state: &str| {
        let mut status = bound("10Gi");
        status["conditions"] = conditions;
        status["allocatedResourceStatuses"] = json!({"storage": state});
        first(claim("data-main-0", "20Gi", status))
    };
    let condition = |type_: &str| json!([{"type": type_, "status": "True", "message": "no room"}]);
    let plan = first(claim("data-main-0", "20Gi", bound("10Gi")));
    assert_eq!(reason(&plan), Some(Reason::VolumeGrowing));
    assert_eq!(plan.notes[0].words, "its volume has 10Gi of 20Gi");
    let resizing = with(condition("Resizing"), "ControllerResizeInProgress");
    assert_eq!(reason(&resizing), Some(Reason::VolumeGrowing));
    let pending = with(condition("FileSystemResizePending"), "NodeResizePending");
    assert_eq!(reason(&pending), Some(Reason::FileSystemAwaited));
    for failed in ["ControllerResizeError", "NodeResizeError"] {
        let plan = with(condition(failed), "");
        assert_eq!(reason(&plan), Some(Reason::ExpansionFailed), "{failed}");
        assert!(plan.notes[0].words.contains("no room"), "{plan:?}");
    }
    for given_up in ["ControllerResizeInfeasible", "NodeResizeFailed"] {
        assert_eq!(
            reason(&with(json!([]), given_up)),
            Some(Reason::ExpansionFailed),
            "{given_up}"
        );
    }
}

#[test]
fn both_volumes_of_each_member_that_runs_are_wanted_in_their_own_size() {
    let mut main = validate(&cluster("  auditVolume: {size: 2Gi}")).unwrap();
    main.replicas = 2;
    let all: Vec<(String, String)> = wanted(&main).into_iter().map(|w| (w.claim, w.size)).collect();
    let pairs = [
        ("data-main-0", "10Gi"),
        ("data-main-1", "10Gi"),
        ("audit-main-0", "2Gi"),
        ("audit-main-1", "2Gi"),
    ];
    assert_eq!(
        all,
        pairs.map(|(claim, size)| (claim.to_owned(), size.to_owned()))
    );
    let memory = "  profile: Development\n  replicas: 1";
    let mut none = cluster(memory);
    none.spec.storage = serde_json::from_value(json!({"ephemeral": {}})).unwrap();
    assert_eq!(wanted(&validate(&none).unwrap()), []);
}

#[test]
fn the_worst_is_the_reason_and_each_thing_is_said_once_with_its_remedy() {
    let main = validate(&cluster("")).unwrap();
    let note = |claim: &str, reason, words: &str| Note {
        claim: claim.to_owned(),
        reason,
        words: words.to_owned(),
    };
    let report = Report::of(
        &main,
        vec![
            note("data-main-0", Reason::VolumeGrowing, "grows"),
            note("data-main-1", Reason::ExpansionForbidden, "no"),
            note("data-main-2", Reason::ExpansionForbidden, "no"),
        ],
    );
    let (reason, message) = report.told.clone().unwrap();
    assert_eq!(reason, Reason::ExpansionForbidden);
    assert!(
        message
            .starts_with("data-main-1, data-main-2: no; data-main-0: grows. Set allowVolumeExpansion: true"),
        "{message}"
    );
    assert!(!report.goes_on(), "a person has to do something");
    assert_eq!(Report::of(&main, Vec::new()).told, None);
    let restart = Report::of(&main, vec![note("data-main-0", Reason::FileSystemAwaited, "w")]);
    let message = restart.told.unwrap().1;
    assert!(
        message.contains("kubectl annotate --overwrite vc main -n vault vaultkeeper.dev/restart="),
        "{message}"
    );
}

#[test]
fn a_refusal_of_the_api_server_is_told_in_its_kind() {
    let of = |message: &str| {
        let status = serde_json::from_value(json!({"message": message, "reason": "Forbidden", "code": 403}));
        act::explain(&status.unwrap())
    };
    let class = "persistentvolumeclaims \"data-main-0\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    assert_eq!(of(class).0, Reason::ExpansionForbidden);
    let quota = "persistentvolumeclaims \"data-main-0\" is forbidden: exceeded quota: space, requested: requests.storage=1Gi, used: requests.storage=3Gi, limited: requests.storage=3Gi";
    let (reason, words) = of(quota);
    assert_eq!(reason, Reason::QuotaExceeded);
    assert!(
        words.starts_with("exceeded quota: space"),
        "without the claim's name: {words}"
    );
    let (reason, words) = of("admission webhook says no");
    assert_eq!(reason, Reason::GrowthRefused);
    assert!(words.contains("admission webhook says no"), "{words}");
}

#[test]
fn a_stateful_set_that_is_there_keeps_the_sizes_of_its_creation_and_gets_all_else() {
    let set = |extra: &str| {
        let validated = validate(&cluster(extra)).unwrap();
        let spec = json!({"volumeClaimTemplates": build::claim_templates(&validated), "selector": {}, "template": {}, "replicas": validated.replicas});
        let set: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "main"}, "spec": spec})).unwrap();
        set
    };
    let found = set("  auditVolume: {size: 2Gi}");
    let wanted = set("  replicas: 5\n  auditVolume: {size: 4Gi}");
    let over = build::over(&wanted, &found).spec.unwrap();
    let there = found.spec.unwrap();
    assert_eq!(over.volume_claim_templates, there.volume_claim_templates);
    assert_eq!(over.replicas, Some(5));
    assert_eq!(
        build::over(&wanted, &StatefulSet::default()),
        wanted,
        "nothing is known of the one that is there"
    );
}
