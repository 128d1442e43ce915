//! VaultRoles of the tests about logins: made, changed, and waited for.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::tokens::TokenInfo;
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString};

use super::stage::Stage;

pub(super) const DEADLINE: Duration = Duration::from_secs(90);

/// One VaultRole of a stage's namespace.
pub(super) struct Role<'a> {
    pub(super) stage: &'a Stage,
    pub(super) name: &'static str,
}

impl<'a> Role<'a> {
    /// Creates it: a role that may read `secret/data/<namespace>/<name>`, with these fields besides.
    pub(super) async fn create(stage: &'a Stage, name: &'static str, fields: Value) -> anyhow::Result<Self> {
        let mut role = json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": name },
            "spec": {
                "cluster": { "name": "main", "namespace": stage.namespace },
                "policy": { "rules": [
                    { "path": format!("secret/data/{}/{name}", stage.namespace), "capabilities": ["read"] },
                ] },
            },
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            role["spec"][field] = value.clone();
        }
        let created = Self { stage, name };
        let role: VaultRole = serde_json::from_value(role)?;
        created.api().create(&PostParams::default(), &role).await?;
        Ok(created)
    }

    pub(super) fn api(&self) -> Api<VaultRole> {
        Api::namespaced(self.stage.client.clone(), &self.stage.namespace)
    }

    /// Its name in Vault.
    pub(super) fn vault_name(&self) -> String {
        names::vault_name(&self.stage.namespace, self.name)
    }

    /// Merges a change into its spec. A null removes.
    pub(super) async fn change(&self, spec: Value) -> anyhow::Result<()> {
        let change = json!({ "spec": spec });
        self.api()
            .patch(self.name, &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        Ok(())
    }

    /// Wakes the operator for it, as an edit would.
    pub(super) async fn touch(&self, value: &str) -> anyhow::Result<()> {
        let change = json!({ "metadata": { "annotations": { "touched": value } } });
        self.api()
            .patch(self.name, &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        Ok(())
    }

    /// Waits for a condition that speaks of the spec as it is now.
    pub(super) async fn until(&self, type_: &str, reason: &str) -> anyhow::Result<Condition> {
        let what = format!("{type_} of {} to be {reason}", self.name);
        wait::until_async(&what, DEADLINE, async || {
            let role = self.api().get(self.name).await?;
            let conditions = role.status.unwrap_or_default().conditions;
            let found = conditions.into_iter().find(|c| c.type_ == type_);
            let found = found.context("no condition")?;
            ensure!(
                found.reason == reason && found.observed_generation == role.metadata.generation,
                "it is {}: {}",
                found.reason,
                found.message
            );
            Ok(found)
        })
        .await
    }

    pub(super) async fn until_ready(&self) -> anyhow::Result<()> {
        self.until("Ready", "InPlace").await.map(drop)
    }

    /// Deletes it and waits until it is gone.
    pub(super) async fn delete(&self) -> anyhow::Result<()> {
        self.api().delete(self.name, &DeleteParams::default()).await?;
        wait::until_async("the role to be gone", DEADLINE, async || {
            match self.api().get_opt(self.name).await? {
                None => Ok(()),
                Some(role) => bail!("it is there: {:?}", role.status),
            }
        })
        .await
    }
}

/// A Secret of the stage's namespace.
pub(super) async fn secret(stage: &Stage, name: &str) -> anyhow::Result<Option<Secret>> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    Ok(api.get_opt(name).await?)
}

/// One value of a Secret of the stage's namespace.
pub(super) async fn value(stage: &Stage, name: &str, key: &str) -> anyhow::Result<SecretString> {
    let secret = secret(stage, name).await?.context("the Secret is not there")?;
    let data = secret.data.unwrap_or_default();
    let value = data.get(key).with_context(|| format!("no key {key}"))?;
    Ok(SecretString::from(String::from_utf8(value.0.clone())?))
}

/// Logs in with the AppRole credentials in a Secret, and shows the token as Vault knows it. The token is not used, so
/// that none of its uses are spent.
pub(super) async fn app_role_token(stage: &Stage, root: &Client, secret: &str) -> anyhow::Result<TokenInfo> {
    let role_id = value(stage, secret, "role-id").await?;
    let secret_id = value(stage, secret, "secret-id").await?;
    let login = root
        .approle("approle")
        .login(role_id.expose_secret(), &secret_id)
        .await?;
    if login.accessor.is_empty() {
        // A batch token can be looked at by nobody but itself.
        return Ok(root.with_token(&login.client_token).lookup_self().await?);
    }
    Ok(root.lookup_accessor(&login.accessor).await?)
}

/// Puts labels on a namespace; null takes one away.
pub(super) async fn label(stage: &Stage, namespace: &str, labels: Value) -> anyhow::Result<()> {
    let api: Api<Namespace> = Api::all(stage.client.clone());
    let change = json!({ "metadata": { "labels": labels } });
    api.patch(namespace, &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    Ok(())
}
