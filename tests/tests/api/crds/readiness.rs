//! Waivers of the rules for production that make no sense, and their neighbours one field apart.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::ReadinessRule;

use super::{Refused, Taken, check, cluster};

fn waivers(list: &Value) -> Value {
    json!({ "spec": { "readiness": { "waivers": list } } })
}

#[tokio::test]
pub(super) async fn a_waiver_needs_a_rule_that_there_is_a_reason_and_no_twin() {
    let one = |rule: &str, reason: &str| waivers(&json!([{ "rule": rule, "reason": reason }]));
    let two = |other: &str| {
        waivers(&json!([{ "rule": "Backups", "reason": "OPS-12" }, { "rule": other, "reason": "OPS-13" }]))
    };
    let mut cases = vec![
        (
            one("backups", "OPS-12"),
            Refused("Unsupported value: \"backups\""),
        ),
        (one("Backups", "x"), Taken),
        (one("Backups", ""), Refused("should be at least 1 chars long")),
        (
            one("Backups", " \n"),
            Refused("spec.readiness.waivers.reason must say why the rule does not apply here"),
        ),
        (one("Backups", &"x".repeat(256)), Taken),
        (
            one("Backups", &"x".repeat(257)),
            Refused("may not be more than 256"),
        ),
        (
            waivers(&json!([{ "rule": "Backups" }])),
            Refused("reason: Required value"),
        ),
        (
            waivers(&json!([{ "reason": "x" }])),
            Refused("rule: Required value"),
        ),
        (two("MFA"), Taken),
        (two("Backups"), Refused("Duplicate value")),
    ];
    cases.extend(ReadinessRule::ALL.map(|rule| (one(rule.as_str(), "OPS-12"), Taken)));
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}
