//! Rules of a VaultRole's policy that cannot work, and their neighbours one field apart.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultRole;

use super::{Refused, Taken, check, role};

/// A role whose one rule allows writes and has these fields.
fn rule(fields: Value) -> Value {
    let mut rule = json!({ "path": "secret/data/app/x", "capabilities": ["create", "update"] });
    for (field, value) in fields.as_object().unwrap() {
        rule[field] = value.clone();
    }
    json!({ "spec": { "policy": { "rules": [rule] } } })
}

fn named(name: &str) -> Value {
    json!([{ "name": name }])
}

#[tokio::test]
pub(super) async fn limits_of_a_rule_that_cannot_work_are_refused_and_their_neighbours_taken() {
    let values = |values: Value| json!([{ "name": "a", "values": values }]);
    let cases = vec![
        (
            rule(json!({
                "requiredParameters": ["a"], "allowedParameters": named("*"), "deniedParameters": named("b"),
                "minWrappingTtl": "1m", "maxWrappingTtl": "1h",
            })),
            Taken,
        ),
        (
            rule(json!({ "requiredParameters": ["*"] })),
            Refused("requiredParameters[0] in body should match"),
        ),
        (
            rule(json!({ "allowedParameters": named("a b") })),
            Refused("allowedParameters[0].name in body should match"),
        ),
        (rule(json!({ "allowedParameters": named("A-b.c_d") })), Taken),
        (
            rule(json!({ "deniedParameters": [{ "name": "a" }, { "name": "a" }] })),
            Refused("Duplicate value"),
        ),
        (
            rule(json!({ "deniedParameters": [{ "name": "a" }, { "name": "b" }] })),
            Taken,
        ),
        (
            rule(json!({ "deniedParameters": values(json!(["a\nb"])) })),
            Refused("values[0] in body should match"),
        ),
        (
            rule(json!({ "deniedParameters": values(json!(["a\"} ${b} ä", ""])) })),
            Taken,
        ),
        (
            rule(json!({ "deniedParameters": named("a b") })),
            Refused("deniedParameters[0].name in body should match"),
        ),
        (
            rule(json!({ "allowedParameters": values(json!(["a\nb"])) })),
            Refused("allowedParameters[0].values[0] in body should match"),
        ),
        (
            rule(json!({ "allowedParameters": values(json!(["a\"} ${b} ä", ""])) })),
            Taken,
        ),
        (
            rule(json!({ "deniedParameters": [{ "name": "*", "values": ["a"] }] })),
            Refused("the parameter * stands for every field whatever its value: it takes no values"),
        ),
        (rule(json!({ "deniedParameters": named("*") })), Taken),
        (
            rule(json!({ "capabilities": ["deny"], "deniedParameters": named("a") })),
            Refused("a rule with the capability deny denies everything on its path"),
        ),
        (
            rule(json!({ "capabilities": ["deny"], "maxWrappingTtl": "1h" })),
            Refused("a rule with the capability deny denies everything on its path"),
        ),
        (rule(json!({ "capabilities": ["deny"] })), Taken),
        (
            rule(json!({ "capabilities": ["list"], "maxWrappingTtl": "1h" })),
            Taken,
        ),
        (
            rule(json!({ "capabilities": ["list", "delete"], "allowedParameters": named("a") })),
            Refused("Vault looks at parameters with create, read, update and patch only"),
        ),
        (
            rule(json!({ "capabilities": ["list", "patch"], "allowedParameters": named("a") })),
            Taken,
        ),
        (
            rule(json!({ "capabilities": ["create", "read"], "requiredParameters": ["a"] })),
            Refused("Vault asks for requiredParameters in reads too"),
        ),
        (
            rule(json!({ "capabilities": ["create", "read"], "allowedParameters": named("a") })),
            Taken,
        ),
        (
            rule(json!({ "minWrappingTtl": "1w" })),
            Refused("minWrappingTtl must be a duration such as 1m"),
        ),
        (
            rule(json!({ "minWrappingTtl": "" })),
            Refused("minWrappingTtl must be a duration such as 1m"),
        ),
        (rule(json!({ "minWrappingTtl": "1d" })), Taken),
        (
            rule(json!({ "maxWrappingTtl": "1" })),
            Refused("maxWrappingTtl must be a duration such as 1h"),
        ),
        (rule(json!({ "maxWrappingTtl": "90s" })), Taken),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn tokens_are_revoked_only_where_the_role_goes() {
    let spec =
        |policy: &str, revoke: bool| json!({ "spec": { "deletionPolicy": policy, "revokeTokens": revoke } });
    let cases = vec![
        (spec("Delete", true), Taken),
        (spec("Retain", false), Taken),
        (
            spec("Retain", true),
            Refused("spec.revokeTokens ends what spec.deletionPolicy Retain is to keep"),
        ),
        (spec("Orphan", false), Refused("Unsupported value: \"Orphan\"")),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}
