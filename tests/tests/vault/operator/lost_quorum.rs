//! Most members are away, or lost for good.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use vaultkeeper_operator::cluster::build::volume_claim;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, change, condition, reason, write_secret};

async fn until_three_vote(stage: &Stage) {
    stage
        .until("three voters and a failure tolerance of 1", |c| {
            c.status
                .as_ref()
                .is_some_and(|s| s.voters == Some(3) && s.failure_tolerance == Some(1))
                && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_majority_nothing_is_begun_and_the_status_says_what_to_do() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    until_three_vote(&stage).await;
    for pod in ["main-0", "main-1"] {
        stage.kubelet.freeze(pod).await.unwrap();
    }
    let cluster = stage
        .until("the loss of the majority", |c| {
            condition(c, "Available")
                .is_some_and(|c| c.reason == "NoActiveMember" && c.message.contains("docs/lost-quorum.md"))
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap();
    assert_eq!(said.status, "False");
    for words in ["2 of 3 members", "main-0", "main-1", "docs/lost-quorum.md"] {
        assert!(
            said.message.contains(words),
            "{words} is missing: {}",
            said.message
        );
    }

    // Nor is a member taken out, though fewer are wanted.
    let before = points.seen().len();
    change(&stage, json!({"replicas": 1, "profile": "Development"})).await;
    stage
        .until("the smaller number to wait", |c| {
            reason(c, "Resizing") == "WaitingForLeader"
        })
        .await
        .unwrap();
    operator.until_passes(5).await.unwrap();
    change(&stage, json!({"replicas": 3})).await;
    operator.until_passes(3).await.unwrap();
    let since: Vec<String> = points
        .seen()
        .split_off(before)
        .into_iter()
        .map(|p| p.call)
        .collect();
    let begun = |call: &&String| {
        [
            "DELETE pods",
            "DELETE persistent",
            "DELETE stateful",
            "sys/init",
            "remove-peer",
            "step-down",
            "<keys>",
        ]
        .iter()
        .any(|word| call.contains(word))
    };
    let wrong: Vec<&String> = since.iter().filter(begun).collect();
    assert!(wrong.is_empty(), "nothing may be begun: {wrong:?}");

    for pod in ["main-0", "main-1"] {
        stage.kubelet.thaw(pod).await.unwrap();
    }
    until_three_vote(&stage).await;
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// The steps of docs/lost-quorum.md.
#[tokio::test]
async fn one_member_that_is_left_goes_on_with_its_data_and_the_others_join_it_anew() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    until_three_vote(&stage).await;
    let root = stage.root(0).await.unwrap();
    let note = json!({"data": {"word": "kept"}});
    write_secret(&root, "secret/data/note", &note).await;
    wait::until_async(
        "the survivor to have all that was written",
        DEADLINE,
        async || {
            let (all, has) = (stage.member(0).await?, stage.member(1).await?);
            let all = all.on_this_node().leader().await?.raft_committed_index;
            let has = has.on_this_node().leader().await?.raft_applied_index;
            ensure!(has >= all, "{has} of {all}");
            Ok(())
        },
    )
    .await
    .unwrap();
    let survivor = stage.kubelet.data_of("main-1").await.unwrap();

    change(&stage, json!({"paused": true})).await;
    stage
        .until("the pause", |c| condition(c, "Paused").is_some())
        .await
        .unwrap();
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let scale = async |replicas: i32| {
        let body = json!({"spec": {"replicas": replicas}});
        let patched = sets
            .patch("main", &PatchParams::default(), &Patch::Merge(&body))
            .await;
        patched.unwrap();
    };
    scale(0).await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("all members to be gone", DEADLINE, async || {
        let left = pods.list(&ListParams::default()).await?.items.len();
        ensure!(left == 0, "{left} are left");
        for ordinal in 0..3 {
            ensure!(
                stage.member(ordinal).await?.seal_status().await.is_err(),
                "main-{ordinal} answers"
            );
        }
        Ok(())
    })
    .await
    .unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for ordinal in [0, 2] {
        let name = volume_claim("main", ordinal);
        claims.delete(&name, &DeleteParams::default()).await.unwrap();
        wait::until_async("the claim to be gone", DEADLINE, async || {
            ensure!(claims.get_opt(&name).await?.is_none(), "{name} is there");
            Ok(())
        })
        .await
        .unwrap();
    }
    let address = stage
        .kubelet
        .address("main-1")
        .await
        .context("no address")
        .unwrap();
    let peers = json!([{"id": "main-1", "address": format!("{address}:8201"), "non_voter": false}]);
    let file = survivor.join("raft/peers.json");
    std::fs::write(&file, peers.to_string()).unwrap();
    scale(3).await;
    change(&stage, json!({"paused": false})).await;

    wait::until_async(
        "the survivor to take the file and to lead",
        DEADLINE,
        async || {
            ensure!(!file.exists(), "the file is there");
            let leader = stage.member(1).await?.on_this_node().leader().await?;
            ensure!(leader.is_self, "main-1 does not lead: {leader:?}");
            Ok(())
        },
    )
    .await
    .unwrap();
    let root = stage.root(1).await.unwrap();
    wait::until_async("three voters", DEADLINE, async || {
        let voters = root.raft_configuration().await?.voters();
        ensure!(voters == 3, "{voters} vote");
        Ok(())
    })
    .await
    .unwrap();
    until_three_vote(&stage).await;
    let found = root.read("secret/data/note").await.unwrap();
    assert!(
        found.data.json().contains("kept"),
        "the data of the survivor is there"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
