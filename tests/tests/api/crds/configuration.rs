//! What `spec.configuration` must not hold, and its neighbour one field apart.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Expect, Refused, Taken, check, check_updates, cluster};

fn configuration(change: &Value) -> Value {
    json!({ "spec": { "configuration": change } })
}

async fn all(cases: Vec<(Value, Expect)>) {
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
async fn a_mount_or_an_auth_method_that_cannot_work_is_refused_and_its_neighbour_taken() {
    let engine = |ttl: &str| {
        configuration(
            &json!({ "secretsEngines": [{ "path": "a", "type": "kv", "tune": { "maxLeaseTtl": ttl } }] }),
        )
    };
    let lease = |ttl: &str| {
        configuration(
            &json!({ "secretsEngines": [{ "path": "a", "type": "kv", "tune": { "defaultLeaseTtl": ttl } }] }),
        )
    };
    let engines = |other: &str| {
        configuration(
            &json!({ "secretsEngines": [{ "path": "a", "type": "kv" }, { "path": other, "type": "pki" }] }),
        )
    };
    let method = |type_: &str, path: &str, settings: &str, value: &Value| {
        configuration(&json!({ "authMethods": [{ "path": path, "type": type_, settings: value }] }))
    };
    let methods = |other: &str| {
        configuration(
            &json!({ "authMethods": [{ "path": "a", "type": "jwt" }, { "path": other, "type": "cert" }] }),
        )
    };
    let tune = |field: &str, ttl: &str| method("userpass", "people", "tune", &json!({ field: ttl }));
    let kubernetes = json!({ "host": "https://other:6443" });
    let jwt = |extra: &Value| {
        let mut value = json!({ "discoveryUrl": "https://idp" });
        super::merge(&mut value, extra);
        method("oidc", "oidc", "jwt", &value)
    };
    let role = |role: &str| {
        method(
            "jwt",
            "ci",
            "jwt",
            &json!({ "jwksUrl": "https://ci", "roles": [{ "name": role, "roleType": "Jwt", "userClaim": "sub" }] }),
        )
    };
    let cert = |label: &str| {
        let pem = format!("-----BEGIN {label}-----\nMIIB+/=\n-----END {label}-----\n");
        method(
            "cert",
            "web",
            "cert",
            &json!({ "roles": [{ "name": "web", "certificate": pem }] }),
        )
    };
    let user = |name: &str, policy: &str, ttl: &str| {
        method(
            "userpass",
            "people",
            "userpass",
            &json!({ "users": [{ "name": name, "password": { "name": "s", "key": "k" }, "token": { "policies": [policy], "ttl": ttl } }] }),
        )
    };
    all(vec![
        (engine("1h30m"), Taken),
        (engine("1h30"), Refused("maxLeaseTtl must be a duration such as 24h")),
        (lease("90s"), Taken),
        (lease("90"), Refused("defaultLeaseTtl must be a duration such as 1h")),
        (engines("b"), Taken),
        (engines("a"), Refused("Duplicate value")),
        (methods("b"), Taken),
        (methods("a"), Refused("Duplicate value")),
        (tune("defaultLeaseTtl", "1h"), Taken),
        (tune("defaultLeaseTtl", "h"), Refused("defaultLeaseTtl must be a duration such as 1h")),
        (tune("maxLeaseTtl", "1h"), Taken),
        (tune("maxLeaseTtl", "1w"), Refused("maxLeaseTtl must be a duration such as 24h")),
        (method("kubernetes", "other", "kubernetes", &kubernetes), Taken),
        (
            method("kubernetes", "kubernetes", "kubernetes", &kubernetes),
            Refused("The method at path kubernetes is the one that the operator itself logs in with"),
        ),
        (
            method("jwt", "other", "kubernetes", &kubernetes),
            Refused("kubernetes holds the settings of a further method of type kubernetes"),
        ),
        (
            method("kubernetes", "other", "kubernetes", &json!({ "host": "http://other" })),
            Refused("host must be a URL that begins with https://"),
        ),
        (jwt(&json!({})), Taken),
        (method("oidc", "oidc", "jwt", &json!({})), Refused("jwt must hold exactly one of discoveryUrl, jwksUrl and publicKeys")),
        (jwt(&json!({ "jwksUrl": "https://keys" })), Refused("jwt must hold exactly one of")),
        (jwt(&json!({ "publicKeys": ["k"] })), Refused("jwt must hold exactly one of")),
        (jwt(&json!({ "clientId": "v", "clientSecret": { "name": "s", "key": "k" } })), Taken),
        (jwt(&json!({ "clientId": "v" })), Refused("clientId and clientSecret go together, and with discoveryUrl")),
        (
            method("oidc", "oidc", "jwt", &json!({ "jwksUrl": "https://k", "clientId": "v", "clientSecret": { "name": "s", "key": "k" } })),
            Refused("clientId and clientSecret go together, and with discoveryUrl"),
        ),
        (method("cert", "oidc", "jwt", &json!({ "jwksUrl": "https://k" })), Refused("jwt holds the settings of a method of type jwt or oidc")),
        (role("build"), Taken),
        (role("Build"), Refused("should match")),
        (cert("CERTIFICATE"), Taken),
        (cert("PRIVATE KEY"), Refused("should match")),
        (method("jwt", "web", "cert", &json!({})), Refused("cert holds the settings of a method of type cert")),
        (user("ana@x", "app", "1h"), Taken),
        (user("Ana", "app", "1h"), Refused("should match")),
        (user("ana", "root", "1h"), Refused("policies must not hold root or a policy of the operator")),
        (user("ana", "vaultkeeper-operator", "1h"), Refused("policies must not hold root or a policy of the operator")),
        (user("ana", "app", "1"), Refused("should match")),
        (method("jwt", "people", "userpass", &json!({})), Refused("userpass holds the users of a method of type userpass")),
    ])
    .await;
}

#[tokio::test]
async fn policies_audit_mfa_and_namespaces_that_cannot_work_are_refused_and_their_neighbours_taken() {
    let policy = |name: &str| configuration(&json!({ "policies": [{ "name": name, "hcl": "x" }] }));
    let text = |policy: &Value| {
        let mut value = json!({ "name": "app" });
        super::merge(&mut value, policy);
        configuration(&json!({ "policies": [value] }))
    };
    let password =
        |name: &str| configuration(&json!({ "passwordPolicies": [{ "name": name, "hcl": "length = 20" }] }));
    let device = |device: &Value| {
        let mut value = json!({ "path": "a" });
        super::merge(&mut value, device);
        configuration(&json!({ "audit": [value] }))
    };
    let file = |path: &str| device(&json!({ "file": { "path": path } }));
    let totp = |digits: u32| {
        configuration(&json!({ "mfa": { "totp": [{ "name": "app", "issuer": "v", "digits": digits }] } }))
    };
    let enforced = |path: &str| {
        configuration(
            &json!({ "mfa": { "enforcements": [{ "name": "a", "methods": ["app"], "authMethods": [path] }] } }),
        )
    };
    let namespace = |path: &str| json!({ "spec": { "distribution": "OpenBao", "configuration": { "namespaces": [{ "path": path }] } } });
    all(vec![
        (policy("app_1-b"), Taken),
        (policy("shop.app"), Refused("a name with a dot is that of a VaultRole")),
        (policy("App"), Refused("name must consist of lower-case letters")),
        (policy("root"), Refused("must be neither root nor a policy of the operator")),
        (policy("vaultkeeper-x"), Refused("must be neither root nor a policy of the operator")),
        (text(&json!({ "persona": "Auditor" })), Taken),
        (text(&json!({})), Refused("a policy must hold either hcl or persona")),
        (text(&json!({ "persona": "Auditor", "hcl": "x" })), Refused("a policy must hold either hcl or persona")),
        (text(&json!({ "persona": "King" })), Refused("Unsupported value: \"King\"")),
        (configuration(&json!({ "policies": [{ "name": "a", "hcl": "x" }, { "name": "a", "hcl": "y" }] })), Refused("Duplicate value")),
        (password("long"), Taken),
        (password("a/b"), Refused("should match")),
        (configuration(&json!({ "drift": "Report" })), Taken),
        (configuration(&json!({ "drift": "Ignore" })), Refused("Unsupported value: \"Ignore\"")),
        (device(&json!({ "stdout": {} })), Taken),
        (device(&json!({})), Refused("an audit device must name exactly one known kind")),
        (device(&json!({ "stdout": {}, "syslog": {} })), Refused("an audit device must name exactly one known kind")),
        (device(&json!({ "stdout": {}, "path": "A" })), Refused("path must consist of lower-case letters")),
        (device(&json!({ "stdout": {}, "description": "${x}" })), Refused("should match")),
        (configuration(&json!({ "audit": [] })), Refused("should have at least 1 items")),
        (file("/vault/audit/a.log"), Taken),
        (file("/vault/data/a.log"), Refused("file.path must not lie on the data volume")),
        (file("/vault/database.log"), Taken),
        (file("/vault/x/../data/a.log"), Refused("file.path must not lie on the data volume")),
        (file("/dev/null"), Refused("nor be /dev/null")),
        (file("discard"), Refused("should match")),
        (device(&json!({ "socket": { "address": "127.0.0.1:9090", "type": "Udp" } })), Taken),
        (device(&json!({ "socket": { "address": "a b" } })), Refused("should match")),
        (device(&json!({ "syslog": {} })), Taken),
        (device(&json!({ "syslog": { "facility": "auth;" } })), Refused("should match")),
        (totp(8), Taken),
        (totp(7), Refused("digits must be 6 or 8")),
        (enforced("people"), Taken),
        (enforced("kubernetes"), Refused("authMethods must hold neither kubernetes nor approle")),
        (enforced("approle"), Refused("authMethods must hold neither kubernetes nor approle")),
        (namespace("team/dev"), Taken),
        (namespace("team/"), Refused("path must be a path such as team or team/dev")),
        (namespace("root"), Refused("none of root, sys")),
        (
            configuration(&json!({ "namespaces": [{ "path": "team" }] })),
            Refused("Vault's community edition ignores the namespace that a client names"),
        ),
        (json!({ "spec": { "version": "1.21.1+ent", "image": "mirror/vault:1.21.1-ent", "configuration": { "namespaces": [{ "path": "team" }] } } }), Taken),
    ])
    .await;
}

#[tokio::test]
async fn the_default_device_of_openbao_is_not_declared_anew() {
    let device = |distribution: &str, path: &str| json!({ "spec": { "distribution": distribution, "configuration": { "audit": [{ "path": path, "stdout": {} }] } } });
    all(vec![
        (device("OpenBao", "out"), Taken),
        (
            device("OpenBao", "stdout"),
            Refused("must not have the path stdout on OpenBao"),
        ),
        (device("Vault", "stdout"), Taken),
    ])
    .await;
}

#[tokio::test]
async fn the_example_is_taken_by_the_api_server() {
    let text =
        std::fs::read_to_string(vaultkeeper_tests::helm::repository().join("examples/configuration.yaml"))
            .unwrap();
    let example: Value = serde_yaml::from_str(&text).unwrap();
    check(
        &ApiResource::erase::<VaultCluster>(&()),
        &example,
        vec![(json!({ "metadata": { "namespace": "default" } }), Taken)],
    )
    .await;
}

#[tokio::test]
async fn a_device_of_openbao_is_replaced_by_one_with_another_path() {
    let base = |distribution: &str| {
        let mut object = cluster();
        let spec = json!({ "spec": { "distribution": distribution, "configuration": { "audit": [{ "path": "a", "stdout": {} }] } } });
        super::merge(&mut object, &spec);
        object
    };
    let devices = |list: &Value| configuration(&json!({ "audit": list }));
    let changed = json!([{ "path": "a", "stdout": {}, "format": "Jsonx" }]);
    let resource = ApiResource::erase::<VaultCluster>(&());
    let cases = vec![
        (
            devices(&json!([{ "path": "b", "stdout": {}, "format": "Jsonx" }])),
            Taken,
        ),
        (devices(&changed), Refused("cannot be changed on OpenBao")),
    ];
    check_updates(&resource, &base("OpenBao"), cases).await;
    check_updates(&resource, &base("Vault"), vec![(devices(&changed), Taken)]).await;
}
