//! A change of the webhook's CA under two running replicas.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser as _;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_injector::run::Server;
use vaultkeeper_injector::settings::Settings;
use vaultkeeper_injector::{stored_ca, tls};
use vaultkeeper_tests::wait;

use super::fixture::DEADLINE;
use crate::shared::control_plane;

const TLS_SECRET: &str = "tls";

/// Two replicas of an injector in a namespace of its own. Its webhook is asked about nothing.
struct Replicas {
    client: Client,
    namespace: String,
    webhooks: Vec<SocketAddr>,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.running.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Replicas {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let control_plane = control_plane().await;
        let client = control_plane.client().await.unwrap();
        let namespace = control_plane.create_namespace("replicas").await.unwrap();
        let configuration = serde_json::from_value(json!({
            "metadata": { "name": namespace },
            "webhooks": [{
                "name": "replicas.vaultkeeper.dev",
                "clientConfig": { "url": "https://127.0.0.1/mutate" },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
                "namespaceSelector": { "matchLabels": { "test.vaultkeeper.dev/nobody": "true" } },
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }],
        }))
        .unwrap();
        Api::<MutatingWebhookConfiguration>::all(client.clone())
            .create(&PostParams::default(), &configuration)
            .await
            .unwrap();
        let mut replicas = Self {
            client,
            namespace,
            webhooks: Vec::new(),
            running: Vec::new(),
        };
        for _ in 0..2 {
            replicas.add().await;
        }
        replicas
    }

    async fn add(&mut self) {
        let settings = Settings::try_parse_from([
            "vaultkeeper-injector",
            "--listen=127.0.0.1:0",
            "--health-listen=127.0.0.1:0",
            "--check-seconds=1",
            &format!("--namespace={}", self.namespace),
            &format!("--tls-secret={TLS_SECRET}"),
            &format!("--webhook-configuration={}", self.namespace),
        ])
        .unwrap();
        let server = Server::bind(settings, self.client.clone()).await.unwrap();
        let health = format!("http://{}/readyz", server.health_address());
        self.webhooks.push(server.address());
        self.running.push(tokio::spawn(async move {
            server.run(std::future::pending()).await.unwrap();
        }));
        let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let ready = || async {
            let answer = http.get(&health).send().await?;
            anyhow::ensure!(answer.status() == 200, "{}", answer.text().await?);
            Ok(())
        };
        wait::until_async("the replica to be ready", DEADLINE, ready)
            .await
            .unwrap();
    }

    /// What the API server trusts.
    async fn bundle(&self) -> String {
        let configuration = Api::<MutatingWebhookConfiguration>::all(self.client.clone())
            .get(&self.namespace)
            .await
            .unwrap();
        let bundle = configuration.webhooks.unwrap().remove(0).client_config.ca_bundle;
        String::from_utf8(bundle.unwrap_or_default().0).unwrap()
    }

    /// Who of the replicas shows a certificate that this bundle does not vouch for, and why not.
    async fn untrusted(&self, bundle: &str) -> Vec<String> {
        let name = format!("vaultkeeper-injector.{}.svc", self.namespace);
        let mut untrusted = Vec::new();
        for address in &self.webhooks {
            if let Err(error) = tls::dial(*address, bundle, &name).await {
                untrusted.push(format!("{address}: {:#}", anyhow::Error::from(error)));
            }
        }
        untrusted
    }

    /// Puts another CA into the Secret, as a replica does that starts while the Secret is deleted.
    async fn replace_ca(&self) -> String {
        let new = stored_ca::obtain(&self.client, &self.namespace, "other", None)
            .await
            .unwrap();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let other = secrets.get("other").await.unwrap();
        let data = json!({ "data": other.data });
        secrets
            .patch(TLS_SECRET, &PatchParams::default(), &Patch::Merge(&data))
            .await
            .unwrap();
        new.certificate().to_owned()
    }
}

#[tokio::test]
async fn every_replica_is_trusted_at_every_moment_of_a_change_of_the_ca() {
    let replicas = Replicas::start().await;
    let old = replicas.bundle().await;
    let new = replicas.replace_ca().await;
    assert_ne!(old, new, "another CA should be stored");
    let (mut looks, mut both) = (0, false);
    let settled = async {
        loop {
            let bundle = replicas.bundle().await;
            both |= bundle.contains(old.trim()) && bundle.contains(new.trim());
            let untrusted = replicas.untrusted(&bundle).await;
            // One that changed meanwhile says nothing: no API server would have used it any more.
            if replicas.bundle().await != bundle {
                continue;
            }
            assert!(
                untrusted.is_empty(),
                "look {looks}: with this caBundle the API server would refuse {untrusted:?}:\n{bundle}"
            );
            looks += 1;
            if bundle == new {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE + Duration::from_secs(30), settled)
        .await
        .expect("the new CA should be the only one in the end");
    assert!(
        both,
        "caBundle should have held both for a while, in {looks} looks"
    );
    assert!(
        !replicas.untrusted(&old).await.is_empty(),
        "the old CA should vouch for nobody any more"
    );
}
