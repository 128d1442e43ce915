//! The resources of the agent's container.

use super::*;

fn resources(annotations: &[(&str, &str)]) -> Value {
    let mut all = vec![SECRET];
    all.extend(annotations);
    sidecar(&injected(&annotated_pod(&all)))["resources"].clone()
}

#[test]
fn annotated_resources_go_before_the_defaults() {
    assert_eq!(
        resources(&[("agent-limits-mem", ""), ("agent-limits-cpu", "1")]),
        json!({ "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "cpu": "1" } }),
        "an empty limit is none"
    );
    assert_eq!(
        resources(&[("agent-requests-mem", "32Mi"), ("agent-limits-ephemeral", "1Gi")]),
        json!({
            "requests": { "cpu": "5m", "memory": "32Mi" },
            "limits": { "memory": "64Mi", "ephemeral-storage": "1Gi" },
        }),
        "what fits is left alone"
    );
}

#[test]
fn a_default_gives_way_to_what_is_annotated_alone() {
    assert_eq!(
        resources(&[("agent-requests-mem", "128Mi")])["limits"],
        json!({ "memory": "128Mi" }),
        "the default limit of 64Mi is less than what is asked for"
    );
    assert_eq!(
        resources(&[("agent-limits-mem", "8Mi"), ("agent-limits-cpu", "1m")])["requests"],
        json!({ "cpu": "1m", "memory": "8Mi" }),
        "the default requests are more than these limits"
    );
}

#[test]
fn annotated_resources_that_contradict_each_other_are_denied_by_their_keys() {
    for (resource, request, limit) in [
        ("mem", "128Mi", "64Mi"),
        ("cpu", "1", "999m"),
        ("ephemeral", "1Gi", "1G"),
    ] {
        let (requests, limits) = (
            format!("agent-requests-{resource}"),
            format!("agent-limits-{resource}"),
        );
        let denial = denied(&annotated_pod(&[SECRET, (&requests, request), (&limits, limit)]));
        assert!(
            denial.starts_with(&format!("vault.hashicorp.com/{requests}: {request:?}"))
                && denial.contains(&format!("{limit:?} in vault.hashicorp.com/{limits}")),
            "both are named: {denial}"
        );
    }
    assert_eq!(
        resources(&[("agent-requests-mem", "1Gi"), ("agent-limits-mem", "1073741824")])["requests"]["memory"],
        "1Gi",
        "the same amount is no contradiction"
    );
}
