mod agent;
mod pod;
mod resources;
mod trust;

use serde_json::{Value, json};

use super::*;
use crate::admit::{Outcome, Verdict, read};
use crate::annotations;
use crate::review;
use crate::settings::Settings;

fn settings() -> Injection {
    use clap::Parser as _;
    Settings::parse_from(["x", "--namespace", "ns"]).injection
}

fn identity() -> Identity {
    Identity {
        role: "shop.app".to_owned(),
        address: "https://main.vault.svc:8200".to_owned(),
        ca_config_map: Some("vaultkeeper.vault.main".to_owned()),
        auth_path: None,
        namespace: None,
        audience: None,
    }
}

fn annotated_pod(annotations: &[(&str, &str)]) -> Value {
    let mut all = serde_json::Map::new();
    all.insert("vault.hashicorp.com/agent-inject".to_owned(), json!("true"));
    for (key, value) in annotations {
        all.insert(format!("vault.hashicorp.com/{key}"), json!(value));
    }
    json!({
        "metadata": { "name": "app", "namespace": "shop", "annotations": all },
        "spec": {
            "serviceAccountName": "app",
            "initContainers": [{ "name": "migrate", "image": "x" }],
            "containers": [
                { "name": "app", "image": "x", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
                { "name": "web", "image": "x", "securityContext": { "runAsUser": 4711 } },
            ],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    })
}

fn verdict(pod: &Value) -> Verdict {
    verdict_as(identity(), pod)
}

fn verdict_as(identity: Identity, pod: &Value) -> Verdict {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "namespace": "shop", "operation": "CREATE", "object": pod },
    });
    let body = serde_json::to_vec(&review).expect("JSON");
    let (_, request) = review::read(&body).expect("a review");
    match read(&request) {
        Ok(wanted) => wanted.inject(identity, &settings()),
        Err(verdict) => verdict,
    }
}

fn injected(pod: &Value) -> Value {
    injected_as(identity(), pod)
}

fn injected_as(identity: Identity, pod: &Value) -> Value {
    match verdict_as(identity, pod).outcome {
        Outcome::Injected(patch) => {
            let mut patched = pod.clone();
            json_patch::patch(&mut patched, &patch).expect("the patch fits the pod");
            patched
        }
        other => panic!("the pod should be injected: {other:?}"),
    }
}

fn denied(pod: &Value) -> String {
    match verdict(pod).outcome {
        Outcome::Denied(denial) => denial.to_string(),
        other => panic!("the pod should be denied: {other:?}"),
    }
}

fn sidecar(pod: &Value) -> &Value {
    let all = pod["spec"]["initContainers"].as_array().expect("init containers");
    all.iter()
        .find(|container| container["name"] == CONTAINER)
        .expect("the sidecar")
}

fn config(pod: &Value) -> Value {
    use base64::Engine as _;
    let env = sidecar(pod)["env"].as_array().expect("variables");
    let encoded = env
        .iter()
        .find(|e| e["name"] == "VAULT_CONFIG")
        .expect("VAULT_CONFIG")["value"]
        .as_str();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.expect("text"))
        .expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

const SECRET: (&str, &str) = ("agent-inject-secret-Config", "secret/data/shop");
