//! To whom a VaultCluster belongs, and what the operator leaves alone.

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::annotations;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, OPERATOR, Stage, assert_keys_and_no_root, condition, reason};

async fn until_gone(stage: &Stage) {
    wait::until_async("the VaultCluster to be gone", DEADLINE, async || {
        match stage.clusters().get_opt("main").await? {
            None => Ok(()),
            Some(cluster) => bail!("it is there with {:?}", cluster.finalizers()),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn of_two_operators_on_one_kubernetes_cluster_one_works_and_the_other_leaves_its_vault_alone() {
    let stage = Stage::new().await.unwrap();
    let spaces = [
        stage.operator_namespace.clone(),
        stage.another_operator_namespace().await.unwrap(),
    ];
    let points = [Points::record(), Points::record()];
    let start = |n: usize| stage.start_operator_as(&points[n], &spaces[n], OPERATOR);
    let (mut winner, mut loser) = ((0, start(0)), (1, start(1)));
    stage.create_cluster(1).await.unwrap();
    let cluster = stage.until_available().await.unwrap();
    let owner = cluster.annotations().get(annotations::OPERATOR).cloned().unwrap();
    assert!(spaces.contains(&owner), "claimed by one of both: {owner}");
    if owner != spaces[winner.0] {
        std::mem::swap(&mut winner, &mut loser);
    }

    let secrets = async |namespace: &str| {
        let api: Api<Secret> = Api::namespaced(stage.client.clone(), namespace);
        let found = api.list(&ListParams::default()).await.unwrap();
        let names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        names
    };
    assert_eq!(
        secrets(&owner).await.len(),
        2,
        "keys and CA are with the operator that claimed it"
    );
    let left = secrets(&spaces[loser.0]).await;
    assert!(left.is_empty(), "the other one keeps nothing of it: {left:?}");
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("the other operator to say why", DEADLINE, async || {
        let events = events.list(&ListParams::default()).await?;
        let refused = events.iter().find(|e| e.reason.as_deref() == Some("Refused"));
        let note = refused.and_then(|e| e.note.clone()).context("no event")?;
        ensure!(
            spaces.iter().all(|namespace| note.contains(namespace)),
            "both are named: {note}"
        );
        Ok(())
    })
    .await
    .unwrap();

    let tried = points[loser.0].seen().len();
    // Nor does it end what is not its own.
    winner.1.stop().await;
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    let (passed, annotated) = tokio::join!(
        loser.1.until_passes(1),
        stage.annotate("test.invalid/wakes", "both operators")
    );
    passed.unwrap();
    annotated.unwrap();
    let waiting = stage.clusters().get("main").await.unwrap();
    assert_eq!(waiting.finalizers(), [annotations::FINALIZER]);
    let changes = points[loser.0].seen();
    assert!(
        changes
            .iter()
            .all(|p| p.call == "Kubernetes PATCH vaultclusters/main"),
        "all that it changes is to try and claim it: {changes:?}"
    );
    assert_eq!(
        changes.len(),
        tried,
        "and it does not try once it knows the owner: {changes:?}"
    );
    winner.1 = start(winner.0);
    until_gone(&stage).await;
    winner.1.stop().await;
    loser.1.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_pause_holds_a_deletion_and_says_so() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    let pause = async |paused: bool| {
        let body = json!({"spec": {"paused": paused}});
        stage
            .clusters()
            .patch("main", &PatchParams::default(), &Patch::Merge(&body))
            .await
            .unwrap();
    };
    pause(true).await;
    stage
        .until("the pause to be said", |c| reason(c, "Paused") == "SpecPaused")
        .await
        .unwrap();
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    let cluster = stage
        .until("the held deletion to be said", |c| {
            reason(c, "Paused") == "DeletionHeld"
        })
        .await
        .unwrap();
    assert_eq!(cluster.finalizers(), [annotations::FINALIZER]);
    let said = condition(&cluster, "Paused").unwrap();
    assert!(
        said.message.contains("spec.paused"),
        "it names the remedy: {said:?}"
    );
    pause(false).await;
    until_gone(&stage).await;
    operator.stop().await;
    stage.end().await.unwrap();
}
