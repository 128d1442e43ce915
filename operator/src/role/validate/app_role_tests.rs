//! Tests of what an AppRole login may be.

use serde_json::{Value, json};

use super::*;

fn with(fields: Value) -> AppRole {
    let mut spec = json!({ "secretName": "app-vault" });
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn taken(fields: Value) -> AppRoleWish {
    wish(&with(fields.clone())).unwrap_or_else(|refusal| panic!("{fields} was refused: {}", refusal.message))
}

fn refused(fields: Value, words: &str) {
    let refusal = wish(&with(fields.clone())).expect_err("must be refused");
    assert!(
        refusal.message.contains(words),
        "{fields}: {words} missing in: {}",
        refusal.message
    );
    assert!(!refusal.withdraws, "a typo takes nothing away: {fields}");
}

#[test]
fn without_any_wish_a_secret_id_lives_for_ever_and_is_not_replaced() {
    let wish = taken(json!({}));
    assert_eq!(wish.ttl, Duration::ZERO);
    assert!(wish.bind_secret_id, "a role-id alone must not log in");
    assert_eq!(wish.rotation.period, Period::Never);
    assert_eq!(wish.secret, CredentialsSecret::default());
}

#[test]
fn a_secret_id_with_an_end_is_replaced_after_two_thirds_of_it() {
    let wish = taken(json!({ "secretIdTtl": "24h" }));
    assert_eq!(wish.rotation.period, Period::AfterPercent(66));
    let wish = taken(json!({ "secretIdTtl": "24h", "rotation": { "afterPercentOfTtl": 50 } }));
    assert_eq!(wish.rotation.period, Period::AfterPercent(50));
}

#[test]
fn a_period_must_leave_room_for_a_life_and_an_overlap() {
    taken(json!({ "secretIdTtl": "24h", "rotation": { "every": "23h" } }));
    refused(
        json!({ "secretIdTtl": "24h", "rotation": { "every": "24h" } }),
        "is not shorter than secretIdTtl",
    );
    taken(json!({ "rotation": { "every": "10s", "overlap": "9s" } }));
    refused(
        json!({ "rotation": { "every": "10s", "overlap": "10s" } }),
        "would pile up",
    );
    refused(json!({ "rotation": { "every": "9s" } }), "is too short");
    refused(json!({ "secretIdTtl": "29s" }), "is too short");
    refused(
        json!({ "secretIdTtl": "1h", "rotation": { "every": "1m", "afterPercentOfTtl": 50 } }),
        "remove one of them",
    );
    refused(
        json!({ "rotation": { "afterPercentOfTtl": 50 } }),
        "there is no secretIdTtl",
    );
    refused(
        json!({ "secretIdTtl": "1h", "rotation": { "afterPercentOfTtl": 91 } }),
        "between 10 and 90",
    );
}

#[test]
fn the_usual_overlap_is_an_hour_or_half_of_a_short_period() {
    let usual = taken(json!({})).rotation;
    assert_eq!(usual.overlap(None), Duration::from_secs(3600));
    assert_eq!(
        usual.overlap(Some(Duration::from_secs(60))),
        Duration::from_secs(30)
    );
    let given = taken(json!({ "rotation": { "overlap": "0s" } })).rotation;
    assert_eq!(
        given.overlap(None),
        Duration::ZERO,
        "at once, if that is the wish"
    );
}

#[test]
fn a_login_without_a_secret_id_needs_a_bound_that_bounds() {
    taken(json!({ "bindSecretId": false, "secretIdBoundCidrs": ["10.0.0.0/8"] }));
    refused(json!({ "bindSecretId": false }), "may be false only with");
    refused(
        json!({ "bindSecretId": false, "secretIdBoundCidrs": ["10.0.0.0/8", "::/0"] }),
        "the whole world",
    );
    for more in [
        json!({ "secretIdTtl": "1h" }),
        json!({ "secretIdNumUses": 3 }),
        json!({ "rotation": {} }),
        json!({ "wrap": { "ttl": "1h" } }),
    ] {
        let mut fields = json!({ "bindSecretId": false, "secretIdBoundCidrs": ["10.0.0.0/8"] });
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        refused(fields, "there is nothing for");
    }
}

#[test]
fn a_wrapping_token_ends_before_what_is_in_it() {
    assert_eq!(taken(json!({})).wrap, None);
    assert_eq!(taken(json!({ "wrap": {} })).wrap, Some(Duration::from_secs(3600)));
    taken(json!({ "secretIdTtl": "1h", "wrap": { "ttl": "59m" } }));
    refused(
        json!({ "secretIdTtl": "1h", "wrap": { "ttl": "1h" } }),
        "it would outlive",
    );
    refused(json!({ "wrap": { "ttl": "9s" } }), "is too short");
}

#[test]
fn what_vault_would_store_as_junk_is_refused() {
    refused(
        json!({ "secretIdBoundCidrs": ["300.0.0.0/8"] }),
        "no block of addresses",
    );
    refused(json!({ "secretIdNumUses": 0 }), "no number of logins");
    refused(json!({ "secretIdTtl": "1w" }), "is not a duration");
    let blocks = taken(json!({ "secretIdBoundCidrs": ["10.0.0.0/8", "9.0.0.0/8", "10.0.0.0/8"] }));
    assert_eq!(blocks.bound_cidrs, ["10.0.0.0/8", "9.0.0.0/8"], "each once");
}

#[test]
fn a_role_id_is_one_word() {
    assert_eq!(
        taken(json!({ "roleId": "shop-app.1" })).role_id.as_deref(),
        Some("shop-app.1")
    );
    for bad in ["", "a b", "a/b", "a,b", "ä"] {
        refused(json!({ "roleId": bad }), "is no role-id");
    }
    refused(json!({ "roleId": "a".repeat(129) }), "is no role-id");
}

#[test]
fn a_type_that_kubernetes_reads_or_fills_is_refused() {
    for good in ["Opaque", "example.com/vault", "my-kubernetes.io/x"] {
        taken(json!({ "secret": { "type": good } }));
    }
    for bad in [
        "",
        "opaque",
        "vault",
        "kubernetes.io/service-account-token",
        "kubernetes.io/tls",
        "bootstrap.kubernetes.io/token",
        "x.k8s.io/y",
        "helm.sh/release.v1",
        "/x",
        "example.com/",
        "example.com/a/b",
    ] {
        refused(json!({ "secret": { "type": bad } }), "is none that may be used");
    }
}

#[test]
fn labels_and_annotations_of_ours_are_ours() {
    taken(
        json!({ "secret": { "labels": { "team": "a", "app.kubernetes.io/part-of": "shop" }, "annotations": { "example.com/note": "any text!" } } }),
    );
    for (field, key, value) in [
        ("labels", "vaultkeeper.dev/role", "x"),
        ("labels", "app.kubernetes.io/managed-by", "me"),
        ("labels", "team", "two words"),
        ("labels", "a/b/c", "x"),
        ("labels", "", "x"),
        ("annotations", "vaultkeeper.dev/credentials", "{}"),
        ("annotations", "kubernetes.io/service-account.name", "admin"),
        ("annotations", "two words", "x"),
    ] {
        refused(
            json!({ "secret": { field: { key: value } } }),
            "is not allowed there",
        );
    }
}

#[test]
fn every_key_has_its_own_name() {
    taken(json!({ "secret": { "keys": { "roleId": "ROLE_ID", "secretId": "SECRET_ID", "ca": "ca.crt" } } }));
    refused(
        json!({ "secret": { "keys": { "roleId": "secret-id" } } }),
        "is there twice",
    );
    refused(
        json!({ "secret": { "keys": { "ca": "role-id" } } }),
        "is there twice",
    );
    refused(
        json!({ "secret": { "keys": { "wrappingToken": "wrapping-token-ttl" } } }),
        "is there twice",
    );
    for bad in ["", "a b", "..", "..a", "a/b"] {
        refused(
            json!({ "secret": { "keys": { "accessor": bad } } }),
            "is no name of a key",
        );
    }
}

#[test]
fn the_operators_own_secrets_are_never_targets() {
    for name in ["vault-keys.v.main", "vault-ca.v.main"] {
        let spec: AppRole = serde_json::from_value(json!({ "secretName": name })).unwrap();
        assert!(wish(&spec).unwrap_err().message.contains("reserved"));
    }
}

#[test]
fn only_names_are_restarted() {
    let target =
        |name: &str| json!({ "rotation": { "restartTargets": [{ "kind": "Deployment", "name": name }] } });
    taken(target("app"));
    refused(target("*"), "is no name of a workload");
}
