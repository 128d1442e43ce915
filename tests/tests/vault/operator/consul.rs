//! Clusters whose data is in Consul: a real one with TLS on both sides and ACLs that deny by default.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};
use vaultkeeper_tests::consul_server::ConsulServer;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, reason};

/// The rights that examples/storage-consul.yaml names.
const RULES: &str = r#"
key_prefix "vault/main/" { policy = "write" }
session_prefix "" { policy = "write" }
service "vault-main" { policy = "write" }
agent_prefix "" { policy = "read" }
"#;

async fn secret(stage: &Stage, name: &str, data: Value) {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data}));
    api.create(&PostParams::default(), &object.unwrap())
        .await
        .unwrap();
}

/// Creates a VaultCluster whose data is in this Consul, with the Secrets that it needs for that.
async fn create_on(consul: &ConsulServer, stage: &Stage, replicas: i32, registration: &Value) {
    let token = consul.token("vault", RULES).await.unwrap();
    secret(stage, "consul-token", json!({"token": token})).await;
    secret(stage, "consul-ca", json!({"ca.crt": consul.ca_pem()})).await;
    let pair = consul.client();
    let pair = json!({"tls.crt": pair.cert_pem, "tls.key": pair.key_pem});
    secret(stage, "consul-client", pair).await;
    let storage = json!({"consul": {
        "address": consul.url(), "path": "vault/main/", "sessionTtl": "10s",
        "tokenSecret": {"name": "consul-token", "key": "token"},
        "tls": {"caSecret": {"name": "consul-ca", "key": "ca.crt"}, "clientCertificateSecret": "consul-client"},
        "serviceRegistration": registration,
    }});
    stage
        .create_cluster_with(replicas, json!({"storage": storage}))
        .await
        .unwrap();
}

/// The addresses that Consul's catalogue gives for the service with this tag.
async fn registered(consul: &ConsulServer, tag: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("catalog/service/vault-main?tag={tag}");
    let entries = consul.call(Method::GET, &path, None).await?;
    let entries = entries.as_array().cloned().unwrap_or_default();
    let address = |entry: &Value| entry["ServiceAddress"].as_str().map(str::to_owned);
    Ok(entries.iter().filter_map(address).collect())
}

fn number(member: &str) -> u32 {
    member.trim_start_matches("main-").parse().unwrap()
}

async fn read(client: &Client) -> anyhow::Result<Option<Value>> {
    let secret = client.read("secret/data/app").await?;
    let data: Option<serde_json::Map<String, Value>> = secret.data.decode()?;
    Ok(data.and_then(|d| d.get("data").cloned()))
}

#[tokio::test]
#[ignore = "long: Consul takes minutes to build"]
async fn a_vault_on_consul_serves_takes_over_survives_its_consul_and_is_found_in_its_catalogue() {
    let run = OwnedRun::create("consul", crate::TESTBED).unwrap();
    let mut consul = ConsulServer::start(&run).await.unwrap();
    let stage = Stage::new().await.unwrap();
    let registration = json!({"service": "vault-main", "tags": ["blue"]});
    create_on(&consul, &stage, 3, &registration).await;
    let operator = stage.start_operator(&Points::record());
    let status = stage.until_available().await.unwrap().status.unwrap();
    assert_eq!(status.voters, None, "nobody votes without Raft");
    assert_keys_and_no_root(&stage).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let claims = claims.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(claims, [], "Consul keeps the data, the members need no volume");

    let leader = status.leader.unwrap();
    let root_token = stage.root_token(number(&leader)).await.unwrap();
    let root = stage
        .member(number(&leader))
        .await
        .unwrap()
        .with_token(&root_token);
    let body = serde_json::Map::from_iter([("data".to_owned(), json!({"k": "v"}))]);
    root.write("secret/data/app", &body).await.unwrap();
    let blue = wait::until_async("all members in the catalogue", DEADLINE, async || {
        let blue = registered(&consul, "blue").await?;
        anyhow::ensure!(blue.len() == 3, "{blue:?} are registered");
        Ok(blue)
    });
    blue.await.unwrap();
    let active = wait::until_async("the active member in the catalogue", DEADLINE, async || {
        let active = registered(&consul, "active").await?;
        anyhow::ensure!(active.len() == 1, "{active:?} are registered as active");
        Ok(active)
    });
    active.await.unwrap();

    // The active member hangs: another one takes over as soon as its session has ended.
    stage.kubelet.freeze(&leader).await.unwrap();
    let next = stage
        .until("another member to be active", |c| {
            let now = c.status.as_ref().and_then(|s| s.leader.as_ref());
            now.is_some_and(|now| *now != leader)
        })
        .await
        .unwrap();
    stage.kubelet.thaw(&leader).await.unwrap();
    stage.until_available().await.unwrap();
    let next = next.status.unwrap().leader.unwrap();
    let member = stage.member(number(&next)).await.unwrap().with_token(&root_token);
    let found = read(&member).await.unwrap();
    assert_eq!(
        found,
        Some(json!({"k": "v"})),
        "the data is there after the take-over"
    );

    // Without its Consul no member can be active; the status says so, and nothing is done about keys or data.
    let keys = stage.keys().await.unwrap().unwrap().data;
    consul.stop().unwrap();
    let without = stage
        .until("the loss of Consul to be seen", |c| {
            reason(c, "Available") != "AllMembersServe" && reason(c, "Available") != "Degraded"
        })
        .await
        .unwrap();
    let said = format!("{:?}", super::stage::condition(&without, "Available"));
    consul.start_again().await.unwrap();
    stage.until_available().await.unwrap();
    let now = stage.keys().await.unwrap().unwrap().data;
    assert_eq!(now, keys, "the keys are those of before; it had said {said}");
    let leader = stage.leader().await.unwrap();
    let member = stage
        .member(number(&leader))
        .await
        .unwrap()
        .with_token(&root_token);
    let found = read(&member).await.unwrap();
    assert_eq!(
        found,
        Some(json!({"k": "v"})),
        "the data is there after Consul's return"
    );
    member.revoke_self().await.unwrap();

    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
#[ignore = "long: Consul takes minutes to build"]
async fn a_vault_whose_registration_is_turned_off_is_not_in_consuls_catalogue() {
    let run = OwnedRun::create("consul", crate::TESTBED).unwrap();
    let consul = ConsulServer::start(&run).await.unwrap();
    let stage = Stage::new().await.unwrap();
    create_on(&consul, &stage, 1, &json!({"enabled": false})).await;
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let services = consul.call(Method::GET, "catalog/services", None).await.unwrap();
    let names: Vec<&String> = services.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["consul"],
        "Vault registers itself unless it is told not to"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}
