//! What must not take a running cluster down: a bad spec, a lost CA, somebody else's share, a member that hangs.

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use vaultkeeper_crds::names;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::SecretString;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, condition, reason};

#[tokio::test]
async fn an_engine_that_vault_does_not_know_is_named_and_leaves_no_root_token() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let engines = json!({"spec": {"configuration": {"secretsEngines": [{"path": "secret", "type": "kv2"}]}}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&engines))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    stage
        .until(
            "the refusal of the engine by a cluster that serves all the same",
            |c| {
                let conditions = c
                    .status
                    .as_ref()
                    .map(|s| s.conditions.as_slice())
                    .unwrap_or_default();
                conditions.iter().any(|c| {
                    c.type_ == "Configured" && c.message.contains("spec.configuration.secretsEngines[0]")
                }) && reason(c, "Available") == "AllMembersServe"
            },
        )
        .await
        .unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_spec_that_cannot_be_applied_and_a_lost_ca_do_not_stop_the_unsealing() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();

    let bad = json!({"spec": {"pod": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&bad))
        .await
        .unwrap();
    stage
        .until("the refused StatefulSet to be told", |c| {
            reason(c, "Configured") == "KubernetesError"
        })
        .await
        .unwrap();
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    secrets
        .delete(
            &names::ca_secret(&stage.namespace, "main"),
            &DeleteParams::default(),
        )
        .await
        .unwrap();
    stage
        .until("the lost CA to be told", |c| reason(c, "Configured") == "CaLost")
        .await
        .unwrap();
    assert!(
        secrets
            .get_opt(&names::ca_secret(&stage.namespace, "main"))
            .await
            .unwrap()
            .is_none(),
        "no other CA may be made while members and clients trust the old one"
    );

    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    wait::until_async("the restarted member to be unsealed", DEADLINE, async || {
        let status = member.seal_status().await?;
        if status.sealed {
            Err(anyhow::anyhow!("sealed"))
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_wrong_share_of_somebody_else_does_not_spoil_the_unsealing() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;

    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    let wrong = SecretString::from("00".repeat(33));
    wait::until_async("the member to take a share", DEADLINE, async || {
        let status = member.unseal(&wrong).await?;
        if status.progress == 1 {
            Ok(())
        } else {
            Err(anyhow::anyhow!("progress {}", status.progress))
        }
    })
    .await
    .unwrap();

    let operator = stage.start_operator(&Points::record());
    wait::until_async("the member to be unsealed", DEADLINE, async || {
        if member.seal_status().await?.sealed {
            Err(anyhow::anyhow!("sealed"))
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_member_that_hangs_is_named_in_the_status_and_the_others_serve_on() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let leads = |c: &vaultkeeper_crds::VaultCluster| c.status.as_ref().and_then(|s| s.leader.clone());
    stage
        .until("three voters", |c| {
            c.status.as_ref().and_then(|s| s.voters) == Some(3)
        })
        .await
        .unwrap();

    stage.kubelet.freeze("main-0").await.unwrap();
    let cluster = stage
        .until("another leader, and the frozen member missed", |c| {
            reason(c, "Available") == "Degraded" && leads(c).is_some_and(|leader| leader != "main-0")
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap();
    assert_eq!(said.status, "True", "two of three members serve: {said:?}");
    assert!(
        said.message.contains("main-0"),
        "the message should name the member that hangs: {said:?}"
    );

    stage.kubelet.thaw("main-0").await.unwrap();
    stage.until_available().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
