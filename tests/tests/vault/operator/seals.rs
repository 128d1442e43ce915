//! Restarts are healed, deliberate seals are respected.

use vaultkeeper_crds::annotations;
use vaultkeeper_tests::points::Points;

use super::stage::{Stage, reason};

#[tokio::test]
async fn a_killed_member_is_unsealed_and_a_sealed_one_stays_sealed_until_it_is_released() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();

    stage.kubelet.kill("main-0").await.unwrap();
    stage
        .until("the killed member to be missed", |c| {
            reason(c, "Available") != "AllMembersServe"
        })
        .await
        .unwrap();
    stage.until_available().await.unwrap();

    let root = stage.root(0).await.unwrap();
    root.seal().await.unwrap();
    stage
        .until("the seal to be latched", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .await
        .unwrap();
    operator.kill().await;

    // Neither another operator nor another process of the member undoes it.
    let operator = stage.start_operator(&Points::record());
    stage.kubelet.kill("main-0").await.unwrap();
    stage
        .until("the new process to be seen sealed", |c| {
            c.status
                .as_ref()
                .is_some_and(|s| s.members.iter().all(|m| m.state == "Sealed"))
        })
        .await
        .unwrap();
    for _ in 0..20 {
        let status = stage.member(0).await.unwrap().seal_status().await.unwrap();
        assert!(
            status.sealed && status.progress == 0,
            "the operator sent shares to a member that was sealed on purpose"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    stage
        .annotate(annotations::RELEASE_SEAL, "the drill is over")
        .await
        .unwrap();
    stage.until_available().await.unwrap();
    let cluster = stage.clusters().get("main").await.unwrap();
    assert_eq!(reason(&cluster, "SealLatched"), "", "the latch is gone");
    operator.stop().await;
    stage.end().await.unwrap();
}
