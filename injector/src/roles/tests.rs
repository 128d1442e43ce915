use super::*;
use crate::annotations::parse;

fn binding(name: &str, accounts: &[&str]) -> Binding {
    Binding {
        name: name.to_owned(),
        cluster_namespace: "vault".to_owned(),
        cluster_name: "main".to_owned(),
        service_accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
        audience: None,
        external: None,
        refusal: None,
    }
}

fn annotated(entries: &[(&str, &str)]) -> Annotations {
    let all = entries
        .iter()
        .map(|(key, value)| (format!("{COMPATIBLE_PREFIX}{key}"), (*value).to_owned()))
        .collect();
    parse(&all).expect("the annotations are good").0
}

fn choose(entries: &[(&str, &str)], bindings: &[Binding]) -> Result<Identity, String> {
    identify("shop", "app", &annotated(entries), bindings, None).map_err(|denial| denial.to_string())
}

#[test]
fn the_one_role_that_binds_the_service_account_is_taken() {
    let found =
        choose(&[], &[binding("other", &["web"]), binding("app", &["x", "app"])]).expect("one binds it");
    assert_eq!(
        found,
        Identity {
            role: "shop.app".to_owned(),
            address: "https://main.vault.svc:8200".to_owned(),
            ca_config_map: Some("vaultkeeper.vault.main".to_owned()),
            auth_path: None,
            namespace: None,
            audience: None,
        },
        "all names follow from the VaultRole's spec"
    );
}

#[test]
fn a_role_at_a_vault_elsewhere_leads_there() {
    let mut role = binding("app", &["app"]);
    role.external = Some(ExternalLoginStatus {
        address: "https://vault.example.com:8200".to_owned(),
        auth_path: "clusters/prod".to_owned(),
        audience: "for-them".to_owned(),
        namespace: Some("team".to_owned()),
    });
    let elsewhere = [("service", "https://other.example.com:8200")];
    let found = choose(&elsewhere, std::slice::from_ref(&role)).expect("one binds it");
    assert_eq!(
        (found.auth_path, found.namespace, found.audience),
        (None, None, None),
        "of another Vault that the pod names nothing is known"
    );
    let found = choose(&[], &[role]).expect("one binds it");
    assert_eq!(
        found,
        Identity {
            role: "shop.app".to_owned(),
            address: "https://vault.example.com:8200".to_owned(),
            ca_config_map: Some("vaultkeeper.vault.main".to_owned()),
            auth_path: Some("auth/clusters/prod".to_owned()),
            namespace: Some("team".to_owned()),
            audience: Some("for-them".to_owned()),
        }
    );
}

#[test]
fn a_role_with_an_audience_gets_tokens_for_it_at_its_own_vault_alone() {
    let mut role = binding("app", &["app"]);
    role.audience = Some("vault".to_owned());
    let found = choose(&[], std::slice::from_ref(&role)).expect("one binds it");
    assert_eq!(
        found.audience.as_deref(),
        Some("vault"),
        "any other is refused there"
    );
    let named = [("role", "app"), ("service", "https://main.vault.svc:8200")];
    let found = choose(&named, std::slice::from_ref(&role)).expect("it is the same Vault");
    assert_eq!(found.audience.as_deref(), Some("vault"));
    let elsewhere = [("service", "https://other.example.com:8200")];
    let found = choose(&elsewhere, &[role]).expect("one binds it");
    assert_eq!(found.audience, None, "what that one asks for is not known");
}

#[test]
fn a_service_account_that_nothing_binds_is_denied_with_both_remedies() {
    let denial = choose(&[], &[binding("other", &["web"])]).expect_err("nothing binds app");
    for part in [
        "namespace shop",
        "ServiceAccount app",
        "spec.kubernetes.serviceAccounts",
        "/role",
        "/service",
    ] {
        assert!(denial.contains(part), "{part} is missing: {denial}");
    }
}

#[test]
fn several_roles_are_denied_by_name_until_one_is_annotated() {
    let bindings = [binding("reader", &["app"]), binding("writer", &["app"])];
    let denial = choose(&[], &bindings).expect_err("which one?");
    assert!(denial.contains("reader, writer"), "both are named: {denial}");
    for role in ["writer", "shop.writer"] {
        let found = choose(&[("role", role)], &bindings).expect("it is named");
        assert_eq!(
            found.role, "shop.writer",
            "the VaultRole's name and its name in Vault both do: {role}"
        );
    }
}

#[test]
fn a_role_that_does_not_bind_the_service_account_is_denied_with_the_way_out() {
    let denial = choose(&[("role", "other")], &[binding("other", &["web"])]).expect_err("it binds web");
    assert!(
        denial.contains("role: VaultRole other does not bind ServiceAccount app"),
        "said so: {denial}"
    );
    let denial = choose(&[("role", "nope")], &[binding("mine", &["app"])]).expect_err("there is none");
    assert!(
        denial.contains("name one of mine"),
        "the one that fits is named: {denial}"
    );
}

#[test]
fn role_and_address_together_need_no_vault_role() {
    let given = [("role", "legacy"), ("service", "https://vault.example:8200")];
    let found = choose(&given, &[]).expect("both are given");
    assert_eq!(
        (found.role.as_str(), found.ca_config_map),
        ("legacy", None),
        "taken as they are"
    );
    let denial = choose(&given[..1], &[]).expect_err("where?");
    assert!(denial.contains("/service"), "the address is asked for: {denial}");
    let found = identify(
        "shop",
        "app",
        &annotated(&given[..1]),
        &[],
        Some("https://default:8200"),
    );
    assert_eq!(
        found.expect("the default serves").address,
        "https://default:8200",
        "the default address is used"
    );
}

#[test]
fn a_vault_role_for_others_is_not_taken_for_a_role_of_that_name_in_vault() {
    let bindings = [binding("other", &["web"])];
    for role in ["other", "shop.other"] {
        let given = [("role", role), ("service", "https://main.vault.svc:8200/")];
        let denials = [
            choose(&given, &bindings).expect_err("its cluster knows who may log in"),
            identify(
                "shop",
                "app",
                &annotated(&given[..1]),
                &bindings,
                Some("https://vault.example:8200"),
            )
            .expect_err("nobody said that it is elsewhere")
            .to_string(),
        ];
        for denial in denials {
            assert!(
                denial.starts_with(
                    "vault.hashicorp.com/role: VaultRole other does not bind ServiceAccount app: add it"
                ),
                "the annotation, the VaultRole and the remedy are named: {denial}"
            );
        }
        let elsewhere = [("role", role), ("service", "https://vault.example:8200")];
        let found = choose(&elsewhere, &bindings).expect("another Vault may have a role of the same name");
        assert_eq!(found.role, role, "it is taken as it is");
    }
    let given = [("role", "legacy"), ("service", "https://main.vault.svc:8200")];
    assert!(
        choose(&given, &bindings).is_ok(),
        "a role that no VaultRole is named like may be one that somebody made in Vault"
    );
}

#[test]
fn a_role_of_ones_own_at_a_known_cluster_still_trusts_its_ca() {
    let given = [("role", "legacy"), ("service", "https://main.vault.svc:8200/")];
    let found = choose(&given, &[binding("other", &["web"])]).expect("both are given");
    assert_eq!(
        found.ca_config_map.as_deref(),
        Some("vaultkeeper.vault.main"),
        "the address is that cluster's"
    );
}

#[test]
fn an_annotated_address_wins_over_the_clusters() {
    let found =
        choose(&[("service", "https://proxy:8200")], &[binding("app", &["app"])]).expect("one binds it");
    assert_eq!(
        (found.address.as_str(), found.role.as_str()),
        ("https://proxy:8200", "shop.app"),
        "only the address"
    );
}

fn vault_role(namespace: &str, name: &str, accounts: Option<&[&str]>) -> VaultRole {
    let mut spec = serde_json::json!({
        "cluster": { "name": "main", "namespace": "vault" },
        "policy": { "names": ["default"] },
    });
    if let Some(accounts) = accounts {
        spec["kubernetes"] = serde_json::json!({ "serviceAccounts": accounts });
    }
    serde_json::from_value(serde_json::json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "namespace": namespace, "name": name }, "spec": spec,
    }))
    .expect("a VaultRole")
}

#[test]
fn the_index_follows_what_the_watch_tells() {
    let index = Index::default();
    let names = |index: &Index| {
        index
            .namespace("a")
            .into_iter()
            .map(|b| b.name)
            .collect::<Vec<_>>()
    };
    index.reset(&[
        vault_role("a", "one", Some(&["x"])),
        vault_role("b", "two", Some(&["x"])),
    ]);
    assert_eq!(names(&index), ["one"], "namespaces are apart");
    index.apply(&vault_role("a", "three", Some(&["x"])));
    assert_eq!(names(&index), ["one", "three"], "a new one is added");
    index.apply(&vault_role("a", "one", None));
    assert_eq!(
        names(&index),
        ["three"],
        "one that no ServiceAccount can use any more goes"
    );
    index.delete(&vault_role("a", "three", Some(&["x"])));
    assert!(names(&index).is_empty(), "a deleted one goes");
    index.reset(&[]);
    assert!(index.namespace("b").is_empty(), "a new list replaces the old one");
}

#[test]
fn a_role_that_the_operator_refused_denies_with_its_words() {
    let judged = |status: &str, observed: i64| {
        let mut role = vault_role("shop", "app", Some(&["app"]));
        role.metadata.generation = Some(2);
        role.status = serde_json::from_value(serde_json::json!({ "conditions": [{
            "type": "Accepted", "status": status, "reason": "NotAllowed", "observedGeneration": observed,
            "message": "VaultCluster main does not allow namespace shop: add it", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] }))
        .expect("a status");
        choose(&[], &[Binding::of(&role).expect("it binds")])
    };
    let denial = judged("False", 2).expect_err("its role is not in Vault");
    assert!(
        denial.contains("VaultRole app") && denial.contains("does not allow namespace shop: add it"),
        "the role and what to do are named: {denial}"
    );
    for (status, observed) in [("True", 2), ("Unknown", 2), ("False", 1)] {
        judged(status, observed)
            .unwrap_or_else(|denial| panic!("{status} of generation {observed}: {denial}"));
    }
    choose(
        &[],
        &[Binding::of(&vault_role("shop", "app", Some(&["app"]))).expect("it binds")],
    )
    .expect("the operator has not looked yet");
}
