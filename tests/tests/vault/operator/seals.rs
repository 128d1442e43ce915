//! Restarts are healed, deliberate seals are respected.

use kube::ResourceExt as _;
use vaultkeeper_crds::{VaultCluster, annotations};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::configuration::event;
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
    event(&stage, "Unsealed", &["the shares were sent to main-0"]).await;

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

    stage.annotate(annotations::RELEASE_SEAL, " ").await.unwrap();
    let cluster = stage
        .until("a release without a reason to be turned down", |c| {
            !c.annotations().contains_key(annotations::RELEASE_SEAL)
        })
        .await
        .unwrap();
    operator.until_passes(2).await.unwrap();
    assert_eq!(reason(&cluster, "SealLatched"), "SealedOnPurpose");
    assert!(
        !points.seen().iter().any(|p| p.call.contains("sys/unseal")),
        "no share may be sent without a reason"
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

#[tokio::test]
async fn a_member_whose_kubelet_is_late_to_tell_of_its_restart_is_not_taken_for_one_sealed_on_purpose() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let unsealings = |points: &Points| {
        let seen = points.seen();
        seen.iter().filter(|p| p.call.contains("sys/unseal")).count()
    };
    let before = unsealings(&points);

    stage.kubelet.hold_status("main-0").await;
    stage.kubelet.kill("main-0").await.unwrap();
    let is_sealed = |c: &VaultCluster| {
        let members = c
            .status
            .as_ref()
            .map(|s| s.members.as_slice())
            .unwrap_or_default();
        members.iter().any(|m| m.state == "Sealed")
    };
    let cluster = stage
        .until(
            "the operator to see a sealed server in the old container",
            is_sealed,
        )
        .await
        .unwrap();
    assert_eq!(
        reason(&cluster, "SealLatched"),
        "",
        "the kubelet may not have told yet"
    );
    assert_eq!(
        unsealings(&points),
        before,
        "nor is it unsealed: it may have been sealed on purpose"
    );

    stage.kubelet.tell_status("main-0").await.unwrap();
    let cluster = stage.until_available().await.unwrap();
    assert_eq!(reason(&cluster, "SealLatched"), "", "it was never latched");
    assert!(unsealings(&points) > before, "the operator unsealed it");
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_operator_in_the_first_seconds_of_a_seal_does_not_undo_it() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    root.seal().await.unwrap();
    operator.kill().await;

    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage
        .until("the seal to be latched by the second operator", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .await
        .unwrap();
    let sent = points.seen();
    assert!(
        !sent.iter().any(|p| p.call.contains("sys/unseal")),
        "no share may be sent: {sent:?}"
    );
    assert!(stage.member(0).await.unwrap().seal_status().await.unwrap().sealed);
    operator.stop().await;
    stage.end().await.unwrap();
}
