//! Members are added, and one whose volume is gone comes back.

use anyhow::ensure;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::names::member;
use vaultkeeper_operator::cluster::build::volume_claim;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::ExposeSecret as _;

use super::stage::{DEADLINE, Operator, Stage, assert_keys_and_no_root, condition, write_secret};

const NOTE: &str = "secret/data/note";

async fn write_note(stage: &Stage) {
    let root = stage.root(0).await.unwrap();
    let body = json!({"data": {"word": "kept"}});
    write_secret(&root, NOTE, &body).await;
    root.revoke_self().await.unwrap();
}

/// Asks one member; a standby passes the question on.
async fn assert_note_at(stage: &Stage, ordinal: u32) {
    let root = stage.root(ordinal).await.unwrap();
    let found = root.read(NOTE).await.unwrap();
    root.revoke_self().await.unwrap();
    assert!(
        found.data.json().contains("kept"),
        "main-{ordinal} gives what was written before"
    );
}

fn three_vote(cluster: &VaultCluster) -> bool {
    cluster
        .status
        .as_ref()
        .is_some_and(|s| s.voters == Some(3) && s.failure_tolerance == Some(1))
}

async fn until_three_vote(stage: &Stage) -> VaultCluster {
    stage
        .until("three voters and a failure tolerance of 1", three_vote)
        .await
        .unwrap()
}

async fn three_with_a_note() -> (Stage, Operator, VaultCluster) {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = until_three_vote(&stage).await;
    write_note(&stage).await;
    (stage, operator, cluster)
}

async fn initializations(stage: &Stage) -> usize {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let found = events.list(&ListParams::default()).await.unwrap();
    found
        .iter()
        .filter(|event| event.reason.as_deref() == Some("Initialized"))
        .count()
}

async fn exposed_shares(stage: &Stage) -> Vec<String> {
    let shares = stage.shares().await.unwrap();
    shares
        .iter()
        .map(|share| share.expose_secret().to_owned())
        .collect()
}

#[tokio::test]
async fn a_single_member_grows_to_three_voters_and_keeps_its_data() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    write_note(&stage).await;
    let shares = exposed_shares(&stage).await;

    let more = json!({"spec": {"replicas": 3}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&more))
        .await
        .unwrap();
    until_three_vote(&stage).await;

    stage.until_available().await.unwrap();
    assert_note_at(&stage, 2).await;
    assert!(
        exposed_shares(&stage).await == shares,
        "the members that joined are opened by the shares that were there"
    );
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// The first member is the one that is initialised where nothing is: never when it comes back empty.
#[tokio::test]
async fn a_first_member_that_lost_its_volume_is_not_initialised_again_but_joins_and_votes() {
    let (stage, operator, before) = three_with_a_note().await;
    let shares = exposed_shares(&stage).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let lost = claims.get(&volume_claim("main", 0)).await.unwrap().uid();

    // The claim goes when its pod has gone: that is what its finalizer is for.
    claims
        .delete(&volume_claim("main", 0), &DeleteParams::default())
        .await
        .unwrap();
    pods.delete(&member("main", 0), &DeleteParams::default())
        .await
        .unwrap();
    wait::until_async("main-0 to be a voter with a new volume", DEADLINE, async || {
        let claim = claims.get(&volume_claim("main", 0)).await?;
        ensure!(claim.uid() != lost, "the claim is the old one");
        let node = stage.member(0).await?;
        let node = node.on_this_node();
        let status = node.seal_status().await?;
        ensure!(status.initialized && !status.sealed, "main-0 says {status:?}");
        let leader = node.leader().await?;
        ensure!(
            !leader.is_self && !leader.leader_address.is_empty(),
            "main-0 follows nobody: {leader:?}"
        );
        Ok(())
    })
    .await
    .unwrap();

    let after = until_three_vote(&stage).await;
    stage.until_available().await.unwrap();
    let cluster_id = |cluster: &VaultCluster| cluster.status.as_ref().and_then(|s| s.cluster_id.clone());
    assert_eq!(cluster_id(&after), cluster_id(&before), "it is the same Vault");
    assert_note_at(&stage, 0).await;
    assert_eq!(initializations(&stage).await, 1, "events of an initialisation");
    assert!(exposed_shares(&stage).await == shares, "no share was replaced");
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// As after a power cut. One member alone has no quorum: all must start, whether or not the one before is ready.
#[tokio::test]
async fn a_cluster_whose_members_all_went_at_once_serves_again_with_its_data() {
    let (stage, operator, _) = three_with_a_note().await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let old: Vec<_> = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(old.len(), 3, "the pods of three members");

    for pod in &old {
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete(&pod.name_any(), &at_once).await.unwrap();
    }
    wait::until_async("three new members that serve", DEADLINE, async || {
        for (ordinal, old) in (0..).zip(&old) {
            let new = pods.get(&member("main", ordinal)).await?;
            ensure!(new.uid() != old.uid(), "main-{ordinal} is the old pod");
            let node = stage.member(ordinal).await?;
            let status = node.on_this_node().seal_status().await?;
            ensure!(!status.sealed, "main-{ordinal} says {status:?}");
        }
        Ok(())
    })
    .await
    .unwrap();

    until_three_vote(&stage).await;
    stage.until_available().await.unwrap();
    assert_note_at(&stage, 1).await;
    let cluster = stage.clusters().get("main").await.unwrap();
    assert!(
        condition(&cluster, "SealLatched").is_none(),
        "a power cut is nobody's seal"
    );
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
