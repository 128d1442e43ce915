//! Whatever is accepted, no path of a request outside of the grant matches it, as Vault matches paths.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// How Vault 1.21 decides whether a path of a policy covers that of a request: `*` at the end stands for anything, `+` for
/// one step. With both, `*` still stands for anything.
fn covers(rule: &str, request: &str) -> bool {
    let rule = rule.strip_prefix('/').unwrap_or(rule);
    let (rule, open) = match rule.strip_suffix('*') {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let has_steps = rule == "+" || rule.contains("/+") || rule.starts_with("+/");
    if !has_steps {
        return if open {
            request.starts_with(rule)
        } else {
            request == rule
        };
    }
    let rule: Vec<&str> = rule.split('/').collect();
    let request: Vec<&str> = request.split('/').collect();
    if request.len() < rule.len() || (request.len() > rule.len() && !open) {
        return false;
    }
    let last = rule.len() - 1;
    rule.iter().zip(&request).enumerate().all(|(at, (rule, step))| {
        *rule == "+" || rule == step || (open && at == last && step.starts_with(rule))
    })
}

fn grant() -> AccessGrant {
    serde_json::from_value(json!({
        "namespaces": ["shop"],
        "pathPrefixes": ["secret/data/{{namespace}}/", "kv/shared data/"],
    }))
    .unwrap()
}

fn step() -> impl Strategy<Value = String> {
    let steps = [
        "secret",
        "data",
        "shop",
        "kv",
        "shared data",
        "other",
        "SHOP",
        "shop-two",
        "sho",
        "a",
        "..",
        ".",
        "",
        "+",
        "*",
        "a*",
        "+*",
        "**",
        "shop*",
        "{{namespace}}",
        "{{identity.entity.id}}",
        "\"",
        "%2e%2e",
        "\\",
        "sh\u{43e}p",
        "a b",
        " ",
        "\n",
    ];
    proptest::sample::select(steps.to_vec()).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    let free = proptest::collection::vec(step(), 1..7).prop_map(|steps| steps.join("/"));
    let near = proptest::collection::vec(step(), 0..4)
        .prop_map(|steps| format!("secret/data/shop/{}", steps.join("/")));
    prop_oneof![free, near]
}

/// Paths as they arrive at Vault, whose HTTP server takes `.` and `..` away.
fn request() -> impl Strategy<Value = String> {
    let steps = [
        "secret",
        "data",
        "shop",
        "kv",
        "shared data",
        "other",
        "SHOP",
        "shop-two",
        "a",
        "b",
    ];
    let step = proptest::sample::select(steps.to_vec());
    proptest::collection::vec(step, 1..6).prop_map(|steps| steps.join("/"))
}

fn accepted(path: &str) -> bool {
    let rule = json!([{"path": path, "capabilities": ["read"]}]);
    let wanted: Vec<PolicyRule> = serde_json::from_value(rule).unwrap();
    let grant = grant();
    rules(&wanted, "shop", &[&grant], "VaultCluster vault/main").is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_rule_covers_nothing_outside_of_the_grant(path in path(), requests in proptest::collection::vec(request(), 40)) {
        if accepted(&path) {
            for request in requests.iter().filter(|request| covers(&path, request)) {
                let within = request.starts_with("secret/data/shop/") || request.starts_with("kv/shared data/");
                prop_assert!(within, "{path} covers {request}");
            }
        }
    }

    #[test]
    fn a_plain_path_within_the_grant_is_accepted_and_covers_itself(steps in proptest::collection::vec("[-_@a-zA-Z0-9]{1,8}", 1..4)) {
        let path = format!("secret/data/shop/{}", steps.join("/"));
        prop_assert!(accepted(&path), "{path}");
        prop_assert!(covers(&path, &path));
    }
}

#[test]
fn the_model_of_vaults_matching_knows_both_wildcards() {
    assert!(covers("a/+/c", "a/b/c") && !covers("a/+/c", "a/b/d") && !covers("a/+/c", "a/b/c/d"));
    assert!(covers("a/b*", "a/bc/d") && !covers("a/b", "a/bc"));
    assert!(covers("+/b/*", "x/b/c/d") && !covers("+/b/*", "x/c/d"));
    assert!(covers("*", "sys/mounts"));
}
