//! Whatever the API server takes the operator takes: a spec that only the operator refuses would be noticed too late.
//! What no rule of the API server can say stands at the end, and nothing else may.

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_operator::cluster::validate::validate;
use vaultkeeper_operator::cluster::{build, external};
use vaultkeeper_operator::context::HelperImage;

use super::{client, cluster, merge};

/// How many questions are under way at a time.
const AT_A_TIME: usize = 8;

/// Values that are put in the place of each text of a spec: what is read with other eyes by Vault, by a policy, by a
/// path or by a clock than by a person.
const TEXTS: [&str; 43] = [
    "",
    "a",
    "root",
    "Root",
    " root",
    "root ",
    "ROOT,app",
    "vaultkeeper-operator",
    "Vaultkeeper",
    "\u{212a}ubernetes",
    "kubernetes",
    "kubernetes/",
    "/approle",
    "approle",
    "token",
    "sys",
    "a/b",
    "a//b",
    "../a",
    "a/+/*",
    "a\" { capabilities = [\"sudo\"] }",
    "${a}",
    "stdout",
    "/dev/null",
    "/dev/log",
    "/vault/audit/a.log.1",
    "/vault/audit/../a",
    "999999Gi",
    "0s",
    "1h30m",
    "99999d",
    "99999999999999999999s",
    "https://a",
    "https://A.example.com:8200",
    "https://a..b",
    "https://a:99999",
    "https://127.1",
    "https://10.0.0.1:8200",
    "https://[fd00::1]:8200",
    "https://[1::2::3]",
    "https://u@a",
    "a.b",
    "vault-keys.a.b",
];

/// Values in the place of each number.
const NUMBERS: [i64; 9] = [-1, 0, 1, 2, 3, 4, 7, 8, 256];

fn bases() -> Vec<Value> {
    let secret = json!({"name": "s", "key": "k"});
    let user = json!({"name": "ana", "password": secret, "token": {"policies": ["app"], "ttl": "1h", "maxTtl": "4h"}});
    let jwt = json!({"name": "build", "roleType": "Jwt", "userClaim": "sub", "boundAudiences": ["vault"], "boundClaims": {"ref": ["main"]}, "token": {"policies": ["app"]}});
    let oidc = json!({"name": "staff", "roleType": "Oidc", "userClaim": "email", "allowedRedirectUris": ["https://v/cb"], "token": {"policies": ["app"]}});
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n";
    let configuration = json!({
        "drift": "Report",
        "secretsEngines": [{"path": "kv", "type": "kv", "options": {"version": "2"}, "tune": {"defaultLeaseTtl": "1h", "maxLeaseTtl": "2h"}}],
        "authMethods": [
            {"path": "people", "type": "userpass", "tune": {"defaultLeaseTtl": "1h", "maxLeaseTtl": "2h"}, "userpass": {"users": [user]}},
            {"path": "ci", "type": "jwt", "jwt": {"jwksUrl": "https://ci", "roles": [jwt]}},
            {"path": "oidc", "type": "oidc", "jwt": {"discoveryUrl": "https://idp", "clientId": "v", "clientSecret": secret, "roles": [oidc]}},
            {"path": "web", "type": "cert", "cert": {"roles": [{"name": "web", "certificate": pem, "token": {"policies": ["app"]}}]}},
            {"path": "other", "type": "kubernetes", "kubernetes": {"host": "https://other", "tokenReviewer": secret}},
            {"path": "approle", "type": "approle"},
        ],
        "policies": [{"name": "app", "hcl": "x"}, {"name": "auditor", "persona": "Auditor"}],
        "passwordPolicies": [{"name": "long", "hcl": "length = 20"}],
        "audit": [{"path": "out", "stdout": {}}, {"path": "err", "file": {"path": "/dev/stderr"}}, {"path": "siem", "socket": {"address": "siem:9090", "type": "Udp"}}],
        "mfa": {"totp": [{"name": "app", "issuer": "v"}], "enforcements": [{"name": "people", "methods": ["app"], "authMethods": ["people"]}]},
    });
    let with = |spec: Value| {
        let mut object = cluster();
        merge(&mut object, &json!({ "spec": spec }));
        object
    };
    vec![
        with(
            json!({"replicas": 3, "profile": "Hardened", "seal": {"shamir": {"shares": 3, "threshold": 2}}, "configuration": configuration}),
        ),
        with(
            json!({"distribution": "OpenBao", "version": "2.6.2", "replicas": 1, "profile": "Development", "standbyReads": true,
            "seal": {"static": {"current": {"id": "a", "secret": secret}}, "recovery": {"shares": 3, "threshold": 2}},
            "configuration": {"namespaces": [{"path": "team"}], "audit": [{"path": "out", "stdout": {}}]}}),
        ),
        with(
            json!({"storage": {"raft": null, "consul": {"address": "https://c:8501"}}, "replicas": 4, "seal": {"awskms": {"region": "r", "kmsKeyId": "k"}}}),
        ),
        with(
            json!({"auditVolume": {"size": "10Gi"}, "pod": {"syslogSocket": "/dev/log"}, "configuration": {"audit": [
                {"path": "log", "file": {"path": "/vault/audit/a.log", "rotate": {"maxSize": "100Mi", "keep": 5}}},
                {"path": "more", "file": {"path": "/vault/audit/b"}}, {"path": "sys", "syslog": {"facility": "AUTH"}},
            ]}}),
        ),
        with(json!({"storage": {"raft": null, "ephemeral": {}}, "replicas": 1, "profile": "Development"})),
        with(
            json!({"storage": null, "distribution": "OpenBao", "version": "2.6.2", "external": {
                "address": "https://v:8200", "namespace": "team", "ca": {"secret": secret},
                "kubernetesAuth": {"path": "clusters/prod", "role": "operator"},
            }}),
        ),
        with(json!({"storage": null, "external": {
            "address": "https://v:8200", "ca": {"configMap": {"name": "c", "key": "k"}},
            "kubernetesAuth": {"path": "clusters/prod"},
        }, "configuration": {"authMethods": [{"path": "other", "type": "kubernetes", "kubernetes": {"host": "https://other", "tokenReviewer": secret}}]}})),
        with(
            json!({"distribution": "OpenBao", "version": "2.6.2", "seal": {"pkcs11": {"lib": "/l.so", "slot": "0", "pinSecret": secret, "keyLabel": "k"}}}),
        ),
    ]
}

/// Every spec that differs from this one in one value: another text or number, or one that is missing.
fn neighbours(base: &Value, texts: &[&str]) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    leaves(&base["spec"], "/spec", &mut paths);
    let mut all = vec![("nothing".to_owned(), base.clone())];
    for path in paths {
        let there = base.pointer(&path).cloned().unwrap_or_default();
        let others: Vec<Value> = match &there {
            Value::String(_) => texts.iter().map(|text| json!(text)).collect(),
            Value::Number(_) => NUMBERS.iter().map(|number| json!(number)).collect(),
            Value::Bool(value) => vec![json!(!value)],
            _ => Vec::new(),
        };
        for other in others {
            let mut changed = base.clone();
            *changed.pointer_mut(&path).unwrap() = other.clone();
            all.push((format!("{path} = {other}"), changed));
        }
        let (parent, key) = path.rsplit_once('/').unwrap();
        let mut without = base.clone();
        match without.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(key)),
            Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        }
        all.push((format!("{path} is missing"), without));
    }
    all
}

fn leaves(value: &Value, path: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            // Also as a whole: what is left out takes its rules with it.
            paths.push(path.to_owned());
            for (key, child) in map {
                leaves(child, &format!("{path}/{key}"), paths);
            }
        }
        Value::Array(items) => {
            for (n, child) in items.iter().enumerate() {
                leaves(child, &format!("{path}/{n}"), paths);
            }
        }
        _ => paths.push(path.to_owned()),
    }
}

/// The object as the API server would store it, if it takes it.
async fn ask<K>(client: &Client, object: &Value) -> Option<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api.create(&dry, &object).await {
        Ok(stored) => {
            let stored = serde_json::to_value(stored).unwrap();
            Some(serde_json::from_value(stored).expect("what the API server takes has our types"))
        }
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 400 => None,
        Err(error) => panic!("no answer about {object:?}: {error}"),
    }
}

/// The answers about each base and each of its neighbours: the object as it would be stored, if it is taken.
pub(super) async fn differing<K>(bases: &[Value], texts: &[&str]) -> Vec<(String, Option<K>)>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let client = client().await;
    let specs: Vec<(String, Value)> = bases.iter().flat_map(|base| neighbours(base, texts)).collect();
    let asked = stream::iter(specs).map(|(change, object)| {
        let client = client.clone();
        async move { (change, ask(&client, &object).await) }
    });
    let answers: Vec<(String, Option<K>)> = asked.buffer_unordered(AT_A_TIME).collect().await;
    let as_they_are = answers
        .iter()
        .filter(|(change, stored)| change == "nothing" && stored.is_some());
    assert_eq!(as_they_are.count(), bases.len(), "each spec is taken as it is");
    answers
}

#[tokio::test]
async fn whatever_the_api_server_takes_the_operator_takes_too() {
    let answers = differing::<VaultCluster>(&bases(), &TEXTS).await;
    let mut wrong = Vec::new();
    let mut taken = 0;
    for (change, stored) in &answers {
        let Some(stored) = stored else { continue };
        taken += 1;
        let answer = match &stored.spec.external {
            Some(vault) => external::accepts(stored, vault),
            None => validate(stored).map(drop),
        };
        if let Err(refused) = answer {
            wrong.push(format!(
                "{change}: the API server takes it, and the operator says {refused}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = answers.len() - taken;
    assert!(
        taken > 300 && refused > 300,
        "the questions should be of both kinds: {taken} were taken, {refused} refused"
    );
}

const ALICE: &str = include_str!("../../../../operator/src/cluster/openpgp/keys/alice.asc");
const BOB: &str = include_str!("../../../../operator/src/cluster/openpgp/keys/bob.asc");

/// What the operator says of a spec.
fn judged(cluster: &VaultCluster) -> Result<(), String> {
    let validated = validate(cluster).map_err(|refused| refused.to_string())?;
    let around = build::Around {
        operator_namespace: "system",
        helper: &HelperImage::default(),
        sealed_on_purpose: false,
    };
    let built = build::build(&validated, None, around);
    built.map(drop).map_err(|refused| refused.to_string())
}

#[tokio::test]
async fn the_content_of_a_key_and_of_server_settings_is_judged_by_the_operator_alone() {
    let client = client().await;
    let custodians = |bobs: &str| {
        let people = json!([{"name": "alice", "pgpKey": ALICE}, {"name": "bob", "pgpKey": bobs}]);
        json!({"seal": {"shamir": {"shares": 2, "threshold": 2, "custodians": people}}})
    };
    let setting = |name: &str| json!({"serverConfig": {name: "87600h"}});
    for (spec, words) in [
        (custodians(BOB), None),
        (custodians("nonsense"), Some("the pgpKey of bob")),
        (custodians(ALICE), Some("bob and alice have the same pgpKey")),
        (setting("max_lease_ttl"), None),
        (setting("storage"), Some("storage")),
    ] {
        let mut object = cluster();
        merge(&mut object, &json!({ "spec": spec }));
        let stored: Option<VaultCluster> = ask(&client, &object).await;
        let mut stored = stored.unwrap_or_else(|| panic!("the API server should take {spec}"));
        stored.metadata.uid = Some("u-1".to_owned());
        let said = judged(&stored);
        match words {
            None => assert_eq!(said, Ok(()), "{spec}"),
            Some(words) => assert!(
                said.as_ref().is_err_and(|said| said.contains(words)),
                "{spec} should be refused with {words:?}: {said:?}"
            ),
        }
    }
}
