//! What a VaultRole says of its logins and tokens.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::cluster::configuration::AuthMethod;
use vaultkeeper_crds::{VaultRole, VaultRoleSpec};
use vaultkeeper_operator::role::validate;

use super::Expect::{self, Refused, Taken};
use super::agreement::differing;
use super::{check, role};

fn token(token: Value) -> Value {
    json!({ "spec": { "token": token } })
}

fn accounts(login: Value) -> Value {
    json!({ "spec": { "kubernetes": login } })
}

#[tokio::test]
pub(super) async fn tokens_that_vault_would_refuse_or_bend_are_refused_and_their_neighbours_are_taken() {
    let cases: Vec<(Value, Expect)> = vec![
        (token(json!({ "type": "Batch" })), Taken),
        (
            token(json!({ "type": "batch" })),
            Refused("Unsupported value: \"batch\""),
        ),
        (
            token(json!({ "type": "Batch", "period": "1h" })),
            Refused("a token of type Batch has neither period nor numUses"),
        ),
        (
            token(json!({ "type": "Batch", "numUses": 2 })),
            Refused("a token of type Batch has neither period nor numUses"),
        ),
        (token(json!({ "period": "1h", "numUses": 2 })), Taken),
        (
            token(json!({ "numUses": 0 })),
            Refused("should be greater than or equal to 1"),
        ),
        (
            token(json!({ "period": "1h", "ttl": "1h" })),
            Refused("spec.token.period takes the place of ttl and maxTtl"),
        ),
        (
            token(json!({ "period": "1h", "maxTtl": "1h" })),
            Refused("spec.token.period takes the place of ttl and maxTtl"),
        ),
        (token(json!({ "period": "1d", "explicitMaxTtl": "24h" })), Taken),
        (
            token(json!({ "period": "1d1s", "explicitMaxTtl": "24h" })),
            Refused("spec.token.period must not be longer than spec.token.explicitMaxTtl"),
        ),
        (
            token(json!({ "ttl": "60m", "maxTtl": "1h", "explicitMaxTtl": "3600s" })),
            Taken,
        ),
        (
            token(json!({ "ttl": "61m", "maxTtl": "1h" })),
            Refused("spec.token.ttl must not be longer than spec.token.maxTtl"),
        ),
        (
            token(json!({ "maxTtl": "1d2h", "explicitMaxTtl": "25h" })),
            Refused("spec.token.maxTtl must not be longer than spec.token.explicitMaxTtl"),
        ),
        (token(json!({ "ttl": "4h" })), Taken),
        (
            token(json!({ "ttl": "4h1s" })),
            Refused("spec.token.ttl must not be longer than the token can live"),
        ),
        (token(json!({ "ttl": "5h", "explicitMaxTtl": "5h" })), Taken),
        (
            token(json!({ "ttl": "6h", "explicitMaxTtl": "5h" })),
            Refused("spec.token.ttl must not be longer than the token can live"),
        ),
        (
            token(json!({ "ttl": "0s" })),
            Refused("spec.token.ttl must be a duration such as 1h, not zero"),
        ),
        (
            token(json!({ "maxTtl": "0h0m" })),
            Refused("spec.token.maxTtl must be a duration such as 4h, not zero"),
        ),
        (
            token(json!({ "explicitMaxTtl": "1w" })),
            Refused("spec.token.explicitMaxTtl must be a duration such as 24h"),
        ),
        (
            token(json!({ "period": "" })),
            Refused("spec.token.period must be a duration such as 24h"),
        ),
        (
            token(json!({ "boundCidrs": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] })),
            Taken,
        ),
        (
            token(json!({ "boundCidrs": ["300.0.0.0/8"] })),
            Refused("each of spec.token.boundCidrs must be a range such as 10.0.0.0/8"),
        ),
        (
            token(json!({ "boundCidrs": ["10.1.2.3/8"] })),
            Refused("each of spec.token.boundCidrs must be a range such as 10.0.0.0/8"),
        ),
        (
            token(json!({ "boundCidrs": ["10.0.0.0/8,192.0.2.0/24"] })),
            Refused("each of spec.token.boundCidrs must be a range such as 10.0.0.0/8"),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn accounts_of_other_namespaces_are_named_or_selected_without_wildcards() {
    let condition = |operator: &str, values: Value| {
        accounts(json!({ "namespaceSelector": { "matchExpressions": [
            { "key": "team", "operator": operator, "values": values },
        ] } }))
    };
    let cases: Vec<(Value, Expect)> = vec![
        (accounts(json!({ "namespaces": ["jobs", "web-2"] })), Taken),
        (
            accounts(json!({ "namespaces": ["*"] })),
            Refused("each of spec.kubernetes.namespaces must be the name of a namespace; wildcards"),
        ),
        (
            accounts(json!({ "namespaces": ["a.b"] })),
            Refused("each of spec.kubernetes.namespaces must be the name of a namespace; wildcards"),
        ),
        (
            accounts(json!({ "namespaceSelector": { "matchLabels": { "team": "a" } } })),
            Taken,
        ),
        (
            accounts(json!({ "namespaceSelector": {} })),
            Refused("spec.kubernetes.namespaceSelector must hold a condition"),
        ),
        (condition("In", json!(["a"])), Taken),
        (
            condition("In", json!([])),
            Refused("values go with the operators In and NotIn"),
        ),
        (condition("Exists", json!([])), Taken),
        (
            condition("Exists", json!(["a"])),
            Refused("values go with the operators In and NotIn"),
        ),
        (
            accounts(json!({ "audience": "https://vault.example.com" })),
            Taken,
        ),
        (
            accounts(json!({ "audience": "a b" })),
            Refused("spec.kubernetes.audience must be letters, digits and signs of ASCII"),
        ),
        (
            accounts(json!({ "aliasNameSource": "ServiceAccountName" })),
            Taken,
        ),
        (
            accounts(json!({ "aliasNameSource": "Name" })),
            Refused("Unsupported value: \"Name\""),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn a_token_goes_to_a_secret_of_its_own() {
    let deliver = |delivery: Value| token(json!({ "deliver": delivery }));
    let labels = |labels: Value| deliver(json!({ "secretName": "t", "labels": labels }));
    let alone = json!({ "spec": { "appRole": null, "kubernetes": null, "token": { "deliver": { "secretName": "t" } } } });
    let cases: Vec<(Value, Expect)> = vec![
        (alone, Taken),
        (
            deliver(json!({ "secretName": "app-token", "key": "VAULT_TOKEN" })),
            Taken,
        ),
        (
            deliver(json!({ "secretName": "App" })),
            Refused("spec.token.deliver.secretName must be a valid name of a Secret"),
        ),
        (
            deliver(json!({ "secretName": "vault-keys.vault.main" })),
            Refused(
                "spec.token.deliver.secretName must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            deliver(json!({ "secretName": "app-vault" })),
            Refused("spec.token.deliver.secretName must not be spec.appRole.secretName"),
        ),
        (
            deliver(json!({ "secretName": "t", "key": "a/b" })),
            Refused("spec.token.deliver.key must be a key of a Secret"),
        ),
        (
            deliver(json!({ "secretName": "t", "key": ".." })),
            Refused("spec.token.deliver.key must be a key of a Secret"),
        ),
        (labels(json!({ "example.com/team": "a-1" })), Taken),
        (
            labels(json!({ "vaultkeeper.dev/role": "x" })),
            Refused("spec.token.deliver.labels must be labels, and none of the operator's own"),
        ),
        (
            labels(json!({ "a b": "x" })),
            Refused("spec.token.deliver.labels must be labels, and none of the operator's own"),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

#[tokio::test]
pub(super) async fn people_and_ci_log_in_with_a_password_or_a_bound_token() {
    let person = |login: Value| json!({ "spec": { "userpass": login } });
    let secret = |name: &str, key: &str| person(json!({ "passwordSecret": { "name": name, "key": key } }));
    let ci = |login: Value| {
        let mut whole = json!({ "boundAudiences": ["vault"], "boundSubject": "repo:a" });
        super::merge(&mut whole, &login);
        json!({ "spec": { "jwt": whole } })
    };
    let cases: Vec<(Value, Expect)> = vec![
        (person(json!({ "passwordSecret": { "name": "ana" } })), Taken),
        (
            person(json!({ "path": "/people", "passwordSecret": { "name": "ana" } })),
            Refused("spec.userpass.path must be the path of an auth method such as userpass"),
        ),
        (
            secret("Ana", "password"),
            Refused("spec.userpass.passwordSecret.name must be the name of a Secret"),
        ),
        (
            secret("vault-ca.vault.main", "password"),
            Refused(
                "spec.userpass.passwordSecret.name must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            secret("ana", "a/b"),
            Refused("spec.userpass.passwordSecret.key must be a key of that Secret"),
        ),
        (ci(json!({})), Taken),
        (
            ci(json!({ "path": "ci/" })),
            Refused("spec.jwt.path must be a mount path such as jwt"),
        ),
        (
            ci(json!({ "boundAudiences": [] })),
            Refused("should have at least 1 items"),
        ),
        (
            ci(json!({ "boundAudiences": ["*"] })),
            Refused("each of spec.jwt.boundAudiences must be an audience in full"),
        ),
        (
            ci(json!({ "boundSubject": null })),
            Refused("spec.jwt must hold boundSubject or boundClaims"),
        ),
        (
            ci(json!({ "boundSubject": null, "boundClaims": { "ref": ["main"] } })),
            Taken,
        ),
        (
            ci(json!({ "boundClaims": { "ref": ["release-*"] }, "boundClaimsType": "Glob" })),
            Taken,
        ),
        (
            ci(json!({ "boundClaims": { "ref": ["main", "*"] }, "boundClaimsType": "Glob" })),
            Refused("each value of spec.jwt.boundClaims must bind"),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

/// Values that are put in the place of each text of a spec.
const TEXTS: [&str; 26] = [
    "..",
    "vault-keys.a.b",
    "app-vault",
    "people/x",
    "",
    "a",
    "*",
    "A",
    "a.b",
    "a b",
    "é",
    "0s",
    "0h0m",
    "1s",
    "90m",
    "1d",
    "9999d",
    "1h30",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "10.0.0.1",
    "::1",
    "::ffff:10.0.0.1",
    "2001:db8::/32",
    "10.0.0.0/08",
    "fe80::1%eth0",
];

fn bases() -> Vec<Value> {
    let with = |spec: Value| {
        let mut object = role();
        super::merge(&mut object, &json!({ "spec": spec }));
        object
    };
    vec![
        with(
            json!({ "token": { "type": "Service", "ttl": "1h", "maxTtl": "4h", "explicitMaxTtl": "8h", "numUses": 5,
            "noDefaultPolicy": true, "boundCidrs": ["10.0.0.0/8"] } }),
        ),
        with(json!({ "token": { "period": "24h", "explicitMaxTtl": "30d" } })),
        with(json!({ "token": { "type": "Batch", "ttl": "1h", "explicitMaxTtl": "8h" } })),
        with(json!({ "token": { "deliver": { "secretName": "t", "key": "k", "labels": { "team": "a" } } } })),
        with(
            json!({ "userpass": { "path": "people", "passwordSecret": { "name": "ana", "key": "password" } } }),
        ),
        with(
            json!({ "jwt": { "path": "ci", "boundAudiences": ["vault"], "boundSubject": "repo:a", "userClaim": "sub",
            "boundClaims": { "ref": ["main"] }, "boundClaimsType": "Glob" } }),
        ),
        with(json!({ "kubernetes": {
            "serviceAccounts": ["app"], "namespaces": ["b"], "audience": "vault", "aliasNameSource": "ServiceAccountUid",
            "namespaceSelector": { "matchLabels": { "team": "a" }, "matchExpressions": [
                { "key": "stage", "operator": "In", "values": ["prod"] },
            ] },
        } })),
    ]
}

/// Path and type of the auth methods that a spec names.
fn methods_of(spec: &VaultRoleSpec) -> impl Iterator<Item = (String, &'static str)> {
    let person = spec.userpass.iter().map(|login| (login.path.clone(), "userpass"));
    let provider = spec.jwt.iter().map(|login| (login.path.clone(), "jwt"));
    person.chain(provider).collect::<Vec<_>>().into_iter()
}

#[tokio::test]
async fn whatever_login_the_api_server_takes_the_operator_takes_too() {
    let answers = differing::<VaultRole>(&bases(), &TEXTS).await;
    let (mut wrong, mut taken) = (Vec::new(), 0);
    for (change, stored) in &answers {
        let Some(stored) = stored else { continue };
        taken += 1;
        // Of policies and AppRole other tests ask.
        if change.starts_with("/spec/policy") || change.starts_with("/spec/appRole") {
            continue;
        }
        // Whatever namespace is named has been granted.
        let further = stored
            .spec
            .kubernetes
            .iter()
            .flat_map(|login| login.namespaces.clone());
        let grant = AccessGrant {
            namespaces: further.chain(["default".to_owned()]).collect(),
            path_prefixes: vec!["secret/data/".to_owned()],
            auth_methods: methods_of(&stored.spec).map(|(path, _)| path).collect(),
            ..AccessGrant::default()
        };
        // And whatever method is named is declared.
        let methods: Vec<AuthMethod> = methods_of(&stored.spec)
            .map(|(path, kind)| serde_json::from_value(json!({"path": path, "type": kind})).unwrap())
            .collect();
        let access = [grant];
        let checked = validate::validate(&stored.spec, "default", &access).map(drop);
        let people = validate::people(&stored.spec, ("default", "app"), &access, &methods).map(drop);
        if let Err(refused) = checked.and(people) {
            wrong.push(format!(
                "{change}: the API server takes it, and the operator says {}",
                refused.message
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = answers.len() - taken;
    assert!(
        taken > 60 && refused > 60,
        "the questions should be of both kinds: {taken} were taken, {refused} refused"
    );
}
