//! Clusters whose data is in memory.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::ExposeSecret;

use super::crash::lose_the_answer_of_init;
use super::stage::{DEADLINE, Stage, assert_keys_and_no_root};

#[tokio::test]
async fn a_vault_in_memory_starts_anew_after_each_restart_and_forgets_keys_that_open_nothing() {
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({"storage": {"ephemeral": {}}}))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    let before = stage.until_available().await.unwrap().status.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    assert_eq!(before.voters, None, "nobody votes without Raft");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert_eq!(
        claims.list(&ListParams::default()).await.unwrap().items,
        [],
        "memory needs no volume"
    );
    let first = stage.shares().await.unwrap();

    stage.kubelet.kill("main-0").await.unwrap();
    wait::until_async("other keys in the key Secret", DEADLINE, async || {
        let now = stage.shares().await?;
        anyhow::ensure!(
            now[0].expose_secret() != first[0].expose_secret(),
            "the keys are still those of the lost Vault"
        );
        Ok(())
    })
    .await
    .unwrap();
    let after = stage
        .until("the new Vault to serve", |c| {
            super::stage::reason(c, "Available") == "AllMembersServe"
                && c.status
                    .as_ref()
                    .is_some_and(|s| s.cluster_id != before.cluster_id)
        })
        .await
        .unwrap();
    assert!(after.status.unwrap().cluster_id.is_some());
    // The new keys open it, and it is configured as the first one was.
    assert_keys_and_no_root(&stage).await.unwrap();
    let root = stage.root(0).await.unwrap();
    assert!(
        root.mounts().await.unwrap().contains_key("secret/"),
        "the declared engine is mounted again"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn keys_of_a_memory_whose_answer_was_lost_are_followed_by_another_attempt() {
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({"storage": {"ephemeral": {}}}))
        .await
        .unwrap();
    lose_the_answer_of_init(&stage).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
