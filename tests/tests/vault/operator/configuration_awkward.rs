//! Values that a person may write and Vault writes otherwise: what is read back means the same, so that nothing is
//! taken for drift and nothing is written again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::points::Points;

use super::configuration::{password, read, until_configured};
use super::stage::{Stage, condition};

const POLICY: &str = "path \"secret/data/app\" { capabilities = [\"read\"] }";

fn awkward(ca: &Ca) -> Value {
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let pem = ca.cert_pem();
    let token = json!({"policies": ["B", "a", "b", "default"], "ttl": "1h30m", "maxTtl": "1d"});
    let ana = json!({"name": "ana.b-c_d", "password": {"name": "ana", "key": "password"}, "token": token});
    json!({
        "drift": "Report",
        "secretsEngines": [
            {"path": "team.x/kV_1", "type": "kv", "description": " two\nlines ", "options": {"version": "1"}, "tune": {
                "defaultLeaseTtl": "90m", "maxLeaseTtl": "1d", "listingVisibility": "Hidden",
                "auditNonHmacRequestKeys": ["b", "a", "b"], "auditNonHmacResponseKeys": [],
                "passthroughRequestHeaders": ["x-b", "X-A"], "allowedResponseHeaders": ["X-B", "x-a"],
            }},
            {"path": "zero", "type": "transit", "tune": {"defaultLeaseTtl": "0s", "maxLeaseTtl": "0h0m"}},
        ],
        "authMethods": [
            {"path": "people/of.us", "type": "userpass", "tune": {"defaultLeaseTtl": "120s", "tokenType": "DefaultBatch"}, "userpass": {"users": [ana]}},
            {"path": "ci", "type": "jwt", "jwt": {"publicKeys": [format!("\n{key}\n\n")], "boundIssuer": "https://ci/", "roles": [{
                "name": "build", "roleType": "Jwt", "userClaim": "/sub", "boundAudiences": ["b", "a", "b"],
                "boundClaims": {"/project/path": ["z/*", "y"], "n": ["1"]}, "boundClaimsType": "Glob",
                "groupsClaim": "groups", "claimMappings": {"sub": "subject", "/a/b": "b"}, "token": token,
            }]}},
            {"path": "devices", "type": "cert", "cert": {"disableBinding": false, "roles": [{
                "name": "web", "certificate": format!("\n{}\n\n{pem}", pem.replace('\n', "\r\n")),
                "allowedCommonNames": ["web.*", "a"], "allowedUriSans": ["spiffe://b", "spiffe://a"], "token": token,
            }]}},
            {"path": "other", "type": "kubernetes", "kubernetes": {"host": "https://other:6443/", "caCert": format!("\n{pem}\n\n")}},
        ],
        "policies": [
            {"name": "with-ends", "hcl": format!("\r\n# a comment\r\n{POLICY}\r\n\r\n")},
            {"name": "with_tabs", "hcl": format!("\t{POLICY}\n\n\t")},
            {"name": "encoded", "hcl": STANDARD.encode(POLICY)},
        ],
        "passwordPolicies": [{"name": "long.one", "hcl": "\nlength = 30\r\nrule \"charset\" { charset = \"abcdefghij\" }\n\n"}],
        "audit": [
            {"path": "stdout", "stdout": {}, "format": "Jsonx", "description": " with spaces "},
            {"path": "second", "file": {"path": "/dev/stderr"}},
        ],
        "mfa": {
            "totp": [
                {"name": "two", "issuer": "Vault & co", "algorithm": "Sha512", "periodSeconds": 60},
                {"name": "one", "issuer": "Vault"},
            ],
            "enforcements": [{"name": "people", "methods": ["two", "one", "two"], "authMethods": ["people/of.us", "devices"]}],
        },
    })
}

/// Calls that look, or log in.
const READING: [&str; 3] = [
    "auth/kubernetes/login",
    "sys/capabilities-self",
    "lookup-accessor",
];

#[tokio::test]
async fn what_vault_writes_otherwise_than_a_person_is_neither_told_as_drift_nor_written_again() {
    let stage = Stage::new().await.unwrap();
    let ca = Ca::new("clients").unwrap();
    password(&stage, "ana", "correct horse").await;
    let fields = json!({"configuration": awkward(&ca)});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    let root = stage.root(0).await.unwrap();
    let user = read(&root, "auth/people/of.us/users/ana.b-c_d").await.unwrap();
    assert_eq!(user["token_policies"], json!(["a", "b", "default"]));
    assert_eq!(
        (&user["token_ttl"], &user["token_max_ttl"]),
        (&json!(5400), &json!(86400))
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;

    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes(2).await.unwrap();
    let cluster = until_configured(&stage).await;
    let told = condition(&cluster, "Drifted").map(|c| c.message);
    assert_eq!(told, None, "nobody changed anything in Vault");
    operator.stop().await;
    let seen = points.seen();
    let written: Vec<&str> = seen
        .iter()
        .map(|point| point.call.as_str())
        .filter(|call| {
            ["Vault PUT", "Vault POST", "Vault DELETE"]
                .iter()
                .any(|verb| call.starts_with(verb))
        })
        .filter(|call| !READING.iter().any(|path| call.contains(path)))
        .collect();
    assert!(written.is_empty(), "nothing differs: {written:?}");
    stage.end().await.unwrap();
}
