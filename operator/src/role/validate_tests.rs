//! Tests of what a VaultRole is allowed.

use std::time::Duration;

use vaultkeeper_crds::role::{KubernetesLogin, TokenSettings};

use super::*;

fn grant(yaml: serde_json::Value) -> AccessGrant {
    serde_json::from_value(yaml).unwrap()
}

fn shop() -> Vec<AccessGrant> {
    vec![
        grant(serde_json::json!({
            "namespaces": ["shop", "other"],
            "pathPrefixes": ["secret/data/{{namespace}}/", "shared/"],
            "policies": ["Read-Metrics"],
        })),
        grant(
            serde_json::json!({ "namespaces": ["admin"], "pathPrefixes": ["sys/"], "policies": ["everything"] }),
        ),
    ]
}

fn spec(change: impl FnOnce(&mut VaultRoleSpec)) -> VaultRoleSpec {
    let mut spec: VaultRoleSpec = serde_json::from_value(serde_json::json!({
        "cluster": { "name": "main", "namespace": "vault" },
        "policy": { "rules": [{ "path": "secret/data/shop/app/*", "capabilities": ["read"] }] },
        "appRole": { "secretName": "app-vault" },
        "kubernetes": { "serviceAccounts": ["app"] },
    }))
    .unwrap();
    change(&mut spec);
    spec
}

fn with_path(path: &str) -> VaultRoleSpec {
    spec(|spec| spec.policy.rules[0].path = path.to_owned())
}

fn with_policy(name: &str) -> VaultRoleSpec {
    spec(|spec| spec.policy.names = vec![name.to_owned()])
}

fn refusal(spec: &VaultRoleSpec) -> Refusal {
    validate(spec, "shop", &shop()).expect_err("must be refused")
}

#[test]
fn a_spec_within_its_grant_is_accepted() {
    let validated = validate(&spec(|_| ()), "shop", &shop()).unwrap();
    assert_eq!(
        validated.rules["secret/data/shop/app/*"].capabilities,
        [Capability::Read]
    );
    let app_role = validated.app_role.expect("it is asked for");
    assert_eq!(app_role.secret_name, "app-vault");
    assert_eq!(validated.kubernetes.unwrap().names, ["app"]);
    assert_eq!(validated.token.ttl, Duration::from_secs(3600), "the default");
    assert_eq!(validated.token.max_ttl, Duration::from_secs(14400), "the default");
}

#[test]
fn a_namespace_that_no_grant_names_gets_nothing() {
    for (namespace, access) in [("stranger", shop()), ("shop", Vec::new())] {
        let refusal = validate(&spec(|_| ()), namespace, &access).unwrap_err();
        assert!(refusal.withdraws, "what was given before must go");
        for part in [
            "spec.cluster",
            "vault/main",
            namespace,
            "spec.access[].namespaces",
        ] {
            assert!(
                refusal.message.contains(part),
                "{part} missing in: {}",
                refusal.message
            );
        }
    }
}

#[test]
fn a_grant_of_another_namespace_does_not_count() {
    let refusal = refusal(&with_path("sys/mounts"));
    assert!(refusal.withdraws, "not granted");
    assert!(
        refusal.message.contains("secret/data/shop/, shared/"),
        "what is allowed: {}",
        refusal.message
    );
}

#[test]
fn the_namespace_in_a_prefix_is_that_of_the_role() {
    assert!(
        validate(&with_path("secret/data/shop/x"), "shop", &shop()).is_ok(),
        "its own"
    );
    refusal(&with_path("secret/data/other/x"));
    assert!(
        validate(&with_path("secret/data/other/x"), "other", &shop()).is_ok(),
        "the other's own"
    );
}

#[test]
fn a_neighbour_with_the_same_beginning_is_outside() {
    refusal(&with_path("secret/data/shop-two/x"));
    refusal(&with_path("secret/data/shop"));
    refusal(&with_path("secret/data/shop*"));
}

#[test]
fn a_wildcard_never_stands_in_for_a_part_of_the_prefix() {
    for path in [
        "secret/data/+/x",
        "+/data/shop/x",
        "secret/+/shop/x",
        "*",
        "secret/*",
        "+/+/+/x",
    ] {
        assert!(refusal(&with_path(path)).withdraws, "{path} was accepted");
    }
    for path in [
        "secret/data/shop/+/x",
        "secret/data/shop/*",
        "secret/data/shop/+/*",
        "shared/a/b*",
    ] {
        let result = validate(&with_path(path), "shop", &shop());
        assert!(result.is_ok(), "{path}: {result:?}");
    }
}

#[test]
fn a_path_that_climbs_or_breaks_out_of_the_string_is_refused() {
    for path in [
        "secret/data/shop/../other/x",
        "secret/data/shop/./x",
        "secret/data/shop//x",
        "/secret/data/shop/x",
        "secret/data/shop/x\" { capabilities = [\"sudo\"] } path \"sys/*",
        "secret/data/shop/x\\",
        "secret/data/shop/x\ny",
        "secret/data/shop/${x}",
        "secret/data/shop/{{identity.entity.id}}",
        "secret/data/shop/a*b",
        "secret/data/shop/a+b",
        "secret/data/shop/+*",
        "secret/data/shop/ä",
        "",
    ] {
        let refusal = refusal(&with_path(path));
        assert!(
            refusal.message.contains("spec.policy.rules[0].path"),
            "{path:?}: {}",
            refusal.message
        );
    }
}

#[test]
fn a_slip_in_a_path_or_a_grant_takes_no_credentials_away() {
    let mine = refusal(&with_path("secret/data/shop/a+b"));
    assert!(
        !mine.withdraws && mine.reason == "InvalidSpec",
        "an ill-formed path is a typing error: {mine:?}"
    );
    let elsewhere = refusal(&with_path("secret/data/other/a+b"));
    assert!(
        elsewhere.withdraws,
        "an ill-formed path does not keep what is not allowed: {elsewhere:?}"
    );
    let access = [grant(
        serde_json::json!({ "namespaces": ["shop"], "pathPrefixes": ["secret/data/{{ namespace }}/"] }),
    )];
    let owners = validate(&spec(|_| ()), "shop", &access).unwrap_err();
    assert!(
        !owners.withdraws
            && owners
                .message
                .contains("`secret/data/{{ namespace }}/` there is no path prefix"),
        "a slip of the cluster's owner is named and takes nothing away: {owners:?}"
    );
}

#[test]
fn a_prefix_that_the_crd_would_refuse_grants_nothing() {
    for prefix in [
        "",
        "/",
        "secret/data/shop",
        "secret/+/",
        "*/",
        "secret/../",
        "secret/data/{{other}}/",
    ] {
        let access = [grant(
            serde_json::json!({ "namespaces": ["shop"], "pathPrefixes": [prefix] }),
        )];
        assert!(
            validate(&spec(|_| ()), "shop", &access).is_err(),
            "prefix {prefix:?} granted something"
        );
    }
}

#[test]
fn rules_on_one_path_are_one_and_deny_wins() {
    let validated = validate(
        &spec(|spec| {
            let rules = serde_json::json!([
                { "path": "shared/x", "capabilities": ["read", "read"] },
                { "path": "shared/x", "capabilities": ["create"] },
                { "path": "shared/y", "capabilities": ["list", "deny"] },
            ]);
            spec.policy.rules = serde_json::from_value(rules).unwrap();
        }),
        "shop",
        &shop(),
    )
    .unwrap();
    assert_eq!(
        validated.rules["shared/x"].capabilities,
        [Capability::Create, Capability::Read]
    );
    assert_eq!(validated.rules["shared/y"].capabilities, [Capability::Deny]);
}

#[test]
fn only_policies_that_the_grant_names_are_given_whatever_their_case() {
    for name in ["read-metrics", "READ-METRICS"] {
        let validated = validate(&with_policy(name), "shop", &shop()).unwrap();
        assert_eq!(validated.policies, ["read-metrics"], "as Vault keeps it");
    }
    let refusal = refusal(&with_policy("everything"));
    assert!(
        refusal.withdraws && refusal.message.contains("spec.policy.names[0]"),
        "{}",
        refusal.message
    );
}

#[test]
fn root_and_the_operators_own_policies_are_never_given_even_if_a_grant_names_them() {
    for name in [
        "root",
        "ROOT",
        " root",
        "root,",
        "vaultkeeper-operator",
        "VaultKeeper-Operator",
        "vaultkeeper-operator ",
    ] {
        let access = [grant(serde_json::json!({
            "namespaces": ["shop"], "pathPrefixes": ["secret/data/shop/"], "policies": [name],
        }))];
        assert!(
            validate(&with_policy(name), "shop", &access).is_err(),
            "{name:?} was given"
        );
    }
}

#[test]
fn a_contradiction_in_the_spec_is_refused_without_taking_anything_away() {
    for (ttl, max_ttl, part) in [
        ("2h", "1h", "longer than"),
        ("0s", "1h", "zero"),
        ("1h", "0m", "zero"),
        ("soon", "1h", "not a duration"),
    ] {
        let refusal = refusal(&spec(|spec| {
            spec.token = TokenSettings {
                ttl: Some(ttl.to_owned()),
                max_ttl: Some(max_ttl.to_owned()),
                ..TokenSettings::default()
            };
        }));
        assert!(!refusal.withdraws, "a typo must not take the application down");
        assert!(refusal.message.contains("spec.token."), "{}", refusal.message);
        assert!(
            refusal.message.contains(part),
            "{part} missing in: {}",
            refusal.message
        );
    }
    assert!(
        validate(
            &spec(|spec| spec.token = TokenSettings {
                ttl: Some("1h".to_owned()),
                max_ttl: Some("60m".to_owned()),
                ..TokenSettings::default()
            }),
            "shop",
            &shop()
        )
        .is_ok(),
        "equal durations are fine"
    );
}

#[test]
fn what_is_not_allowed_is_taken_away_even_if_the_spec_is_invalid_besides() {
    let refusal = refusal(&spec(|spec| {
        spec.policy.rules[0].path = "sys/mounts".to_owned();
        spec.token.ttl = Some("soon".to_owned());
    }));
    assert!(refusal.withdraws, "{}", refusal.message);
}

#[test]
fn tokens_are_not_revoked_where_everything_is_to_stay() {
    let with = |policy: &str, revoke: bool| {
        spec(|spec| {
            spec.deletion_policy = serde_json::from_value(policy.into()).unwrap();
            spec.revoke_tokens = revoke;
        })
    };
    let refused = refusal(&with("Retain", true));
    assert!(
        refused.message.contains("spec.revokeTokens"),
        "{}",
        refused.message
    );
    for (policy, revoke) in [("Retain", false), ("Delete", true), ("Delete", false)] {
        assert!(
            validate(&with(policy, revoke), "shop", &shop()).is_ok(),
            "{policy} {revoke}"
        );
    }
}

#[test]
fn a_spec_without_a_login_or_without_a_right_is_refused() {
    let none = refusal(&spec(|spec| (spec.app_role, spec.kubernetes) = (None, None)));
    assert!(none.message.contains("appRole, kubernetes"), "{}", none.message);
    let empty = refusal(&spec(|spec| spec.policy = Policy::default()));
    assert!(empty.message.contains("spec.policy"), "{}", empty.message);
}

#[test]
fn a_certificate_alone_is_a_login_and_has_a_secret_of_its_own() {
    let with = |secret: &str, app_role: bool| {
        spec(|spec| {
            spec.kubernetes = None;
            if !app_role {
                spec.app_role = None;
            }
            spec.certificate =
                Some(serde_json::from_value(serde_json::json!({ "secretName": secret })).unwrap());
        })
    };
    let validated = validate(&with("app-tls", false), "shop", &shop()).unwrap();
    assert_eq!(validated.certificate.unwrap().secret_name, "app-tls");
    assert!(validate(&with("app-tls", true), "shop", &shop()).is_ok());
    let shared = refusal(&with("app-vault", true));
    assert!(
        shared.message.contains("spec.certificate.secretName") && !shared.withdraws,
        "{shared:?}"
    );
}

#[test]
fn names_of_the_operators_own_secrets_and_wildcards_are_refused() {
    for name in [
        "vault-keys.vault.main",
        "vault-ca.vault.main",
        "Upper",
        "-a",
        "a/b",
        "",
    ] {
        let refusal = refusal(&spec(|spec| {
            let app_role = serde_json::json!({ "secretName": name });
            spec.app_role = Some(serde_json::from_value(app_role).unwrap());
        }));
        assert!(
            refusal.message.contains("spec.appRole.secretName"),
            "{}",
            refusal.message
        );
    }
    for account in ["*", "a*", "system:serviceaccount:x", ""] {
        let login = KubernetesLogin {
            service_accounts: vec![account.to_owned()],
            ..KubernetesLogin::default()
        };
        let refusal = refusal(&spec(|spec| spec.kubernetes = Some(login)));
        assert!(
            refusal.message.contains("spec.kubernetes.serviceAccounts"),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn an_audience_is_ones_own_choice_but_for_a_vault_that_runs_elsewhere() {
    let with = |audience: Option<&str>| {
        let audience = audience.map(str::to_owned);
        let spec = spec(|spec| spec.kubernetes.as_mut().unwrap().audience = audience);
        validate(&spec, "shop", &shop()).unwrap()
    };
    assert!(elsewhere(&with(None)).is_ok(), "it is chosen there");
    let refusal = elsewhere(&with(Some("vault"))).unwrap_err();
    assert!(
        refusal.message.contains("spec.kubernetes.audience") && !refusal.withdraws,
        "{refusal:?}"
    );
}
