//! The policy of a VaultRole before Vault's own parser and judge: what it allows, what it denies, and what is refused
//! without a write.

use std::time::Duration;

use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_vault::{Client, Error};

use super::role_support::{Tenant, everything, writes};
use super::stage::Stage;

const AWKWARD: &str = "say \"hi\" ${x} %{y} \\ {{identity.entity.id}} ä";

/// Fields of a VaultCluster with a store whose fields are those of the request.
fn cluster(namespace: &str) -> Value {
    json!({
        "configuration": {"secretsEngines": [
            {"path": "plain", "type": "kv", "options": {"version": "1"}},
            {"path": "secret", "type": "kv", "options": {"version": "2"}},
        ]},
        "access": [{
            "namespaces": [namespace],
            "pathPrefixes": ["plain/{{namespace}}/", "secret/data/{{namespace}}/"],
        }],
    })
}

/// Whether Vault lets a write through. Any other answer than a denial is one of what lies behind the policy.
async fn may_write(client: &Client, path: &str, body: Value, wrap: Option<Duration>) -> bool {
    let denied = match wrap {
        None => client.write(path, &body).await.err(),
        Some(ttl) => client.write_wrapped(path, &body, ttl).await.err(),
    };
    !denied.as_ref().is_some_and(Error::is_denied)
}

#[tokio::test]
async fn every_limit_of_a_rule_is_one_for_the_real_server() {
    let stage = Stage::new().await.unwrap();
    let space = stage.namespace.clone();
    stage.create_cluster_with(1, cluster(&space)).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let tenant = Tenant::of(&stage);
    let at = |name: &str| format!("plain/{space}/{name}");
    let rules = json!([
        {
            "path": at("limited"), "capabilities": ["create", "update"],
            "requiredParameters": ["Owner"],
            "allowedParameters": [
                {"name": "owner", "values": ["a*", "bob"]}, {"name": "size"}, {"name": "note", "values": [AWKWARD]},
            ],
            "deniedParameters": [{"name": "Size", "values": ["huge"]}],
        },
        {"path": at("anything-but"), "capabilities": ["create", "update", "read"], "deniedParameters": [{"name": "secret"}]},
        {"path": at("nothing"), "capabilities": ["create", "update"], "deniedParameters": [{"name": "*"}]},
        {"path": at("wrapped"), "capabilities": ["create", "update"], "minWrappingTtl": "1m", "maxWrappingTtl": "2m"},
        {"path": at("open/*"), "capabilities": ["create", "update", "read"]},
        {"path": at("open/locked"), "capabilities": ["deny"]},
        {"path": "auth/token/lookup-self", "capabilities": ["deny"]},
    ]);
    tenant
        .create("app", json!({"policy": {"rules": rules}}))
        .await
        .unwrap();
    tenant.until_ready("app").await.unwrap();
    let root = stage.root(0).await.unwrap();
    let app = tenant.log_in(&root, "app").await.unwrap();

    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    let cases = [
        ("limited", json!({"owner": "alice", "size": "small"}), None, true),
        ("limited", json!({"owner": "bob"}), None, true),
        ("limited", json!({"OWNER": "bob"}), None, false),
        ("limited", json!({"owner": "carl"}), None, false),
        ("limited", json!({"size": "small"}), None, false),
        ("limited", json!({}), None, false),
        ("limited", json!({"owner": "alice", "size": "huge"}), None, false),
        ("limited", json!({"owner": "alice", "other": "x"}), None, false),
        ("limited", json!({"owner": "alice", "note": AWKWARD}), None, true),
        ("limited", json!({"owner": "alice", "note": "say"}), None, false),
        ("anything-but", json!({"public": "x"}), None, true),
        ("anything-but", json!({"public": "x", "secret": "y"}), None, false),
        ("nothing", json!({"a": "x"}), None, false),
        ("wrapped", json!({"a": "x"}), None, false),
        ("wrapped", json!({"a": "x"}), Some(Duration::from_secs(59)), false),
        ("wrapped", json!({"a": "x"}), minutes(1), true),
        ("wrapped", json!({"a": "x"}), minutes(2), true),
        ("wrapped", json!({"a": "x"}), minutes(3), false),
        ("open/free", json!({"a": "x"}), None, true),
        ("open/locked", json!({"a": "x"}), None, false),
    ];
    let mut wrong = Vec::new();
    for (name, body, wrap, wanted) in cases {
        if may_write(&app, &at(name), body.clone(), wrap).await != wanted {
            wrong.push(format!("{name} {body} wrapped for {wrap:?} should be {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let read = app.read(&at("anything-but")).await.unwrap();
    assert!(
        read.data.json().contains("public"),
        "a denial of a field leaves reads"
    );
    let denied = app
        .lookup_self()
        .await
        .expect_err("the role denied itself this path");
    assert!(denied.is_denied(), "{denied}");
    root.lookup_self().await.expect("it denied nobody else anything");

    // That Vault asks for a required field in reads too is why we refuse the two together.
    let text = format!(
        "path \"{}\" {{\n capabilities = [\"read\"]\n required_parameters = [\"x\"]\n}}",
        at("anything-but")
    );
    root.write_policy("both", &text).await.unwrap();
    let both = token_with(&root, "both").await;
    let denied = both
        .read(&at("anything-but"))
        .await
        .expect_err("it lacks the field");
    assert!(denied.is_denied(), "{denied}");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

async fn token_with(root: &Client, policy: &str) -> Client {
    let wanted = vaultkeeper_vault::auth::tokens::TokenRequest {
        policies: vec![policy.to_owned()],
        ..vaultkeeper_vault::auth::tokens::TokenRequest::default()
    };
    let auth = root.create_orphan(&wanted).await.unwrap();
    root.with_token(&auth.client_token)
}

#[tokio::test]
async fn a_rule_that_the_namespace_may_not_have_is_refused_with_its_number_and_vault_is_not_written_to() {
    // The older rules of a CRD let in what ours refuse: the operator must refuse it by itself.
    let stage = Stage::with_an_older_crd().await.unwrap();
    let space = stage.namespace.clone();
    stage.create_cluster_with(1, cluster(&space)).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    let root = stage.root(0).await.unwrap();
    let before = everything(&root).await.unwrap();
    let tenant = Tenant::of(&stage);

    let points = Points::record();
    let operator = stage.start_operator(&points);
    let mine = json!({"path": format!("plain/{space}/a"), "capabilities": ["create"]});
    let with = |path: &str, fields: Value| {
        let mut rule = json!({"path": path, "capabilities": ["create"]});
        for (field, value) in fields.as_object().unwrap() {
            rule[field] = value.clone();
        }
        rule
    };
    let own = format!("plain/{space}/b");
    let one = |name: &str| json!([{"name": name}]);
    let cases = [
        ("plain", with("plain/other/b", json!({})), "NotAllowed"),
        (
            "required",
            with("plain/other/b", json!({"requiredParameters": ["a"]})),
            "NotAllowed",
        ),
        (
            "allowed",
            with("plain/other/b", json!({"allowedParameters": one("a")})),
            "NotAllowed",
        ),
        (
            "denied",
            with("plain/other/b", json!({"deniedParameters": one("a")})),
            "NotAllowed",
        ),
        (
            "min",
            with("plain/other/b", json!({"minWrappingTtl": "1m"})),
            "NotAllowed",
        ),
        (
            "max",
            with("plain/other/b", json!({"maxWrappingTtl": "1m"})),
            "NotAllowed",
        ),
        (
            "bad-required",
            with(&own, json!({"requiredParameters": ["a\"] }"]})),
            "InvalidSpec",
        ),
        (
            "bad-allowed",
            with(&own, json!({"allowedParameters": one("a\" = []\n }")})),
            "InvalidSpec",
        ),
        (
            "bad-value",
            with(
                &own,
                json!({"deniedParameters": [{"name": "a", "values": ["\n}"]}]}),
            ),
            "InvalidSpec",
        ),
        (
            "bad-min",
            with(&own, json!({"minWrappingTtl": "1m\"\n"})),
            "InvalidSpec",
        ),
        (
            "crossed",
            with(&own, json!({"minWrappingTtl": "2m", "maxWrappingTtl": "1m"})),
            "InvalidSpec",
        ),
        (
            "twice",
            with(&format!("plain/{space}/a"), json!({"deniedParameters": one("a")})),
            "InvalidSpec",
        ),
        (
            "deny-all",
            json!({"path": "sys/\" {}", "capabilities": ["deny"]}),
            "InvalidSpec",
        ),
    ];
    for (name, rule, _) in &cases {
        let policy = json!({"policy": {"rules": [mine, rule]}});
        tenant.create(name, policy).await.unwrap();
    }
    for (name, rule, wanted) in &cases {
        let (reason, message) = tenant.until_refused(name).await.unwrap();
        assert_eq!(reason, *wanted, "{name} {rule}: {message}");
        assert!(
            message.contains("spec.policy.rules[1]"),
            "{name}: the rule that forbids it should be named: {message}"
        );
    }
    let told = tenant.notes("plain", "Refused").await.unwrap();
    assert!(
        told[0].contains("spec.policy.rules[1]"),
        "an event says it too: {told:?}"
    );
    assert_eq!(writes(&points), [""; 0], "nothing may be written to Vault");
    assert_eq!(
        everything(&root).await.unwrap(),
        before,
        "nothing is there that was not"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
