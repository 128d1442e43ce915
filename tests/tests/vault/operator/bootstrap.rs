//! A cluster comes up, and what its status and its Secrets say then.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use vaultkeeper_tests::points::Points;

use super::stage::{Stage, assert_keys_and_no_root, reason};

#[tokio::test]
async fn three_members_become_voters_of_one_raft_cluster() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("three voters and a failure tolerance of 1", |c| {
            c.status
                .as_ref()
                .is_some_and(|s| s.voters == Some(3) && s.failure_tolerance == Some(1))
        })
        .await
        .unwrap();
    let status = cluster.status.clone().unwrap();
    assert_eq!(reason(&cluster, "Available"), "AllMembersServe");
    assert_eq!(status.members_ready.as_deref(), Some("3/3"));
    assert_eq!(
        status.leader.as_deref(),
        Some("main-0"),
        "the first member was initialised and leads"
    );
    assert_keys_and_no_root(&stage).await.unwrap();
    no_secret_of_the_cluster_holds_a_share(&stage).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Keys live in the operator's namespace, not beside the applications.
async fn no_secret_of_the_cluster_holds_a_share(stage: &Stage) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for secret in secrets.list(&kube::api::ListParams::default()).await.unwrap() {
        for key in secret.data.unwrap_or_default().keys() {
            assert!(
                !key.starts_with("share-") && key != "root-token",
                "{key} lies in the cluster's own namespace"
            );
        }
    }
}
