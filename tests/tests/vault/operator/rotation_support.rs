//! What the tests of credentials stand on: one VaultRole `app` with an AppRole login.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vaultkeeper_crds::annotations::{ROTATE, SECRET_ID_ACCESSOR};
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, SecretString};

use super::stage::Stage;

pub(super) const DEADLINE: Duration = Duration::from_secs(240);
pub(super) const SECRET: &str = "app-credentials";

/// What an application is given.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) role_id: String,
    pub(super) secret_id: SecretString,
    pub(super) accessor: String,
}

/// A stage and the VaultRole on it.
pub(super) struct Role<'a> {
    pub(super) stage: &'a Stage,
    pub(super) root: &'a Client,
}

impl Role<'_> {
    pub(super) fn roles(&self) -> Api<VaultRole> {
        Api::namespaced(self.stage.client.clone(), &self.stage.namespace)
    }

    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.stage.client.clone(), &self.stage.namespace)
    }

    pub(super) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.stage.client.clone(), &self.stage.namespace)
    }

    /// Its name in Vault.
    pub(super) fn name(&self) -> String {
        names::vault_name(&self.stage.namespace, "app")
    }

    pub(super) fn object(&self, name: &str, app_role: &Value) -> VaultRole {
        serde_json::from_value(json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": name },
            "spec": {
                "cluster": { "name": "main", "namespace": self.stage.namespace },
                "policy": { "rules": [
                    { "path": format!("secret/data/{}/app", self.stage.namespace), "capabilities": ["read"] },
                ] },
                "appRole": app_role,
                "token": { "ttl": "10m", "maxTtl": "1h" },
            },
        }))
        .unwrap()
    }

    pub(super) async fn create(&self, app_role: Value) {
        let role = self.object("app", &app_role);
        self.roles().create(&PostParams::default(), &role).await.unwrap();
        self.until_ready().await.unwrap();
    }

    /// Changes `spec.appRole`, and waits until that is done.
    pub(super) async fn change(&self, app_role: Value) {
        let change = json!({ "spec": { "appRole": app_role } });
        self.patch(&change).await.unwrap();
        self.until_ready().await.unwrap();
    }

    pub(super) async fn patch(&self, change: &Value) -> anyhow::Result<()> {
        self.roles()
            .patch("app", &PatchParams::default(), &Patch::Merge(change))
            .await?;
        Ok(())
    }

    /// Asks for a rotation.
    pub(super) async fn ask(&self, request: &str) -> anyhow::Result<()> {
        self.patch(&json!({ "metadata": { "annotations": { ROTATE: request } } }))
            .await
    }

    /// Waits until it is ready with the spec as it is now.
    pub(super) async fn until_ready(&self) -> anyhow::Result<VaultRole> {
        wait::until_async("the role to be ready", DEADLINE, async || {
            let role = self.roles().get("app").await?;
            let status = role.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            let ready = ready.context("no condition")?;
            ensure!(
                ready.status == "True" && ready.observed_generation == role.metadata.generation,
                "it is {}: {}",
                ready.reason,
                ready.message
            );
            Ok(role)
        })
        .await
    }

    /// Waits until a role of this name says so in its condition Ready; returns the message.
    pub(super) async fn until_says(&self, name: &str, reason: &str) -> String {
        wait::until_async("the role to say so", DEADLINE, async || {
            let role = self.roles().get(name).await?;
            let conditions = role.status.unwrap_or_default().conditions;
            let ready = conditions.into_iter().find(|c| c.type_ == "Ready");
            let ready = ready.context("no condition")?;
            ensure!(
                ready.reason == reason,
                "it is {}: {}",
                ready.reason,
                ready.message
            );
            Ok(ready.message)
        })
        .await
        .unwrap()
    }

    /// The text under a key of its Secret.
    pub(super) async fn text(&self, secret: &str, key: &str) -> Option<String> {
        let secret = self.secrets().get(secret).await.unwrap();
        let value = secret.data.unwrap_or_default().remove(key)?;
        Some(String::from_utf8(value.0).unwrap())
    }

    pub(super) async fn stored(&self) -> anyhow::Result<Credentials> {
        let secret = self.secrets().get(SECRET).await?;
        let mut data = secret.data.unwrap_or_default();
        let mut text = |key: &str| -> anyhow::Result<String> {
            let value = data.remove(key).with_context(|| format!("no {key}"))?;
            Ok(String::from_utf8(value.0)?)
        };
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let accessor = annotations.get(SECRET_ID_ACCESSOR);
        Ok(Credentials {
            role_id: text("role-id")?,
            secret_id: SecretString::from(text("secret-id")?),
            accessor: accessor.cloned().context("no accessor")?,
        })
    }

    /// Waits until other credentials are stored than these.
    pub(super) async fn until_other_than(&self, old: &Credentials) -> Credentials {
        wait::until_async("other credentials to be stored", DEADLINE, async || {
            let now = self.stored().await?;
            if now.accessor == old.accessor {
                bail!("they are those of before");
            }
            Ok(now)
        })
        .await
        .unwrap()
    }

    /// Accessors of all secret-ids that Vault knows. While one is being destroyed Vault fails to list them.
    pub(super) async fn known(&self) -> BTreeSet<String> {
        let known = wait::until_async("the list of secret-ids", DEADLINE, async || {
            let method = self.root.approle("approle");
            Ok(method.list_secret_id_accessors(&self.name()).await?)
        });
        known.await.unwrap().into_iter().collect()
    }

    /// Waits until Vault knows these secret-ids and no others.
    pub(super) async fn until_known(&self, wanted: &[&Credentials]) {
        let wanted = set(wanted);
        wait::until_async("these secret-ids alone to be there", DEADLINE, async || {
            let known = self.known().await;
            ensure!(known == wanted, "Vault knows {known:?}, not {wanted:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Logs in.
    pub(super) async fn login(&self, credentials: &Credentials) -> Result<(), vaultkeeper_vault::Error> {
        let Credentials {
            role_id, secret_id, ..
        } = credentials;
        let login = self.root.approle("approle").login(role_id, secret_id).await;
        login.map(drop)
    }
}

/// Accessors of these credentials.
pub(super) fn set(credentials: &[&Credentials]) -> BTreeSet<String> {
    credentials.iter().map(|c| c.accessor.clone()).collect()
}
