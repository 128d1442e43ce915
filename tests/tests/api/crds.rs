//! The CRDs on a real API server: what it refuses, with which words, and what just passes.

mod agreement;
mod app_role;
mod audit;
mod backup;
mod certificate;
mod configuration;
mod explain;
mod external;
mod logins;
mod monitoring;
mod mutants;
mod readiness;
mod role_policy;
mod rules;
mod seals;
mod tls;

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vaultkeeper_crds::{VaultCluster, VaultRole, generate};
use vaultkeeper_tests::servers::{self, Server};
use vaultkeeper_tests::wait;

use crate::shared::control_plane;

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A client of the shared control plane, with the CRDs installed in it.
pub(crate) async fn client() -> Client {
    let client = control_plane().await.client().await.unwrap();
    INSTALLED.get_or_init(|| install(client.clone())).await;
    client
}

async fn install(client: Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in generate::manifests().unwrap() {
        let crd: CustomResourceDefinition = serde_yaml::from_str(&manifest.yaml).unwrap();
        match crds.create(&PostParams::default(), &crd).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("the API server should take {}: {error}", manifest.file),
        }
        let name = crd.name_any();
        // What is established is served a moment later.
        let path = format!("/apis/{}/v1alpha1/{}", crd.spec.group, crd.spec.names.plural);
        wait::until_async(
            "the API server to serve the CRD",
            Duration::from_secs(90),
            async || {
                let conditions = crds
                    .get(&name)
                    .await?
                    .status
                    .and_then(|s| s.conditions)
                    .unwrap_or_default();
                let is_established =
                    |c: &CustomResourceDefinitionCondition| c.type_ == "Established" && c.status == "True";
                ensure!(conditions.iter().any(is_established), "{name} is not established");
                let list = http::Request::get(&path).body(Vec::new())?;
                client.request::<Value>(list).await?;
                Ok(())
            },
        )
        .await
        .unwrap();
    }
}

/// RFC 7386: objects are merged, null removes.
fn merge(target: &mut Value, change: &Value) {
    let (Value::Object(change), Some(_)) = (change, target.as_object()) else {
        *target = change.clone();
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else if value.is_object() && target[key].is_object() {
            merge(&mut target[key], value);
        } else {
            target[key] = value.clone();
        }
    }
}

fn cluster() -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": { "name": "main" },
        "spec": { "version": "1.21.1", "storage": { "raft": { "size": "10Gi" } } },
    })
}

fn role() -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "app" },
        "spec": {
            "cluster": { "name": "main", "namespace": "vault" },
            "policy": { "rules": [{ "path": "secret/data/app/*", "capabilities": ["read"] }] },
            "appRole": { "secretName": "app-vault" },
            "kubernetes": { "serviceAccounts": ["app"] },
        },
    })
}

/// What happens to an object that is changed like this.
enum Expect {
    Taken,
    Refused(&'static str),
}
use Expect::{Refused, Taken};

/// Asks for each changed object by a dry run, and names every answer that is not the expected one.
async fn check(resource: &ApiResource, base: &Value, cases: Vec<(Value, Expect)>) {
    let client = client().await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, "default", resource);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut wrong = Vec::new();
    for (change, expect) in cases {
        let mut object = base.clone();
        merge(&mut object, &change);
        if let Refused(words) = expect {
            mutants::remember(mutants::Refusal {
                kind: resource.plural.clone(),
                before: None,
                object: object.clone(),
                words,
            });
        }
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let answer = api.create(&dry, &object).await;
        match (&answer, &expect) {
            (Ok(_), Taken) => {}
            (Err(kube::Error::Api(status)), Refused(words))
                if status.code == 422 && status.message.contains(words) => {}
            (_, Taken) => wrong.push(format!("{change} should be taken, got {answer:?}")),
            (_, Refused(words)) => {
                wrong.push(format!(
                    "{change} should be refused with `{words}`, got {answer:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_vault_cluster_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken() {
    let spec = |spec: Value| json!({ "spec": spec });
    let shamir = |shares: i32, threshold: i32| json!({ "spec": { "seal": { "shamir": { "shares": shares, "threshold": threshold } } } });
    let engine = |path: &str| json!({ "spec": { "configuration": { "secretsEngines": [{ "path": path, "type": "kv" }] } } });
    let method = |path: &str| json!({ "spec": { "configuration": { "authMethods": [{ "path": path, "type": "jwt" }] } } });
    let prefix = |prefix: &str| json!({ "spec": { "access": [{ "namespaces": ["shop"], "pathPrefixes": [prefix] }] } });
    let policy =
        |policy: &str| json!({ "spec": { "access": [{ "namespaces": ["shop"], "policies": [policy] }] } });
    let name = |name: &str| json!({ "metadata": { "name": name } });
    let cases = vec![
        (json!({}), Taken),
        (name(&"a".repeat(40)), Taken),
        (
            name(&"a".repeat(41)),
            Refused("metadata.name must be a DNS label of at most 40 characters"),
        ),
        (name("1main"), Refused("that starts with a letter")),
        (name("a.b"), Refused("metadata.name must be a DNS label")),
        (spec(json!({ "replicas": 5 })), Taken),
        (
            spec(json!({ "replicas": 4 })),
            Refused("spec.replicas must be odd"),
        ),
        (
            spec(json!({ "replicas": 9 })),
            Refused("should be less than or equal to 7"),
        ),
        (
            spec(json!({ "replicas": 1 })),
            Refused("spec.replicas must be at least 3 in profile Hardened"),
        ),
        (spec(json!({ "replicas": 1, "profile": "Development" })), Taken),
        (spec(json!({ "version": "1.21.1-ent" })), Taken),
        (
            spec(json!({ "version": "1.21.1+ent" })),
            Refused("spec.version with + needs spec.image"),
        ),
        (
            spec(json!({ "version": "1.21.1+ent", "image": "mirror/vault:1.21.1-ent" })),
            Taken,
        ),
        (
            spec(json!({ "version": "latest" })),
            Refused("spec.version must be a version such as 1.21.1"),
        ),
        (
            spec(json!({ "version": null })),
            Refused("spec.version: Required value"),
        ),
        (spec(json!({ "distribution": "OpenBao" })), Taken),
        (
            spec(json!({ "distribution": "Bao" })),
            Refused("Unsupported value: \"Bao\""),
        ),
        (spec(json!({ "storage": { "raft": { "size": "512Mi" } } })), Taken),
        (
            spec(json!({ "storage": { "raft": { "size": "10GB" } } })),
            Refused("spec.storage.raft.size must be a size such as 10Gi"),
        ),
        (shamir(5, 5), Taken),
        (
            shamir(5, 6),
            Refused("spec.seal.shamir.threshold must not be larger than spec.seal.shamir.shares"),
        ),
        (shamir(2, 2), Taken),
        (
            shamir(2, 1),
            Refused("spec.seal.shamir.threshold must be at least 2 when there are several shares"),
        ),
        (shamir(1, 1), Taken),
        (spec(json!({ "tls": { "managed": {} } })), Taken),
        (engine("team/kv"), Taken),
        (
            engine("/kv"),
            Refused("path must be a mount path such as secret or team/kv"),
        ),
        (engine("sys"), Refused("none of sys, identity, cubbyhole, auth")),
        (engine("system"), Taken),
        (
            spec(json!({ "configuration": { "secretsEngines": [{ "path": "kv", "type": "kv-v2" }] } })),
            Refused("type must be kv, with the version in options"),
        ),
        (method("userpass"), Taken),
        (
            method("token"),
            Refused("path must be a mount path such as userpass"),
        ),
        (method("token2"), Taken),
        (prefix("secret/data/{{namespace}}/"), Taken),
        (
            prefix("secret/data/shop"),
            Refused("each of pathPrefixes must end in a slash"),
        ),
        (
            prefix("/secret/"),
            Refused("each of pathPrefixes must end in a slash, must not start with one"),
        ),
        (prefix("secret/*/"), Refused("must not hold *, + or ..")),
        (prefix("secret/+/"), Refused("must not hold *, + or ..")),
        (prefix("secret/../"), Refused("must not hold *, + or ..")),
        (
            prefix("secret/data/{{ namespace }}/"),
            Refused("of placeholders only {{namespace}}, written without spaces"),
        ),
        (
            prefix("secret/data/{{ns}}/"),
            Refused("of placeholders only {{namespace}}"),
        ),
        (prefix("secret//shop/"), Refused("with one slash between steps")),
        (prefix("secret/./shop/"), Refused("with one slash between steps")),
        (prefix("secret/.shop/"), Taken),
        (prefix("secret/my data/"), Taken),
        (
            spec(json!({ "access": [{ "namespaces": ["*"] }] })),
            Refused("each of namespaces must be the name of a namespace; there are no wildcards"),
        ),
        (policy("app"), Taken),
        (
            policy("root"),
            Refused("policies must not hold root or a policy of the operator"),
        ),
        (policy("rooted"), Taken),
        (
            policy("Root"),
            Refused("policies must not hold root or a policy of the operator"),
        ),
        (
            policy(" VaultKeeper-x"),
            Refused("policies must not hold root or a policy of the operator"),
        ),
        (
            policy("vaultkeeper-operator"),
            Refused("policies must not hold root or a policy of the operator"),
        ),
        (
            spec(json!({ "access": [{ "namespaces": [] }] })),
            Refused("should have at least 1 items"),
        ),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
async fn placement_and_network_that_cannot_work_are_refused_in_words_and_their_neighbours_are_taken() {
    let spec = |spec: Value| json!({ "spec": spec });
    let pod = |pod: Value| json!({ "spec": { "pod": pod } });
    let image = |image: &str| json!({ "spec": { "image": image } });
    let digest = |length: usize| {
        format!(
            "registry.example.com:5000/team/vault:1.21.1@sha256:{}",
            "a".repeat(length)
        )
    };
    let toleration = |field: &str, value: &str| json!({ "spec": { "pod": { "tolerations": [{ "key": "a", field: value }] } } });
    let client = |peer: Value| json!({ "spec": { "networkPolicy": { "clients": [peer] } } });
    let term = |operator: &str| {
        let expression = json!({ "key": "disk", "operator": operator, "values": ["ssd"] });
        let terms = json!({ "nodeSelectorTerms": [{ "matchExpressions": [expression] }] });
        pod(
            json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } }),
        )
    };
    let anti = |term: Value| {
        pod(
            json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } }),
        )
    };
    let egress = |to: Value, port: i32| json!({ "spec": { "networkPolicy": { "egress": [{ "to": to, "ports": [{ "port": port }] }] } } });
    let cases = vec![
        (
            pod(json!({ "resources": { "requests": { "cpu": "250m" }, "limits": { "memory": "1Gi" } } })),
            Taken,
        ),
        (
            pod(json!({ "resources": { "requests": { "cpu": "250 m" } } })),
            Refused("should match"),
        ),
        (
            pod(json!({ "resources": { "limits": { "memory": "1GB" } } })),
            Refused("should match"),
        ),
        (image("vault"), Taken),
        (image(&digest(64)), Taken),
        (
            image(&digest(63)),
            Refused("spec.image must be an image such as registry.example.com/vault:1.21.1"),
        ),
        (
            image("Vault Server"),
            Refused("spec.image must be an image such as"),
        ),
        (
            pod(json!({ "spread": { "hosts": "Off", "zones": "Required" } })),
            Taken,
        ),
        (
            pod(json!({ "spread": { "hosts": "Sometimes" } })),
            Refused("Unsupported value: \"Sometimes\""),
        ),
        (term("In"), Taken),
        (term("Is"), Refused("Unsupported value: \"Is\"")),
        (anti(json!({ "topologyKey": "kubernetes.io/hostname" })), Taken),
        (anti(json!({})), Refused("topologyKey: Required value")),
        (toleration("effect", "NoSchedule"), Taken),
        (
            toleration("effect", "NoWay"),
            Refused("Unsupported value: \"NoWay\""),
        ),
        (toleration("operator", "Exists"), Taken),
        (toleration("operator", "Is"), Refused("Unsupported value: \"Is\"")),
        (pod(json!({ "priorityClassName": "system.high-1" })), Taken),
        (
            pod(json!({ "priorityClassName": "High" })),
            Refused("spec.pod.priorityClassName must be the name of a PriorityClass"),
        ),
        (pod(json!({ "imagePullSecrets": ["registry.1"] })), Taken),
        (
            pod(json!({ "imagePullSecrets": ["vault-keys.a.b"] })),
            Refused(
                "spec.pod.imagePullSecrets must not hold that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            pod(json!({ "imagePullSecrets": ["Registry"] })),
            Refused("spec.pod.imagePullSecrets must be names of Secrets"),
        ),
        (
            pod(json!({ "labels": { "app.kubernetes.io/part-of": "x" } })),
            Taken,
        ),
        (
            pod(json!({ "labels": { "app.kubernetes.io/name": "x" } })),
            Refused("spec.pod.labels must not hold labels that the operator sets"),
        ),
        (
            pod(json!({ "labels": { "vaultkeeper.dev/state": "active" } })),
            Refused("spec.pod.labels must not hold labels that the operator sets"),
        ),
        (pod(json!({ "annotations": { "example.com/a": "x" } })), Taken),
        (
            pod(json!({ "annotations": { "vault.hashicorp.com/agent-inject": "true" } })),
            Refused("spec.pod.annotations must not start with vaultkeeper.dev/ or vault.hashicorp.com/"),
        ),
        (
            pod(json!({ "annotations": { "vaultkeeper.dev/a": "x" } })),
            Refused("spec.pod.annotations must not start with vaultkeeper.dev/"),
        ),
        (
            pod(json!({ "serviceAccount": { "annotations": { "a": "b" } } })),
            Taken,
        ),
        (
            spec(json!({ "standbyReads": true, "distribution": "OpenBao" })),
            Taken,
        ),
        (
            spec(json!({ "standbyReads": true })),
            Refused("spec.standbyReads needs distribution OpenBao"),
        ),
        (
            spec(json!({ "serverConfig": { "listener": { "tcp": { "a": 1 } } } })),
            Taken,
        ),
        (
            spec(json!({ "serverConfig": ["a"] })),
            Refused("must be of type object"),
        ),
        (spec(json!({ "networkPolicy": { "enabled": false } })), Taken),
        (client(json!({ "namespace": "ci" })), Taken),
        (
            client(json!({})),
            Refused("a network peer must name at least one of"),
        ),
        (
            client(json!({ "namespace": "c.i" })),
            Refused("namespace must be the name of a namespace"),
        ),
        (client(json!({ "podLabels": { "app": "a" } })), Taken),
        (
            client(json!({ "podLabels": {} })),
            Refused("should have at least 1 properties"),
        ),
        (
            client(json!({ "namespaceLabels": {} })),
            Refused("should have at least 1 properties"),
        ),
        (client(json!({ "namespaceLabels": { "team": "a" } })), Taken),
        (
            client(json!({ "namespace": "ci", "namespaceLabels": { "team": "a" } })),
            Refused("a network peer must hold namespace or namespaceLabels, not both"),
        ),
        (client(json!({ "cidr": "fd00::/8" })), Taken),
        (
            client(json!({ "cidr": "10.0.0.0/33" })),
            Refused("cidr must be a block of addresses such as 10.0.0.0/8"),
        ),
        (
            client(json!({ "cidr": "10.0.0.0/8", "podLabels": { "app": "a" } })),
            Refused("a network peer with a cidr must name neither namespaces nor pods"),
        ),
        (egress(json!([{ "cidr": "10.0.0.0/8" }]), 65535), Taken),
        (
            egress(json!([{ "cidr": "10.0.0.0/8" }]), 65536),
            Refused("should be less than or equal to 65535"),
        ),
        (
            egress(json!([{ "cidr": "10.0.0.0/8" }]), 0),
            Refused("should be greater than or equal to 1"),
        ),
        (egress(json!([{ "cidr": "10.0.0.0/8" }]), 1), Taken),
        (egress(json!([]), 1), Refused("should have at least 1 items")),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
async fn a_vault_role_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken() {
    let spec = |spec: Value| json!({ "spec": spec });
    let name = |length: usize| json!({ "metadata": { "name": "a".repeat(length) } });
    let path = |path: &str| json!({ "spec": { "policy": { "rules": [{ "path": path, "capabilities": ["read"] }] } } });
    let secret = |name: &str| json!({ "spec": { "appRole": { "secretName": name } } });
    let account = |name: &str| json!({ "spec": { "kubernetes": { "serviceAccounts": [name] } } });
    let token = |ttl: &str, max: &str| json!({ "spec": { "token": { "ttl": ttl, "maxTtl": max } } });
    let cluster = |name: &str, namespace: &str| json!({ "spec": { "cluster": { "name": name, "namespace": namespace } } });
    let cases = vec![
        (json!({}), Taken),
        (name(100), Taken),
        (
            name(101),
            Refused("metadata.name must have at most 100 characters"),
        ),
        (spec(json!({ "appRole": null })), Taken),
        (spec(json!({ "kubernetes": null })), Taken),
        (
            spec(json!({ "appRole": null, "kubernetes": null })),
            Refused(
                "spec must hold at least one way to log in: appRole, kubernetes, userpass, jwt, certificate or token.deliver",
            ),
        ),
        (
            spec(json!({ "appRole": null, "kubernetes": null, "certificate": { "secretName": "a" } })),
            Taken,
        ),
        (
            spec(json!({ "policy": { "rules": [] } })),
            Refused("spec.policy must hold at least one rule, or the name of a policy in names"),
        ),
        (
            spec(json!({ "policy": { "rules": [], "names": ["shared"] } })),
            Taken,
        ),
        (
            spec(json!({ "policy": { "rules": [], "names": ["read shared"] } })),
            Refused("each of spec.policy.names must be the name of a policy"),
        ),
        (cluster("main-2", "vault-2"), Taken),
        (
            cluster("Main", "vault"),
            Refused("spec.cluster.name must be the name of a VaultCluster"),
        ),
        (
            cluster("main", "va.ult"),
            Refused("spec.cluster.namespace must be the name of a namespace"),
        ),
        (path("secret/data/+/app"), Taken),
        (
            path("secret/data/a+b"),
            Refused("path may hold + only as a whole step between slashes"),
        ),
        (path("secret/data/.app"), Taken),
        (path("secret/./app"), Refused("path must not hold . as a step")),
        (path("/secret/data"), Refused("path must not start with a slash")),
        (
            path("secret/../sys"),
            Refused("path must not start with a slash nor hold .."),
        ),
        (
            path("secret//data"),
            Refused("path must not start with a slash nor hold .., //"),
        ),
        (
            path("secret/\"x"),
            Refused("characters other than letters, digits"),
        ),
        (path("secret/a*"), Taken),
        (
            path("secret/*/a"),
            Refused("path may hold * only as its last character"),
        ),
        (
            path("secret/**"),
            Refused("path may hold * only as its last character"),
        ),
        (
            json!({ "spec": { "policy": { "rules": [{ "path": "a/b", "capabilities": [] }] } } }),
            Refused("should have at least 1 items"),
        ),
        (
            json!({ "spec": { "policy": { "rules": [{ "path": "a/b", "capabilities": ["sudo"] }] } } }),
            Refused("Unsupported value: \"sudo\""),
        ),
        (secret("app.vault-1"), Taken),
        (
            secret("App"),
            Refused("spec.appRole.secretName must be a valid name of a Secret"),
        ),
        (account("app.1"), Taken),
        (
            account("*"),
            Refused(
                "spec.kubernetes.serviceAccounts must be names of ServiceAccounts; wildcards are not allowed",
            ),
        ),
        (token("1h30m", "7d"), Taken),
        (token("1h", "9999d"), Taken),
        (
            token("1h", "10000d"),
            Refused("spec.token.maxTtl must be a duration such as 4h"),
        ),
        (
            token("99999999999999999999s", "7d"),
            Refused("spec.token.ttl must be a duration such as 1h"),
        ),
        (
            token("", "7d"),
            Refused("spec.token.ttl must be a duration such as 1h"),
        ),
        (
            token("1w", "7d"),
            Refused("spec.token.ttl must be a duration such as 1h"),
        ),
        (
            token("1h", "4"),
            Refused("spec.token.maxTtl must be a duration such as 4h"),
        ),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

/// Creates `base` in a namespace of its own, then asks for each change of it by a dry run.
async fn check_updates(resource: &ApiResource, base: &Value, cases: Vec<(Value, Expect)>) {
    let client = client().await;
    let namespace = control_plane().await.create_namespace("immutable").await.unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, resource);
    let object: DynamicObject = serde_json::from_value(base.clone()).unwrap();
    let name = object.name_any();
    api.create(&PostParams::default(), &object).await.unwrap();
    let dry = kube::api::PatchParams {
        dry_run: true,
        ..kube::api::PatchParams::default()
    };
    for (change, expect) in cases {
        if let Refused(words) = expect {
            mutants::remember(mutants::Refusal {
                kind: resource.plural.clone(),
                before: Some(base.clone()),
                object: change.clone(),
                words,
            });
        }
        let answer = api.patch(&name, &dry, &kube::api::Patch::Merge(&change)).await;
        match (&answer, &expect) {
            (Ok(_), Taken) => {}
            (Err(kube::Error::Api(status)), Refused(words)) if status.message.contains(words) => {}
            _ => panic!(
                "{change} should be {}, got {answer:?}",
                match expect {
                    Taken => "taken".to_owned(),
                    Refused(words) => format!("refused with `{words}`"),
                }
            ),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_changed_later_is_refused_with_the_reason() {
    let cases = vec![
        (json!({ "spec": { "replicas": 5 } }), Taken),
        (
            json!({ "spec": { "replicas": 1, "profile": "Development" } }),
            Taken,
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "10Gi" } } } }),
            Taken,
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "20Gi" } } } }),
            Taken,
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "10240Mi" } } } }),
            Taken,
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "10239Mi" } } } }),
            Refused("spec.storage.raft.size cannot be lowered"),
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "10G" } } } }),
            Refused("spec.storage.raft.size cannot be lowered"),
        ),
        (
            json!({ "spec": { "storage": { "raft": { "size": "11G" } } } }),
            Taken,
        ),
        (
            json!({ "spec": { "storage": { "raft": { "storageClassName": "other" } } } }),
            Refused("spec.storage.raft.storageClassName cannot be changed"),
        ),
        (
            json!({ "spec": { "distribution": "OpenBao" } }),
            Refused("spec.distribution cannot be changed"),
        ),
        (
            json!({ "spec": { "seal": { "shamir": { "shares": 7, "threshold": 3 } } } }),
            Refused("spec.seal.shamir cannot be changed after creation: that takes a rekey"),
        ),
    ];
    let mut paused = cluster();
    // The operator of this tier's other tests must not work on it.
    merge(&mut paused, &json!({ "spec": { "paused": true } }));
    check_updates(&ApiResource::erase::<VaultCluster>(&()), &paused, cases).await;
    let fewer = vec![
        (json!({ "spec": { "replicas": 3 } }), Taken),
        (
            json!({ "spec": { "replicas": 1, "profile": "Development" } }),
            Refused("spec.replicas can be lowered by at most 2 at once"),
        ),
    ];
    merge(&mut paused, &json!({ "spec": { "replicas": 5 } }));
    check_updates(&ApiResource::erase::<VaultCluster>(&()), &paused, fewer).await;

    let cases = vec![
        (json!({ "spec": { "token": { "ttl": "2h" } } }), Taken),
        (
            json!({ "spec": { "cluster": { "name": "other" } } }),
            Refused("spec.cluster cannot be changed: delete this VaultRole"),
        ),
    ];
    check_updates(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}

/// What kubectl prints, with the words on one line each: it wraps and pads them.
async fn kubectl(args: &[&str]) -> String {
    let text = kubectl_as_it_is(args).await;
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// What kubectl prints.
async fn kubectl_as_it_is(args: &[&str]) -> String {
    client().await;
    let kubeconfig = &control_plane().await.files().admin_kubeconfig;
    let output = Command::new(servers::path(Server::Kubectl).unwrap())
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        // A discovery cache of its own: the user's may know another server at this port.
        .env("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "kubectl {args:?} should succeed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn kubectl_explain_says_what_a_seal_is_by_the_short_names() {
    let seal = kubectl(&["explain", "vc.spec.seal"]).await.replace('\n', " ");
    for wanted in [
        "VaultCluster",
        "shamir",
        "How Vault is sealed: exactly one kind",
        "The operator keeps them in a Secret in its own namespace",
    ] {
        assert!(
            seal.contains(wanted),
            "kubectl explain vc.spec.seal should say {wanted:?}, it says:\n{seal}"
        );
    }
    for (field, wanted) in [
        ("vc.spec.seal.shamir.threshold", "<integer>"),
        ("vr.spec.policy.rules.capabilities", "<[]string>"),
    ] {
        let said = kubectl(&["explain", field]).await;
        let description = said.split("DESCRIPTION:").nth(1).unwrap_or_default();
        assert!(
            said.contains(wanted) && description.trim().len() > 30 && !description.contains("<empty>"),
            "kubectl explain {field} should give {wanted} and a description, it says:\n{said}"
        );
    }
}

#[tokio::test]
async fn kubectl_get_shows_what_one_wants_to_know_at_a_glance() {
    let namespace = control_plane().await.create_namespace("columns").await.unwrap();
    for (kind, object) in [("vaultclusters", cluster()), ("vaultroles", role())] {
        let resource = match kind {
            "vaultclusters" => ApiResource::erase::<VaultCluster>(&()),
            _ => ApiResource::erase::<VaultRole>(&()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client().await, &namespace, &resource);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    for (short, columns) in [
        (
            "vc",
            "NAME AVAILABLE MEMBERS VOTERS LEADER READINESS VERSION REASON AGE",
        ),
        ("vr", "NAME CLUSTER READY SECRET REASON AGE"),
    ] {
        let table = kubectl(&["get", short, "--namespace", &namespace]).await;
        assert_eq!(
            table.lines().next(),
            Some(columns),
            "columns of kubectl get {short}:\n{table}"
        );
    }
    let wide = kubectl(&["get", "vc", "-o", "wide", "--namespace", &namespace]).await;
    assert_eq!(
        wide.lines().next(),
        Some(
            "NAME AVAILABLE MEMBERS VOTERS LEADER READINESS VERSION REASON ROLLEDOUT AGE TOLERANCE CONFIGURED UNMET MESSAGE"
        ),
        "columns of kubectl get vc -o wide:\n{wide}"
    );
}
