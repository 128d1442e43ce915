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
pub(super) async fn a_mount_or_an_auth_method_that_cannot_work_is_refused_and_its_neighbour_taken() {
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
            &json!({ "jwksUrl": "https://ci", "roles": [{ "name": role, "roleType": "Jwt", "userClaim": "sub", "boundSubject": "a" }] }),
        )
    };
    let bound = |bound: &Value| {
        let mut role = json!({ "name": "build", "roleType": "Jwt", "userClaim": "sub" });
        super::merge(&mut role, bound);
        method(
            "jwt",
            "ci",
            "jwt",
            &json!({ "jwksUrl": "https://ci", "roles": [role] }),
        )
    };
    let browser = |settings: &Value, uris: &[&str]| {
        let role =
            json!({ "name": "staff", "roleType": "Oidc", "userClaim": "email", "allowedRedirectUris": uris });
        let mut value = json!({ "discoveryUrl": "https://idp", "roles": [role] });
        super::merge(&mut value, settings);
        method("oidc", "oidc", "jwt", &value)
    };
    let client = json!({ "clientId": "v", "clientSecret": { "name": "s", "key": "k" } });
    let no_bound = "a role of roleType Jwt needs a bound: boundAudiences, boundSubject or boundClaims";
    let cert = |label: &str| {
        let pem = format!("-----BEGIN {label}-----\nMIIB+/=\n-----END {label}-----\n");
        method(
            "cert",
            "web",
            "cert",
            &json!({ "roles": [{ "name": "web", "certificate": pem }] }),
        )
    };
    let cert_role = |name: &str, policy: &str| {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n";
        let role = json!({ "name": name, "certificate": pem, "token": { "policies": [policy] } });
        method("cert", "web", "cert", &json!({ "roles": [role] }))
    };
    let user = |name: &str, policy: &str, ttl: &str| {
        method(
            "userpass",
            "people",
            "userpass",
            &json!({ "users": [{ "name": name, "password": { "name": "s", "key": "k" }, "token": { "policies": [policy], "ttl": ttl } }] }),
        )
    };
    let max = |ttl: &str| {
        let user =
            json!({ "name": "ana", "password": { "name": "s", "key": "k" }, "token": { "maxTtl": ttl } });
        method("userpass", "people", "userpass", &json!({ "users": [user] }))
    };
    let password = |secret: &str| {
        let user = json!({ "name": "ana", "password": { "name": secret, "key": "k" } });
        method("userpass", "people", "userpass", &json!({ "users": [user] }))
    };
    all(vec![
        (engine("1h30m"), Taken),
        (engine("1h30"), Refused("maxLeaseTtl must be a duration such as 24h")),
        (lease("90s"), Taken),
        (lease("90"), Refused("defaultLeaseTtl must be a duration such as 1h")),
        (engine("9999d999999h9999999m99999999s"), Taken),
        (engine("10000d"), Refused("maxLeaseTtl must be a duration such as 24h")),
        (engine("1m1h"), Refused("its units in this order: d, h, m, s")),
        (engine(""), Refused("should be at least 2 chars long")),
        (lease("99999999s"), Taken),
        (lease("100000000s"), Refused("defaultLeaseTtl must be a duration such as 1h")),
        (engines("b"), Taken),
        (engines("a"), Refused("Duplicate value")),
        (methods("b"), Taken),
        (methods("a"), Refused("Duplicate value")),
        (tune("defaultLeaseTtl", "1h"), Taken),
        (tune("defaultLeaseTtl", "hh"), Refused("defaultLeaseTtl must be a duration such as 1h")),
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
        (bound(&json!({ "boundSubject": "a", "token": { "policies": ["app"] } })), Taken),
        (bound(&json!({ "boundSubject": "a", "token": { "policies": ["app,root"] } })), Refused("should match")),
        (cert_role("web", "app"), Taken),
        (cert_role("Web", "app"), Refused("should match")),
        (cert_role("web", "app,root"), Refused("should match")),
        (cert("CERTIFICATE"), Taken),
        (cert("PRIVATE KEY"), Refused("should match")),
        (bound(&json!({ "boundAudiences": ["vault"] })), Taken),
        (bound(&json!({ "boundSubject": "a" })), Taken),
        (bound(&json!({ "boundClaims": { "ref": ["main"] } })), Taken),
        (bound(&json!({})), Refused(no_bound)),
        (bound(&json!({ "boundClaims": {} })), Refused(no_bound)),
        (bound(&json!({ "boundAudiences": [] })), Refused(no_bound)),
        (bound(&json!({ "boundClaims": { "ref": [] } })), Refused("should have at least 1 items")),
        (bound(&json!({ "boundAudiences": [""] })), Refused("should be at least 1 chars long")),
        (browser(&client, &["https://v/cb"]), Taken),
        (browser(&client, &[]), Refused("a role of roleType Oidc needs allowedRedirectUris")),
        (browser(&json!({}), &["https://v/cb"]), Refused("a role of roleType Oidc needs clientId and clientSecret beside it")),
        (method("approle", "approle", "tune", &json!({})), Taken),
        (method("jwt", "approle", "tune", &json!({})), Refused("the operator and VaultRoles log in at the paths kubernetes, approle and cert")),
        (method("jwt", "approle2", "tune", &json!({})), Taken),
        (method("jwt", "cert", "tune", &json!({})), Refused("the operator and VaultRoles log in at the paths kubernetes, approle and cert")),
        (method("jwt", "cert2", "tune", &json!({})), Taken),
        (method("cert", "cert", "tune", &json!({})), Taken),
        (method("kubernetes", "kubernetes", "tune", &json!({})), Taken),
        (method("cert", "kubernetes", "tune", &json!({})), Refused("the operator and VaultRoles log in at the paths kubernetes, approle and cert")),
        (method("jwt", "web", "cert", &json!({})), Refused("cert holds the settings of a method of type cert")),
        (user("ana.b-c_d", "app", "1h"), Taken),
        (user("ana@x", "app", "1h"), Refused("should match")),
        (user("Ana", "app", "1h"), Refused("should match")),
        (user("ana", "root", "1h"), Refused("policies must not hold root or a policy of the operator")),
        (user("ana", "vaultkeeper-operator", "1h"), Refused("policies must not hold root or a policy of the operator")),
        (user("ana", "Root", "1h"), Refused("policies must not hold root or a policy of the operator, however they are written")),
        (user("ana", "VaultKeeper-x", "1h"), Refused("policies must not hold root or a policy of the operator")),
        (user("ana", "Rooted", "1h"), Taken),
        (user("ana", " root", "1h"), Refused("should match")),
        (user("ana", "app,root", "1h"), Refused("should match")),
        (user("ana", "team/app", "1h"), Taken),
        (user("ana", "app", "1x"), Refused("ttl must be a duration such as 1h")),
        (user("ana", "app", "99999999999999999999s"), Refused("ttl must be a duration such as 1h")),
        (max("4h"), Taken),
        (max("4"), Refused("should be at least 2 chars long")),
        (max("4w"), Refused("maxTtl must be a duration such as 4h")),
        (password("vault-keys.vault.main"), Refused("name must not be that of a Secret in which the operator keeps keys")),
        (password("vault-ca.vault.main"), Refused("name must not be that of a Secret in which the operator keeps keys")),
        (password("vault-keys"), Taken),
        (password("Staff"), Refused("name must be the name of a Secret in the namespace of the VaultCluster")),
        (
            method("kubernetes", "other", "kubernetes", &json!({ "host": "https://other", "tokenReviewer": { "name": "vault-keys.a.b", "key": "share-0" } })),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (
            jwt(&json!({ "clientId": "v", "clientSecret": { "name": "vault-keys.a.b", "key": "share-0" } })),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (method("jwt", "people", "userpass", &json!({})), Refused("userpass holds the users of a method of type userpass")),
    ])
    .await;
}

#[tokio::test]
pub(super) async fn policies_audit_mfa_and_namespaces_that_cannot_work_are_refused_and_their_neighbours_taken()
 {
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
    let devices = |list: &Value| configuration(&json!({ "audit": list }));
    let totp_named = |name: &str, digits: u32| {
        configuration(&json!({ "mfa": { "totp": [{ "name": name, "issuer": "v", "digits": digits }] } }))
    };
    let totp = |digits: u32| totp_named("app", digits);
    let enforcement = |name: &str| {
        let rule = json!({ "name": name, "methods": ["app"], "authMethods": ["people"] });
        configuration(&json!({ "mfa": { "enforcements": [rule] } }))
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
        (file("/dev/stderr"), Taken),
        (file("/dev/stdout"), Taken),
        (file("/vault/audit/a.log"), Refused("which needs spec.auditVolume")),
        (file("/vault/data/a.log"), Refused("or /dev/stderr or /dev/stdout: the data volume is not for files that grow")),
        (file("/dev/null"), Refused("file.path must be a plain name below /vault/audit/")),
        (file("discard"), Refused("file.path must be a plain name below /vault/audit/")),
        (devices(&json!([{ "path": "a", "stdout": {} }, { "path": "b", "file": { "path": "/dev/stderr" } }])), Taken),
        (devices(&json!([{ "path": "a", "stdout": {} }, { "path": "b", "stdout": {} }])), Refused("audit must not hold two devices for the same stream")),
        (
            devices(&json!([{ "path": "a", "file": { "path": "/dev/stderr" } }, { "path": "b", "file": { "path": "/dev/stderr" } }])),
            Refused("audit must not hold two devices for the same stream"),
        ),
        (device(&json!({ "socket": { "address": "127.0.0.1:9090", "type": "Udp" } })), Taken),
        (device(&json!({ "socket": { "address": "a b" } })), Refused("should match")),
        (device(&json!({ "socket": { "address": "/a/log.sock", "type": "Unix" } })), Refused("socket.type Unix cannot work")),
        (device(&json!({ "syslog": {} })), Refused("holds a syslog device, which needs spec.pod.syslogSocket")),
        (device(&json!({ "syslog": { "facility": "auth;" } })), Refused("should match")),
        (device(&json!({ "syslog": { "tag": "a b" } })), Refused("should match")),
        (totp_named("app-1_b", 6), Taken),
        (totp_named("App", 6), Refused("should match")),
        (enforcement("people-1"), Taken),
        (enforcement("people 1"), Refused("should match")),
        (totp(8), Taken),
        (totp(7), Refused("digits must be 6 or 8")),
        (enforced("people"), Taken),
        (enforced("kubernetes"), Refused("authMethods must hold neither kubernetes nor approle")),
        (enforced("kubernetes/"), Refused("authMethods must be paths such as userpass, without a slash at their ends")),
        (enforced("/approle"), Refused("authMethods must be paths such as userpass, without a slash at their ends")),
        (enforced("team/kubernetes"), Taken),
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
async fn a_device_may_be_changed_whatever_the_product() {
    let resource = ApiResource::erase::<VaultCluster>(&());
    for distribution in ["OpenBao", "Vault"] {
        let mut base = cluster();
        let spec = json!({ "spec": { "distribution": distribution, "configuration": { "audit": [{ "path": "stdout", "stdout": {} }] } } });
        super::merge(&mut base, &spec);
        let changed = json!([{ "path": "stdout", "stdout": {}, "format": "Jsonx" }]);
        let cases = vec![(configuration(&json!({ "audit": changed })), Taken)];
        check_updates(&resource, &base, cases).await;
    }
}
