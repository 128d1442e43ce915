//! Restarts are healed, deliberate seals are respected.

use vaultkeeper_crds::annotations;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage, reason};

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
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    wait::until_async("the new process to answer", DEADLINE, async || {
        member.seal_status().await.map_err(anyhow::Error::from)
    })
    .await
    .unwrap();
    operator.until_passes(3).await.unwrap();
    let sent: Vec<_> = points
        .seen()
        .into_iter()
        .filter(|p| p.call.contains("sys/unseal"))
        .collect();
    assert!(
        sent.is_empty(),
        "the operator sent shares to a member that was sealed on purpose: {sent:?}"
    );
    assert!(
        member.seal_status().await.unwrap().sealed,
        "the member stays sealed"
    );

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
