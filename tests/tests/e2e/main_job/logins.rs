//! Pods log in with each kind of credential that a VaultRole gives, as an application would: with Vault's own program, from
//! mounted files, at a second and smaller VaultCluster.

use std::fs;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::images::Image;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, SYSTEM, installation, step};

/// Namespace of everything here.
const SPACE: &str = "logins";
/// Its VaultCluster.
const SMALL: &str = "small";

/// A pod: its name, the VaultRole, the Secret that it mounts, and the command that prints a token.
struct Login {
    kind: &'static str,
    role: &'static str,
    secret: Option<&'static str>,
    token: &'static str,
}

/// `$NAME` is what the VaultRole is called in Vault.
const LOGINS: [Login; 7] = [
    Login {
        kind: "app-role",
        role: "app",
        secret: Some("app-role"),
        token: "vault write -field=token auth/approle/login role_id=@/login/role-id secret_id=@/login/secret-id",
    },
    Login {
        kind: "wrapped",
        role: "wrapped",
        secret: Some("wrapped"),
        token: "vault write -field=token auth/approle/login role_id=@/login/role-id \
                secret_id=\"$(VAULT_TOKEN=$(cat /login/wrapping-token) vault unwrap -field=secret_id)\"",
    },
    Login {
        kind: "delivered-token",
        role: "app",
        secret: Some("delivered"),
        token: "cat /login/token",
    },
    Login {
        kind: "kubernetes",
        role: "app",
        secret: None,
        token: "vault write -field=token auth/kubernetes/login role=$NAME jwt=@/account/kubernetes",
    },
    Login {
        kind: "certificate",
        role: "app",
        secret: Some("certificate"),
        token: "vault login -method=cert -client-cert=/login/tls.crt -client-key=/login/tls.key -token-only name=$NAME",
    },
    Login {
        kind: "userpass",
        role: "app",
        secret: Some("ana"),
        token: "vault write -field=token auth/people/login/$NAME password=@/login/password",
    },
    Login {
        kind: "jwt",
        role: "app",
        secret: None,
        token: "vault write -field=token auth/ci/login role=$NAME jwt=@/account/ci",
    },
];

#[test]
fn a_pod_logs_in_with_each_kind_of_credential_and_does_what_the_policy_allows_and_nothing_else() {
    let Some(installed) = installation() else { return };
    let outcome = log_in_with_each(&installed);
    // Also after a failure, so that the next test finds one VaultCluster.
    let removed = remove(&installed);
    outcome.unwrap();
    removed.unwrap();
}

fn log_in_with_each(installed: &Installation) -> anyhow::Result<()> {
    step("a second VaultCluster and a VaultRole with every login");
    let key = fs::read_to_string(
        installed
            .cluster
            .kubeconfig()
            .with_file_name("service-account.pub"),
    )
    .context("the key that signs the tokens of ServiceAccounts")?;
    installed.apply(&list(&[
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": SPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": SPACE}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ana", "namespace": SPACE},
            "stringData": {"password": "correct horse battery staple"}}),
        vault(&key),
        role("app", &json!({
            "appRole": {"secretName": "app-role"},
            "kubernetes": {"serviceAccounts": ["app"]},
            "certificate": {"secretName": "certificate"},
            "userpass": {"path": "people", "passwordSecret": {"name": "ana", "key": "password"}},
            "jwt": {"path": "ci", "boundAudiences": ["ci"],
                "boundSubject": format!("system:serviceaccount:{SPACE}:app")},
            "token": {"deliver": {"secretName": "delivered"}},
        })),
        role("wrapped", &json!({"appRole": {"secretName": "wrapped", "wrap": {"ttl": "30m"}}})),
    ]))?;
    installed.wait_for(SPACE, &["vaultrole/app", "vaultrole/wrapped"], "Ready")?;

    step("a pod for each login");
    let pods: Vec<Value> = LOGINS.iter().map(pod).collect();
    installed.apply(&list(&pods))?;
    for Login { kind, .. } in LOGINS {
        let phase = wait::until(&format!("pod {kind} to end"), DEADLINE, || {
            let pod = installed.get(SPACE, &format!("pod/{kind}"))?;
            let phase = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
            ensure!(
                phase == "Succeeded" || phase == "Failed",
                "it is {}",
                pod["status"]
            );
            Ok(phase)
        })?;
        let said = installed.kubectl(&["logs", "-n", SPACE, kind])?;
        ensure!(
            phase == "Succeeded" && said.trim() == format!("{kind}: written, read, denied elsewhere"),
            "pod {kind} has {phase} and says: {said}"
        );
    }
    Ok(())
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn vault(key: &str) -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": SMALL, "namespace": SPACE},
        "spec": {
            "version": "1.21.1", "profile": "Development", "replicas": 1, "storage": {"ephemeral": {}},
            "configuration": {
                "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
                "authMethods": [
                    {"path": "people", "type": "userpass"},
                    {"path": "ci", "type": "jwt", "jwt": {"publicKeys": [key]}},
                ],
            },
            "access": [{"namespaces": [SPACE], "pathPrefixes": ["secret/data/{{namespace}}/"],
                "authMethods": ["people", "ci"]}],
        },
    })
}

fn role(name: &str, logins: &Value) -> Value {
    let mut role = json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "cluster": {"name": SMALL, "namespace": SPACE},
            "policy": {"rules": [{"path": format!("secret/data/{SPACE}/*"), "capabilities": ["create", "update", "read"]}]},
        },
    });
    for (field, value) in logins.as_object().into_iter().flatten() {
        role["spec"][field] = value.clone();
    }
    role
}

/// A pod that logs in, writes and reads what it may, and reads what it may not.
fn pod(login: &Login) -> Value {
    let Login {
        kind,
        role,
        secret,
        token,
    } = login;
    let script = format!(
        "set -eu\n\
         VAULT_TOKEN=$({token}); export VAULT_TOKEN\n\
         echo '{{\"data\": {{\"said\": \"{kind}\"}}}}' | vault write secret/data/{SPACE}/{kind} - >/dev/null\n\
         vault read -format=json secret/data/{SPACE}/{kind} | grep -q '\"said\": \"{kind}\"'\n\
         if vault read secret/data/other/{kind} 2>/tmp/refused; then echo 'read what it may not'; exit 1; fi\n\
         grep -q 'permission denied' /tmp/refused || {{ cat /tmp/refused; exit 1; }}\n\
         echo '{kind}: written, read, denied elsewhere'\n"
    );
    let files = names::ca_config_map(SPACE, SMALL);
    let mut volumes = vec![
        json!({"name": "tmp", "emptyDir": {}}),
        json!({"name": "vault", "configMap": {"name": files}}),
        json!({"name": "account", "projected": {"sources": [
            {"serviceAccountToken": {"path": "kubernetes"}},
            {"serviceAccountToken": {"path": "ci", "audience": "ci"}},
        ]}}),
    ];
    let mut mounts = vec![
        json!({"name": "tmp", "mountPath": "/tmp"}),
        json!({"name": "vault", "mountPath": "/vault", "readOnly": true}),
        json!({"name": "account", "mountPath": "/account", "readOnly": true}),
    ];
    if let Some(secret) = secret {
        volumes.push(json!({"name": "login", "secret": {"secretName": secret}}));
        mounts.push(json!({"name": "login", "mountPath": "/login", "readOnly": true}));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": kind, "namespace": SPACE},
        "spec": {
            "serviceAccountName": "app", "automountServiceAccountToken": false, "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": volumes,
            "containers": [{
                "name": "app", "image": Image::Vault.reference(), "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", script],
                "env": [
                    {"name": "HOME", "value": "/tmp"},
                    {"name": "NAME", "value": names::vault_name(SPACE, role)},
                    {"name": "VAULT_ADDR", "valueFrom": {"configMapKeyRef": {"name": files, "key": names::ADDRESS_KEY}}},
                    {"name": "VAULT_CACERT", "value": format!("/vault/{}", names::CA_KEY)},
                ],
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": mounts,
            }],
        },
    })
}

/// Removes the second VaultCluster with its roles and keys.
fn remove(installed: &Installation) -> anyhow::Result<()> {
    let timeout = format!("--timeout={}s", DEADLINE.as_secs());
    for object in ["vaultroles", "vaultclusters"] {
        installed.kubectl(&[
            "delete",
            object,
            "--all",
            "-n",
            SPACE,
            "--ignore-not-found",
            &timeout,
        ])?;
    }
    installed.kubectl(&["delete", "namespace", SPACE, "--ignore-not-found", &timeout])?;
    let secrets = installed.get(SYSTEM, "secrets")?;
    let names = secrets["items"].as_array().into_iter().flatten();
    for name in names.filter_map(|secret| secret["metadata"]["name"].as_str()) {
        if name.contains(&format!(".{SPACE}.{SMALL}")) {
            installed.kubectl(&["delete", "secret", "-n", SYSTEM, name])?;
        }
    }
    Ok(())
}
