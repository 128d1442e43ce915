//! Members go one by one, taken out of Raft before their pods, and come again with empty volumes.

use anyhow::ensure;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::annotations::REMOVED_FROM;
use vaultkeeper_operator::cluster::build::volume_claim;
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::configuration::event;
use super::rollout_watch::{Watch, Writer};
use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, change, condition};

const REMOVE: &str = "Vault PUT sys/storage/raft/remove-peer";

/// So many members run, each with a vote, and nothing is under way.
async fn until_there_are(stage: &Stage, members: usize) -> VaultCluster {
    let what = format!("{members} voters, and no more members");
    stage
        .until(&what, |c| {
            let Some(status) = &c.status else { return false };
            let tolerance = i32::try_from((members - 1) / 2).ok();
            status.members.len() == members
                && status.voters == i32::try_from(members).ok()
                && status.failure_tolerance == tolerance
                && status.members.iter().all(|m| m.voter == Some(true))
                && condition(c, "Resizing").is_none()
                && condition(c, "Available").is_some_and(|c| c.reason == "AllMembersServe")
        })
        .await
        .unwrap()
}

async fn peers(root: &Client) -> Vec<String> {
    let configuration = root.raft_configuration().await.unwrap();
    let mut names: Vec<String> = configuration.servers.into_iter().map(|s| s.node_id).collect();
    names.sort();
    names
}

async fn replicas(stage: &Stage) -> Option<i32> {
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    sets.get("main")
        .await
        .unwrap()
        .spec
        .and_then(|spec| spec.replicas)
}

async fn claim(stage: &Stage, ordinal: u32) -> PersistentVolumeClaim {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    claims.get(&volume_claim("main", ordinal)).await.unwrap()
}

fn removals(points: &Points) -> usize {
    points.seen().iter().filter(|point| point.call == REMOVE).count()
}

#[tokio::test]
async fn five_members_become_three_without_a_moment_in_which_one_may_not_fail() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(5).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    until_there_are(&stage, 5).await;
    let token = stage.root_token(0).await.unwrap();
    // Of those that stay.
    let watch = Watch::start(&stage).await.unwrap();
    let writer = Writer::start(&stage, &token).await.unwrap();

    change(&stage, json!({"replicas": 3})).await;
    until_there_are(&stage, 3).await;
    let written = writer.end().await;
    let seen = watch.end().await;

    let root = stage.member(0).await.unwrap().with_token(&token);
    assert_eq!(peers(&root).await, ["main-0", "main-1", "main-2"]);
    assert_eq!(replicas(&stage).await, Some(3));
    assert_eq!(removals(&points), 2, "one call for each that goes");
    assert_eq!(seen.fewest_serve, 3, "those that stay are not touched: {seen:?}");
    assert!(seen.times_without_leader <= 2, "{seen:?}");
    assert!(
        written.len() > 20,
        "only {} writes were acknowledged",
        written.len()
    );
    for number in &written {
        let found = root.read(&format!("secret/data/written/{number}")).await;
        assert!(
            found.is_ok(),
            "write {number} was acknowledged and is gone: {found:?}"
        );
    }
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let text = maps.get("main-config").await.unwrap().data.unwrap_or_default();
    assert!(
        text["vault.hcl"].contains("main-2.main-internal")
            && !text["vault.hcl"].contains("main-3.main-internal"),
        "a member that comes asks nobody who is gone: {text:?}"
    );
    for ordinal in [3, 4] {
        let claim = claim(&stage, ordinal).await;
        assert!(
            claim.metadata.deletion_timestamp.is_none(),
            "the data of main-{ordinal} is kept"
        );
        let mark = claim.annotations().get(REMOVED_FROM).cloned().unwrap_or_default();
        assert!(
            mark.ends_with(&claim.uid().unwrap()),
            "main-{ordinal} is marked: {mark}"
        );
    }
    for ordinal in [0, 1, 2] {
        let claim = claim(&stage, ordinal).await;
        assert!(
            !claim.annotations().contains_key(REMOVED_FROM),
            "main-{ordinal} stays"
        );
    }
    event(&stage, "MemberRemoved", &["main-4", "is kept"]).await;
    event(&stage, "ScaledDown", &["the StatefulSet has 3 members"]).await;
    root.revoke_self().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Starts an operator that dies after this call, and waits for that. Says how many members it took out.
async fn die_after(stage: &Stage, call: &str) -> usize {
    let point = Point {
        call: call.to_owned(),
        occurrence: 1,
    };
    let points = Points::dying_at(point, Side::After);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    assert!(died.is_ok(), "{call} should be made");
    removals(&points)
}

#[tokio::test]
async fn three_members_become_one_under_operators_that_die_and_three_again_with_the_data_of_the_one() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    until_there_are(&stage, 3).await;
    let root = stage.root(0).await.unwrap();
    let note = json!({"data": {"word": "kept"}});
    root.write("secret/data/note", &note).await.unwrap();
    // The one that stays is not the leader, so that a leader has to go.
    if root.on_this_node().leader().await.unwrap().is_self {
        root.on_this_node().step_down().await.unwrap();
    }
    stage
        .until("another leader", |c| {
            c.status
                .as_ref()
                .and_then(|s| s.leader.as_deref())
                .is_some_and(|l| l != "main-0")
        })
        .await
        .unwrap();
    operator.stop().await;

    change(&stage, json!({"replicas": 1, "profile": "Development"})).await;
    let mut taken_out = die_after(&stage, "Kubernetes PATCH persistentvolumeclaims/data-main-2").await;
    taken_out += die_after(&stage, REMOVE).await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    until_there_are(&stage, 1).await;
    taken_out += removals(&points);
    assert_eq!(taken_out, 2, "nobody is taken out twice");
    assert_eq!(peers(&root).await, ["main-0"]);
    assert_eq!(replicas(&stage).await, Some(1));

    let old = [claim(&stage, 1).await.uid(), claim(&stage, 2).await.uid()];
    let first = claim(&stage, 0).await.uid();
    change(&stage, json!({"replicas": 3})).await;
    until_there_are(&stage, 3).await;
    for (ordinal, old) in [1, 2].into_iter().zip(old) {
        assert_ne!(
            claim(&stage, ordinal).await.uid(),
            old,
            "main-{ordinal} came with an empty volume"
        );
    }
    assert_eq!(claim(&stage, 0).await.uid(), first, "whoever stayed has its data");
    event(&stage, "VolumeCleared", &["the new one comes empty"]).await;
    wait::until_async(
        "a new member to give what was written before",
        DEADLINE,
        async || {
            let member = stage.member(2).await?.with_token(&stage.root_token(0).await?);
            let found = member.read("secret/data/note").await?;
            ensure!(found.data.json().contains("kept"), "{}", found.data.json());
            member.revoke_self().await?;
            Ok(())
        },
    )
    .await
    .unwrap();
    root.revoke_self().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
