//! The sidecar's container and volumes as Kubernetes objects. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vaultkeeper_crds::names;

use crate::plan::{
    CA_FOLDER, CA_VOLUME, CONTAINER, CUSTOM_FOLDER, CUSTOM_VOLUME, Plan, SecretsVolume, TLS_FOLDER,
    TLS_VOLUME, TOKEN_FOLDER, TOKEN_VOLUME,
};
use crate::settings::Injection;

/// Where the agent's image holds its one program.
const PROGRAM: &str = "/bin/vaultkeeper-agent";
/// The startup probe only gates the app's start. It never gives up: a restarted agent would find the same Vault.
const PROBE_FAILURES: i32 = i32::MAX;

/// The native sidecar: an init container that goes on running.
///
/// # Errors
/// The configuration could not be written as JSON.
pub fn container(plan: &Plan, settings: &Injection) -> Result<Value, serde_json::Error> {
    let mut container = json!({
        "name": CONTAINER,
        "image": settings.agent_image,
        "command": [PROGRAM],
        "args": ["run"],
        "env": env(plan)?,
        "restartPolicy": "Always",
        "startupProbe": {
            "exec": { "command": [PROGRAM, "ready"] },
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": PROBE_FAILURES,
        },
        "resources": resources(plan),
        // What Pod Security "restricted" asks for.
        "securityContext": {
            "runAsUser": plan.run_as_user,
            "runAsGroup": plan.run_as_group,
            "runAsNonRoot": plan.run_as_user != 0,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": mounts(plan),
    });
    if let Some(policy) = &settings.agent_image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    Ok(container)
}

fn env(plan: &Plan) -> Result<Value, serde_json::Error> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    // Templates may read these three, as with the existing injector.
    let mut env = vec![
        field("NAMESPACE", "metadata.namespace"),
        field("HOST_IP", "status.hostIP"),
        field("POD_IP", "status.podIP"),
    ];
    let named = [
        ("VAULT_LOG_LEVEL", &plan.log_level),
        ("VAULT_LOG_FORMAT", &plan.log_format),
    ];
    env.extend(named.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(json!({ "name": name, "value": value }))
    }));
    // After /agent/v1/quit it idles: the kubelet would start it again, and the pod would never end.
    env.push(json!({ "name": "VAULTKEEPER_NATIVE_SIDECAR", "value": "true" }));
    let config = STANDARD.encode(serde_json::to_vec(&plan.config)?);
    env.push(json!({ "name": "VAULT_CONFIG", "value": config }));
    Ok(Value::Array(env))
}

fn resources(plan: &Plan) -> Value {
    let mut resources = json!({});
    for (kind, quantities) in [("requests", &plan.requests), ("limits", &plan.limits)] {
        if !quantities.is_empty() {
            resources[kind] = json!(quantities);
        }
    }
    resources
}

fn mounts(plan: &Plan) -> Value {
    let read_only = |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    let mut mounts = secrets_mounts(plan);
    mounts.push(read_only(TOKEN_VOLUME, TOKEN_FOLDER));
    if plan.ca_config_map.is_some() {
        mounts.push(read_only(CA_VOLUME, CA_FOLDER));
    }
    if plan.tls_secret.is_some() {
        mounts.push(read_only(TLS_VOLUME, TLS_FOLDER));
    }
    if plan.extra_secret.is_some() {
        mounts.push(read_only(CUSTOM_VOLUME, CUSTOM_FOLDER));
    }
    Value::Array(mounts)
}

/// The mounts of the rendered files, the same in every container.
pub fn secrets_mounts(plan: &Plan) -> Vec<Value> {
    let mount = |volume: &SecretsVolume| json!({ "name": volume.name, "mountPath": volume.path });
    plan.secrets_volumes.iter().map(mount).collect()
}

/// The volumes.
pub fn volumes(plan: &Plan, settings: &Injection) -> Vec<Value> {
    let in_memory = |volume: &SecretsVolume| json!({ "name": volume.name, "emptyDir": { "medium": "Memory", "sizeLimit": settings.volume_size } });
    let mut volumes: Vec<Value> = plan.secrets_volumes.iter().map(in_memory).collect();
    // Its own token, so that pods without the API server's token can log in, and no other is mistaken for it.
    let mut token = json!({ "path": "token", "expirationSeconds": 3600 });
    if let Some(audience) = &plan.audience {
        token["audience"] = json!(audience);
    }
    volumes.push(json!({ "name": TOKEN_VOLUME, "projected": { "sources": [
        { "serviceAccountToken": token },
    ] } }));
    if let Some(name) = &plan.ca_config_map {
        volumes.push(json!({ "name": CA_VOLUME, "configMap": {
            "name": name,
            "items": [{ "key": names::CA_KEY, "path": names::CA_KEY }],
        } }));
    }
    for (volume, secret) in [
        (TLS_VOLUME, &plan.tls_secret),
        (CUSTOM_VOLUME, &plan.extra_secret),
    ] {
        if let Some(name) = secret {
            volumes.push(json!({ "name": volume, "secret": { "secretName": name } }));
        }
    }
    volumes
}
