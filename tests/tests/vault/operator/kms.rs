//! Another Vault, whose transit engine unseals the members.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage};

/// The other Vault: its own process, CA and keys.
pub(crate) struct Kms {
    pub(crate) server: VaultServer,
    key: String,
    root: String,
    _run: OwnedRun,
}

impl Kms {
    pub(crate) async fn start() -> Self {
        let run = OwnedRun::create("kms", crate::TESTBED).unwrap();
        let ca = Ca::new("kms-ca").unwrap();
        let server = VaultServer::start(Config::single("kms").unwrap(), &ca, &run)
            .await
            .unwrap();
        let mut kms = Self {
            server,
            key: String::new(),
            root: String::new(),
            _run: run,
        };
        let init = kms
            .call(
                "PUT",
                "sys/init",
                json!({"secret_shares": 1, "secret_threshold": 1}),
            )
            .await;
        kms.key = init["keys_base64"][0].as_str().unwrap().to_owned();
        kms.root = init["root_token"].as_str().unwrap().to_owned();
        kms.unseal().await;
        kms.call("POST", "sys/mounts/unseal-engine", json!({"type": "transit"}))
            .await;
        kms.call("POST", "unseal-engine/keys/main", json!({})).await;
        let policy = "path \"unseal-engine/encrypt/main\" { capabilities = [\"update\"] }\n\
                      path \"unseal-engine/decrypt/main\" { capabilities = [\"update\"] }";
        kms.call("PUT", "sys/policies/acl/unseal", json!({"policy": policy}))
            .await;
        kms
    }

    pub(crate) async fn unseal(&self) {
        self.call("PUT", "sys/unseal", json!({"key": self.key})).await;
        wait::until_async("the other Vault to be active", DEADLINE, async || {
            let url = format!("{}/v1/sys/health", self.server.url());
            let answer = self.server.http_client()?.get(url).send().await?;
            anyhow::ensure!(answer.status() == 200, "health says {}", answer.status());
            Ok(())
        })
        .await
        .unwrap();
    }

    /// A token that may use the key and no more.
    async fn token(&self) -> String {
        let wanted = json!({"policies": ["unseal"], "period": "1h", "no_default_policy": true});
        let made = self.call("POST", "auth/token/create-orphan", wanted).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self
            .server
            .http_client()
            .unwrap()
            .request(
                method.parse().unwrap(),
                format!("{}/v1/{path}", self.server.url()),
            )
            .header("X-Vault-Token", &self.root)
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Stores what the seal needs, and answers the token.
    pub(crate) async fn give_secrets(&self, stage: &Stage) -> String {
        let token = self.token().await;
        store(stage, "kms-ca", "ca.crt", self.server.ca_pem()).await;
        store(stage, "kms-token", "token", &token).await;
        token
    }

    /// The seal of a spec.
    pub(crate) fn seal(&self) -> Value {
        json!({
            "transit": {
                "address": self.server.url(), "mountPath": "unseal-engine/", "keyName": "main",
                "tokenSecret": {"name": "kms-token", "key": "token"},
                "caSecret": {"name": "kms-ca", "key": "ca.crt"},
                "tlsServerName": "vault.test",
            },
            "recovery": {"shares": 3, "threshold": 2},
        })
    }
}

async fn store(stage: &Stage, name: &str, key: &str, value: &str) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {key: value}})).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
}
