//! The chart's admission policies: what the operator and the injector could do by RBAC and must not be able to do.

mod abuses;
mod acts;
mod life;
mod rights;

use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use vaultkeeper_tests::{helm, wait};

use super::installed::{account, installed};
use super::{NAMESPACE, of_kind, template};

const DEADLINE: Duration = Duration::from_secs(60);

/// A request of somebody who took over one of our ServiceAccounts. RBAC would allow it.
struct Abuse {
    what: &'static str,
    /// Part of the policy's message.
    message: &'static str,
    method: &'static str,
    path: String,
    body: Value,
}

/// The clients, and a namespace with objects that are not ours.
struct Stage {
    admin: Client,
    operator: Client,
    injector: Client,
    foreign: String,
}

impl Stage {
    async fn new() -> Self {
        let control_plane = installed().await;
        let client = |name: &'static str| control_plane.client_for_service_account(NAMESPACE, name);
        let stage = Self {
            admin: control_plane.client().await.unwrap(),
            operator: client("keeper-operator").await.unwrap(),
            injector: client("keeper-injector").await.unwrap(),
            foreign: control_plane.create_namespace("foreign").await.unwrap(),
        };
        account(&stage.admin, &stage.foreign).await;
        stage
    }

    /// Makes what is not the operator's, and keys and a CA of a cluster that is not there.
    async fn furnish(&self) {
        let space = format!("/api/v1/namespaces/{}", self.foreign);
        let named = json!({ "metadata": { "name": "theirs" } });
        let merged = |more: Value| {
            let mut object = named.clone();
            object
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            object
        };
        let keys = |name: String| json!({ "metadata": { "name": name, "labels": ours() }, "stringData": { "share-1": "s", "recovery-key-1": "r", "threshold": "1" } });
        let kept = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let owner = &self.foreign;
        for (path, body) in [
            (format!("{space}/secrets"), named.clone()),
            (format!("{space}/configmaps"), named.clone()),
            (
                format!("{space}/serviceaccounts"),
                json!({ "metadata": { "name": "strong" } }),
            ),
            (
                format!("{space}/services"),
                merged(
                    json!({ "spec": { "ports": [{ "port": 1 }], "selector": { "vaultkeeper.dev/cluster": "theirs" } } }),
                ),
            ),
            (
                format!("{space}/pods"),
                merged(json!({ "spec": { "containers": [{ "name": "a", "image": "a" }] } })),
            ),
            (
                format!("{space}/pods"),
                json!({
                    "metadata": { "name": "member", "labels": { "vaultkeeper.dev/cluster": "theirs" } },
                    "spec": { "containers": [{ "name": "a", "image": "a" }] },
                }),
            ),
            (
                format!(
                    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
                    self.foreign
                ),
                merged(json!({ "spec": { "podSelector": {} } })),
            ),
            (
                format!("{space}/persistentvolumeclaims"),
                json!({
                    "metadata": { "name": "member", "labels": { "vaultkeeper.dev/cluster": "theirs" } },
                    "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
                }),
            ),
            (
                format!("{space}/persistentvolumeclaims"),
                merged(
                    json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }),
                ),
            ),
            (
                format!("/apis/apps/v1/namespaces/{}/statefulsets", self.foreign),
                stateful_set("theirs", "theirs", &json!({})),
            ),
            (
                format!("/apis/apps/v1/namespaces/{}/deployments", self.foreign),
                workload("theirs"),
            ),
            (
                format!("/apis/apps/v1/namespaces/{}/daemonsets", self.foreign),
                workload("theirs"),
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned(),
                json!({
                    "metadata": { "name": format!("theirs-{}", self.foreign) },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
                }),
            ),
            (
                "/api/v1/namespaces/kube-system/secrets".to_owned(),
                json!({ "metadata": { "name": format!("theirs-{}", self.foreign) } }),
            ),
            (kept.clone(), keys(format!("vault-keys.{owner}.gone"))),
            (kept.clone(), keys(format!("vault-keys.{owner}.gone.retired-1"))),
            (
                kept,
                json!({
                    "metadata": { "name": format!("vault-ca.{owner}.gone"), "labels": ours() },
                    "stringData": { "ca.crt": "A", "ca.key": "a", "next.crt": "B", "next.key": "b" },
                }),
            ),
        ] {
            if let Err(error) = send(&self.admin, "POST", &path, &body).await {
                panic!("a foreign object should be made at {path}: {error}");
            }
        }
    }

    /// Waits until the policies work, which the API server learns a moment after their installation.
    async fn refuses(&self, client: &Client, abuse: &Abuse) {
        let Abuse {
            what,
            message,
            method,
            path,
            body,
        } = abuse;
        let path = format!("{path}?dryRun=All");
        wait::until_async(&format!("the refusal of: {what}"), DEADLINE, async || match send(
            client, method, &path, body,
        )
        .await
        {
            Ok(_) => bail!("it was allowed"),
            Err(kube::Error::Api(status)) => {
                ensure!(
                    status.code == 422 || status.code == 403,
                    "it failed otherwise: {status:?}"
                );
                ensure!(
                    status.message.contains("ValidatingAdmissionPolicy") && status.message.contains(message),
                    "the message should hold `{message}`: {}",
                    status.message
                );
                Ok(())
            }
            Err(error) => bail!("it failed otherwise: {error}"),
        })
        .await
        .unwrap();
    }
}

/// The label of the operator's objects.
fn ours() -> Value {
    json!({ "app.kubernetes.io/managed-by": "vaultkeeper" })
}

fn stateful_set(name: &str, account: &str, pod: &Value) -> Value {
    let mut spec = json!({ "serviceAccountName": account, "containers": [{ "name": "a", "image": "a" }] });
    spec.as_object_mut()
        .unwrap()
        .extend(pod.as_object().unwrap().clone());
    json!({
        "metadata": { "name": name },
        "spec": {
            "serviceName": name,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": spec },
        },
    })
}

/// A Deployment or a DaemonSet.
fn workload(name: &str) -> Value {
    let mut workload = stateful_set(name, "strong", &json!({}));
    workload["spec"].as_object_mut().unwrap().remove("serviceName");
    workload
}

/// One request. A `PATCH` is a merge patch.
async fn send(client: &Client, method: &str, path: &str, body: &Value) -> kube::Result<Value> {
    let (method, kind) = match method {
        "PATCH" => ("PATCH", "application/merge-patch+json"),
        "JSON-PATCH" => ("PATCH", "application/json-patch+json"),
        other => (other, "application/json"),
    };
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body).unwrap()
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", kind)
        .body(body)
        .unwrap();
    client.request(request).await
}

#[tokio::test]
async fn what_rbac_leaves_open_is_refused_with_a_clear_message() {
    let stage = Stage::new().await;
    stage.furnish().await;
    for abuse in stage.by_operator() {
        stage.refuses(&stage.operator, &abuse).await;
        let Abuse {
            what,
            message: _,
            method,
            path,
            body,
        } = abuse;
        // The request itself is sound: others may do it.
        let path = format!("{path}?dryRun=All");
        if let Err(error) = send(&stage.admin, method, &path, &body).await {
            panic!("an administrator should be allowed {what}: {error}");
        }
    }
    for abuse in Stage::by_injector() {
        stage.refuses(&stage.injector, &abuse).await;
    }
}

#[tokio::test]
async fn what_a_person_has_added_to_an_object_does_not_stop_the_operator() {
    let stage = Stage::new().await;
    stage.furnish().await;
    for abuse in stage.by_operator() {
        stage.refuses(&stage.operator, &abuse).await;
    }
    let space = format!("/api/v1/namespaces/{}", stage.foreign);
    let set = format!("/apis/apps/v1/namespaces/{}/statefulsets", stage.foreign);
    let mut wanted = stateful_set("edited", "edited", &json!({ "hostNetwork": true }));
    wanted["metadata"]["labels"] = ours();
    let service = json!({
        "metadata": { "name": "edited", "labels": ours() },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 1 }], "selector": { "vaultkeeper.dev/cluster": "edited" } },
    });
    for (path, body) in [(&set, wanted), (&format!("{space}/services"), service)] {
        send(&stage.admin, "POST", path, &body).await.unwrap();
        let edited = format!("{path}/edited");
        let touch = json!({ "metadata": { "annotations": { "touched": "yes" } } });
        if let Err(error) = send(&stage.operator, "PATCH", &edited, &touch).await {
            panic!("the operator should be allowed to go on with {edited}: {error}");
        }
    }
}

#[tokio::test]
async fn the_api_server_finds_no_fault_in_the_types_of_the_policies() {
    // The shared one, which has the controller that looks for them. Nothing is bound there.
    let client = crate::shared::control_plane().await.client().await.unwrap();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client);
    let objects = template(&helm::chart(), &[]).unwrap();
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        let mut policy: ValidatingAdmissionPolicy = serde_json::from_value(policy.clone()).unwrap();
        let name = format!("types-{}", policy.metadata.name.unwrap_or_default());
        policy.metadata.name = Some(name.clone());
        policies.create(&PostParams::default(), &policy).await.unwrap();
        let status = wait::until_async(&format!("the judgement of {name}"), DEADLINE, async || {
            let status = policies.get(&name).await?.status.unwrap_or_default();
            ensure!(status.observed_generation.is_some(), "it was not looked at yet");
            Ok(status)
        })
        .await
        .unwrap();
        let warnings = status.type_checking.and_then(|types| types.expression_warnings);
        let warnings: Vec<_> = warnings.iter().flatten().map(|found| &found.warning).collect();
        assert!(warnings.is_empty(), "{name}: {warnings:#?}");
    }
}
