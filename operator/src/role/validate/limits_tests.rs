//! Tests of what a rule asks of a request besides its path.

use serde_json::{Value, json};
use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::role::VaultRoleSpec;

use super::super::{Rule, Validated, validate};
use super::*;

/// What the spec with these rules comes to.
fn judged(rules: Value) -> Result<Validated, Refusal> {
    let mut spec: VaultRoleSpec = serde_json::from_value(json!({
        "cluster": {"name": "main", "namespace": "vault"},
        "policy": {},
        "appRole": {"secretName": "app-vault"},
    }))
    .unwrap();
    spec.policy.rules = serde_json::from_value(rules).unwrap();
    let grant: AccessGrant =
        serde_json::from_value(json!({"namespaces": ["shop"], "pathPrefixes": ["db/shop/"]})).unwrap();
    validate(&spec, "shop", &[grant])
}

/// What a rule for writes with these fields comes to.
fn rule(fields: Value) -> Result<Rule, Refusal> {
    let mut rule = json!({"path": "db/shop/app", "capabilities": ["create", "update"]});
    for (field, value) in fields.as_object().unwrap() {
        rule[field] = value.clone();
    }
    judged(json!([rule])).map(|validated| validated.rules["db/shop/app"].clone())
}

#[test]
fn names_are_folded_as_vault_compares_them_and_values_are_not() {
    let limits = rule(json!({
        "requiredParameters": ["TTL", "ttl"],
        "allowedParameters": [{"name": "Ttl", "values": ["1H", "1H"]}, {"name": "*"}],
        "deniedParameters": [{"name": "Policies"}],
        "minWrappingTtl": "1m",
        "maxWrappingTtl": "1m",
    }))
    .unwrap()
    .limits;
    let expected = Limits {
        required: vec!["ttl".to_owned()],
        allowed: BTreeMap::from([
            ("*".to_owned(), Vec::new()),
            ("ttl".to_owned(), vec!["1H".to_owned()]),
        ]),
        denied: BTreeMap::from([("policies".to_owned(), Vec::new())]),
        min_wrapping: Some(Duration::from_secs(60)),
        max_wrapping: Some(Duration::from_secs(60)),
    };
    assert_eq!(limits, expected);
}

#[test]
fn what_can_never_be_satisfied_or_says_nothing_is_refused_and_its_neighbour_taken() {
    let named = |name: &str| json!([{"name": name}]);
    let cases = [
        (
            json!({"requiredParameters": ["a b"]}),
            json!({"requiredParameters": ["a-b"]}),
            "no name of a parameter",
        ),
        (
            json!({"requiredParameters": ["*"]}),
            json!({"allowedParameters": named("*")}),
            "no name of a parameter",
        ),
        (
            json!({"allowedParameters": named("a\"")}),
            json!({"allowedParameters": named("a")}),
            "no name of a parameter",
        ),
        (
            json!({"deniedParameters": [{"name": "*", "values": ["x"]}]}),
            json!({"deniedParameters": [{"name": "a", "values": ["x"]}]}),
            "remove the values",
        ),
        (
            json!({"deniedParameters": [{"name": "a", "values": ["x\n"]}]}),
            json!({"deniedParameters": [{"name": "a", "values": ["x\"} ${y} \u{e4}"]}]}),
            "control character",
        ),
        (
            json!({"allowedParameters": [{"name": "a"}, {"name": "A"}]}),
            json!({"allowedParameters": [{"name": "a"}, {"name": "b"}]}),
            "twice",
        ),
        (
            json!({"minWrappingTtl": "0s"}),
            json!({"minWrappingTtl": "1s"}),
            "zero",
        ),
        (
            json!({"maxWrappingTtl": "soon"}),
            json!({"maxWrappingTtl": "1h"}),
            "not a duration",
        ),
        (
            json!({"minWrappingTtl": "2m", "maxWrappingTtl": "1m"}),
            json!({"minWrappingTtl": "1m", "maxWrappingTtl": "1m"}),
            "longer than maxWrappingTtl",
        ),
        (
            json!({"capabilities": ["deny"], "deniedParameters": named("a")}),
            json!({"capabilities": ["deny"]}),
            "denies everything",
        ),
        (
            json!({"capabilities": ["deny"], "maxWrappingTtl": "1h"}),
            json!({"capabilities": ["delete"], "maxWrappingTtl": "1h"}),
            "denies everything",
        ),
        (
            json!({"capabilities": ["delete", "list"], "allowedParameters": named("a")}),
            json!({"capabilities": ["delete", "patch"], "allowedParameters": named("a")}),
            "create, read, update and patch only",
        ),
        (
            json!({"capabilities": ["update", "read"], "requiredParameters": ["a"]}),
            json!({"capabilities": ["update", "read"], "allowedParameters": named("a")}),
            "in reads too",
        ),
        (
            json!({"requiredParameters": ["A"], "deniedParameters": named("a")}),
            json!({"requiredParameters": ["A"], "deniedParameters": [{"name": "a", "values": ["x"]}]}),
            "deniedParameters denies it",
        ),
        (
            json!({"requiredParameters": ["a"], "deniedParameters": named("*")}),
            json!({"requiredParameters": ["a"], "deniedParameters": named("b")}),
            "deniedParameters denies it",
        ),
        (
            json!({"requiredParameters": ["a"], "allowedParameters": named("b")}),
            json!({"requiredParameters": ["a"], "allowedParameters": named("*")}),
            "allowedParameters does not allow it",
        ),
    ];
    for (bad, good, words) in cases {
        let refusal = rule(bad.clone()).expect_err(&format!("{bad} should be refused"));
        assert!(
            refusal.message.contains(words) && refusal.message.contains("spec.policy.rules[0]"),
            "{bad}: {}",
            refusal.message
        );
        assert!(!refusal.withdraws, "{bad}: a slip takes nothing away");
        let taken = rule(good.clone());
        assert!(taken.is_ok(), "{good}: {taken:?}");
    }
}

#[test]
fn a_denial_may_name_any_path_and_nothing_else_may() {
    let denied = judged(json!([{"path": "sys/*", "capabilities": ["deny"]}])).unwrap();
    assert_eq!(denied.rules["sys/*"].capabilities, [Capability::Deny]);
    let both = judged(json!([{"path": "sys/*", "capabilities": ["read", "deny"]}])).unwrap();
    assert_eq!(
        both.rules["sys/*"].capabilities,
        [Capability::Deny],
        "nothing is left of what stands beside it"
    );
    let two = json!([
        {"path": "sys/*", "capabilities": ["deny"]},
        {"path": "sys/*", "capabilities": ["read"]},
    ]);
    let refusal = judged(two).expect_err("the second one asks for a right");
    assert!(
        refusal.withdraws && refusal.message.contains("spec.policy.rules[1].path"),
        "{}",
        refusal.message
    );
    let refusal = judged(json!([{"path": "sys/\" {", "capabilities": ["deny"]}])).expect_err("it breaks out");
    assert!(
        refusal.message.contains("spec.policy.rules[0].path"),
        "{}",
        refusal.message
    );
}

#[test]
fn every_limit_leaves_a_rule_outside_of_the_grant_refused() {
    let limits = [
        json!({"requiredParameters": ["a"]}),
        json!({"allowedParameters": [{"name": "a", "values": ["x"]}]}),
        json!({"deniedParameters": [{"name": "*"}]}),
        json!({"minWrappingTtl": "1m"}),
        json!({"maxWrappingTtl": "1m"}),
    ];
    for mut fields in limits {
        assert!(rule(fields.clone()).is_ok(), "{fields} within the grant");
        fields["path"] = json!("db/other/app");
        let refusal = rule(fields.clone()).expect_err("it is outside of the grant");
        assert!(refusal.withdraws, "{fields}: {}", refusal.message);
        assert!(
            refusal.message.contains("spec.policy.rules[0].path") && refusal.message.contains("db/shop/"),
            "{fields}: {}",
            refusal.message
        );
    }
}

#[test]
fn two_rules_on_one_path_add_up_only_with_the_same_limits() {
    let pair = |first: Value, second: Value| {
        let rule = |capability: &str, limits: Value| {
            let mut rule = json!({"path": "db/shop/app", "capabilities": [capability]});
            for (field, value) in limits.as_object().unwrap() {
                rule[field] = value.clone();
            }
            rule
        };
        judged(json!([rule("create", first), rule("update", second)]))
    };
    let limit = |name: &str| json!({"allowedParameters": [{"name": name}]});
    let same = pair(limit("a"), limit("A")).unwrap();
    assert_eq!(
        same.rules["db/shop/app"].capabilities,
        [Capability::Create, Capability::Update]
    );
    assert!(
        pair(json!({}), json!({})).is_ok(),
        "no limits are the same limits"
    );
    for (first, second) in [
        (limit("a"), limit("b")),
        (limit("a"), json!({})),
        (json!({}), limit("a")),
    ] {
        let refusal = pair(first, second).expect_err("the limits differ");
        assert!(
            refusal.message.contains("spec.policy.rules[1].path")
                && refusal.message.contains("spec.policy.rules[0]")
                && refusal.message.contains("make one rule"),
            "{}",
            refusal.message
        );
    }
    let denied = json!([
        {"path": "db/shop/app", "capabilities": ["create"], "allowedParameters": [{"name": "a"}]},
        {"path": "db/shop/app", "capabilities": ["deny"]},
    ]);
    let denied = judged(denied).unwrap();
    assert_eq!(
        denied.rules["db/shop/app"],
        Rule {
            capabilities: vec![Capability::Deny],
            ..Rule::default()
        },
        "deny wins over a rule with limits"
    );
}
