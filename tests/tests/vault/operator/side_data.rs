//! Damage beside the keys must not keep members from being unsealed, nor undo a seal.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_operator::cluster::keys::SEAL_RECORD;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage, condition, reason};

async fn patch(stage: &Stage, secret: &str, body: &Value) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    secrets
        .patch(secret, &PatchParams::default(), &Patch::Merge(body))
        .await
        .unwrap();
}

async fn damage_the_seal_record(stage: &Stage) {
    let damaged = json!({"metadata": {"annotations": {SEAL_RECORD: "{"}}});
    patch(stage, &names::key_secret(&stage.namespace, "main"), &damaged).await;
}

async fn kill_and_wait_until_unsealed(stage: &Stage) {
    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    wait::until_async("the restarted member to be unsealed", DEADLINE, async || {
        let status = member.seal_status().await?;
        ensure!(!status.sealed, "sealed");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_ca_key_that_is_kept_elsewhere_is_told_and_stops_no_unsealing() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let ca = names::ca_secret(&stage.namespace, "main");
    patch(&stage, &ca, &json!({"data": {"ca.key": null}})).await;
    stage
        .until("the missing key to be told", |c| {
            condition(c, "Configured").is_some_and(|said| said.message.contains("ca.key"))
        })
        .await
        .unwrap();
    kill_and_wait_until_unsealed(&stage).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_key_secret_that_cannot_be_read_hides_neither_that_nobody_serves_nor_who_leads() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    stage
        .until("the rules to be judged", |c| {
            c.status.as_ref().is_some_and(|s| s.readiness.is_some())
        })
        .await
        .unwrap();
    let keys = names::key_secret(&stage.namespace, "main");
    let state = |text: &str| json!({"stringData": {"state": text}});
    patch(&stage, &keys, &state("nonsense")).await;
    stage
        .until("the damage to be told", |c| {
            reason(c, "Configured") == "KeySecretUnreadable"
        })
        .await
        .unwrap();
    stage.kubelet.kill("main-0").await.unwrap();
    let cluster = stage
        .until("that nobody serves", |c| {
            condition(c, "Available").is_some_and(|said| said.status == "False")
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap();
    assert!(
        said.message.contains("main-0 is ") && said.message.contains(&keys),
        "who, and what to restore: {}",
        said.message
    );
    assert_eq!(cluster.status.unwrap().leader, None);
    patch(&stage, &keys, &state("initialized")).await;
    stage.until_available().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_seal_record_that_cannot_be_read_is_written_anew_and_holds_what_is_sealed() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();

    damage_the_seal_record(&stage).await;
    wait::until_async("the record to be whole", DEADLINE, async || {
        let keys = stage.keys().await?.context("no key Secret")?;
        let text = keys.annotations().get(SEAL_RECORD).context("no record")?;
        let record: Value = serde_json::from_str(text)?;
        ensure!(
            record["unsealed"]["main-0"].is_string(),
            "it knows the member that serves: {record}"
        );
        Ok(())
    })
    .await
    .unwrap();
    kill_and_wait_until_unsealed(&stage).await;
    stage.until_available().await.unwrap();
    operator.stop().await;

    // Sealed while nobody could write it down: it may have been meant. The Secret is one that was made anew from its
    // values, as from a backup of these.
    let root = stage.root(0).await.unwrap();
    root.seal().await.unwrap();
    let bare = json!({"metadata": {"annotations": null}});
    patch(&stage, &names::key_secret(&stage.namespace, "main"), &bare).await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage
        .until("the sealed member to be held", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .await
        .unwrap();
    let sent = points.seen();
    assert!(
        !sent.iter().any(|p| p.call.contains("sys/unseal")),
        "no share may be sent: {sent:?}"
    );
    stage
        .annotate(annotations::RELEASE_SEAL, "nobody sealed it")
        .await
        .unwrap();
    stage.until_available().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
