//! VaultRoles of one namespace, as the tests of a subject make them.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, SecretString};

use super::stage::{DEADLINE, Stage};

/// One namespace, and the cluster that its roles name.
pub(crate) struct Tenant {
    client: kube::Client,
    pub(crate) namespace: String,
    cluster: String,
}

impl Tenant {
    /// The stage's own namespace.
    pub(crate) fn of(stage: &Stage) -> Self {
        Self::in_namespace(stage, &stage.namespace)
    }

    /// Another namespace, which is there already.
    pub(crate) fn in_namespace(stage: &Stage, namespace: &str) -> Self {
        Self {
            client: stage.client.clone(),
            namespace: namespace.to_owned(),
            cluster: stage.namespace.clone(),
        }
    }

    pub(crate) fn roles(&self) -> Api<VaultRole> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Name in Vault of a role of this namespace.
    pub(crate) fn vault_name(&self, role: &str) -> String {
        names::vault_name(&self.namespace, role)
    }

    /// A role that logs in by AppRole with Secret `<name>-credentials`, with these fields of its spec.
    pub(crate) fn role(&self, name: &str, fields: Value) -> VaultRole {
        let mut role = json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": name },
            "spec": {
                "cluster": { "name": "main", "namespace": self.cluster },
                "policy": { "rules": [
                    { "path": format!("secret/data/{}/{name}", self.namespace), "capabilities": ["read"] },
                ] },
                "appRole": { "secretName": format!("{name}-credentials") },
            },
        });
        let Value::Object(fields) = fields else {
            panic!("fields of a spec, not {fields}")
        };
        for (field, value) in fields {
            role["spec"][field] = value;
        }
        serde_json::from_value(role).unwrap()
    }

    pub(crate) async fn create(&self, name: &str, fields: Value) -> kube::Result<VaultRole> {
        self.roles()
            .create(&PostParams::default(), &self.role(name, fields))
            .await
    }

    pub(crate) async fn patch(&self, name: &str, change: Value) -> kube::Result<VaultRole> {
        self.roles()
            .patch(name, &PatchParams::default(), &Patch::Merge(&change))
            .await
    }

    /// Waits until a condition is of this status for the spec as it is now, and gives its reason and message.
    async fn until(&self, name: &str, type_: &str, status: &str) -> anyhow::Result<(String, String)> {
        let what = format!("{type_}={status} of the role {name}");
        wait::until_async(&what, DEADLINE, async || {
            let role = self.roles().get(name).await?;
            let conditions = role.status.unwrap_or_default().conditions;
            let found = conditions.into_iter().find(|c| c.type_ == type_);
            let found = found.context("no condition")?;
            ensure!(
                found.status == status && found.observed_generation == role.metadata.generation,
                "it is {}: {}: {}",
                found.status,
                found.reason,
                found.message
            );
            Ok((found.reason, found.message))
        })
        .await
    }

    /// Waits until everything is in place.
    pub(crate) async fn until_ready(&self, name: &str) -> anyhow::Result<()> {
        self.until(name, "Ready", "True").await.map(|_| ())
    }

    /// Waits until the role is not ready for this reason, and gives the message. Not at its first word: on a busy machine a pass
    /// may fail for another reason before.
    pub(crate) async fn until_unready(&self, name: &str, reason: &str) -> anyhow::Result<String> {
        let what = format!("{reason} of the role {name}");
        wait::until_async(&what, DEADLINE, async || {
            let (found, message) = self.until(name, "Ready", "False").await?;
            ensure!(found == reason, "it is {found}: {message}");
            Ok(message)
        })
        .await
    }

    /// Waits until the spec is refused, and gives reason and message.
    pub(crate) async fn until_refused(&self, name: &str) -> anyhow::Result<(String, String)> {
        self.until(name, "Accepted", "False").await
    }

    pub(crate) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.roles().delete(name, &DeleteParams::default()).await?;
        self.until_gone(name).await
    }

    pub(crate) async fn until_gone(&self, name: &str) -> anyhow::Result<()> {
        wait::until_async("the role to be gone", DEADLINE, async || {
            match self.roles().get_opt(name).await? {
                None => Ok(()),
                Some(role) => bail!("it is there: {:?}", role.status),
            }
        })
        .await
    }

    /// Role-id and secret-id in a Secret.
    pub(crate) async fn credentials(&self, secret: &str) -> anyhow::Result<(String, SecretString)> {
        let data = self.secrets().get(secret).await?.data.unwrap_or_default();
        let text = |key: &str| -> anyhow::Result<String> {
            let value = data.get(key).with_context(|| format!("no {key}"))?;
            Ok(String::from_utf8(value.0.clone())?)
        };
        Ok((text("role-id")?, SecretString::from(text("secret-id")?)))
    }

    /// Logs in with a role's Secret.
    pub(crate) async fn log_in(&self, vault: &Client, name: &str) -> anyhow::Result<Client> {
        let (role_id, secret_id) = self.credentials(&format!("{name}-credentials")).await?;
        let login = vault.approle("approle").login(&role_id, &secret_id).await?;
        Ok(vault.with_token(&login.client_token))
    }

    /// The notes of the events of this reason about a role, once there is one.
    pub(crate) async fn notes(&self, name: &str, reason: &str) -> anyhow::Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        wait::until_async("an event about the role", DEADLINE, async || {
            let found = events.list(&ListParams::default()).await?;
            let notes: Vec<String> = found
                .into_iter()
                .filter(|e| e.reason.as_deref() == Some(reason))
                .filter(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name))
                .filter_map(|e| e.note)
                .collect();
            ensure!(!notes.is_empty(), "none with {reason}");
            Ok(notes)
        })
        .await
    }
}

/// All that is in Vault under the name of somebody: names of policies and of roles, and texts of the policies.
pub(crate) async fn everything(root: &Client) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for policy in root.list_policies().await? {
        let text = root.read_policy(&policy).await.unwrap_or_default();
        found.insert(format!("policy {policy}: {text}"));
    }
    for role in root.approle("approle").list_roles().await? {
        let settings = root.approle("approle").read_role(&role).await?;
        let ids = root.approle("approle").list_secret_id_accessors(&role).await;
        found.insert(format!("AppRole role {role}: {settings:?} with {ids:?}"));
    }
    for role in root.kubernetes("kubernetes").list_roles().await? {
        let settings = root.kubernetes("kubernetes").read_role(&role).await?;
        found.insert(format!("Kubernetes auth role {role}: {settings:?}"));
    }
    Ok(found)
}

/// The calls to Vault that an operator made about roles: all that it writes under `sys/policies` and `auth`, its own
/// login left aside.
pub(crate) fn writes(points: &Points) -> Vec<String> {
    points
        .seen()
        .into_iter()
        .map(|point| point.call)
        .filter(|call| call.starts_with("Vault ") && !call.ends_with("/login"))
        .filter(|call| call.contains(" sys/policies/") || call.contains(" auth/"))
        .collect()
}
