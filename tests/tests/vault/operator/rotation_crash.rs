//! An operator that dies before and after each call of a rotation.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::PostParams;
use serde_json::json;
use vaultkeeper_crds::annotations::RESTARTED_FOR;
use vaultkeeper_operator::role::rotation::state::{State, remembered};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::wait;

use super::rotation_support::{Credentials, DEADLINE, Role, SECRET, set};
use super::stage::Stage;

/// Calls of a rotation; what only looks is left aside, but for the proof of the new secret-id.
fn of_a_rotation(point: &Point) -> bool {
    let Point { call, occurrence: _ } = point;
    let names_it = ["app", "vaultroles", "secrets/", "deployments"]
        .iter()
        .any(|part| call.contains(part));
    names_it && !call.contains("LIST") && !call.contains("status")
}

impl Role<'_> {
    /// Whether the rotation that was asked for is over: one secret-id, stored, proven, and the workload restarted for it.
    async fn is_over(&self, request: &str, before: &Credentials) -> anyhow::Result<()> {
        let secret = self.secrets().get(SECRET).await?;
        let state = State::of(&secret).context("the Secret has no state")?;
        ensure!(state.request == Some(remembered(request)), "it is not answered");
        ensure!(!state.restart_pending, "the workload is not restarted yet");
        let now = self.stored().await?;
        ensure!(now.accessor != before.accessor, "it is that of before");
        let known = self.known().await;
        ensure!(known == set(&[&now]), "Vault knows {known:?}");
        self.login(&now).await?;
        let shop = self.deployments().get("shop").await?;
        let template = shop
            .spec
            .and_then(|spec| spec.template.metadata)
            .unwrap_or_default();
        let mark = template.annotations.unwrap_or_default().remove(RESTARTED_FOR);
        ensure!(
            mark == Some(remembered(&now.accessor)),
            "the workload was restarted for {mark:?}"
        );
        Ok(())
    }

    async fn until_over(&self, request: &str, before: &Credentials) -> anyhow::Result<()> {
        wait::until_async("the rotation to be over", DEADLINE, async || {
            self.is_over(request, before).await
        })
        .await
    }

    async fn die_at(&self, point: &Point, side: Side, request: &str) -> anyhow::Result<()> {
        let before = self.stored().await?;
        let points = Points::dying_at(point.clone(), side);
        let operator = self.stage.start_operator(&points);
        self.ask(request).await?;
        let reached = tokio::time::timeout(DEADLINE, points.reached());
        // A second call of a kind comes, or not, as the watch is behind or not.
        let died = tokio::select! {
            reached = reached => reached.is_ok(),
            over = self.until_over(request, &before), if point.occurrence > 1 => over.is_ok(),
        };
        operator.kill().await;
        ensure!(died, "the point was never reached");
        // Whatever is stored at that moment works, and so does what was stored before, as long as it may.
        let now = self.stored().await?;
        self.login(&now).await.context("what is stored must log in")?;

        let operator = self.stage.start_operator(&Points::record());
        self.until_over(request, &before).await?;
        operator.stop().await;
        Ok(())
    }
}

#[tokio::test]
#[ignore = "long: one rotation for each side of each call"]
async fn an_operator_that_dies_at_any_call_of_a_rotation_leaves_no_orphan_and_no_dead_credentials() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    let shop: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "shop" },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": "shop" } },
            "template": { "metadata": { "labels": { "app": "shop" } }, "spec": { "containers": [{ "name": "a", "image": "a" }] } },
        },
    }))
    .unwrap();
    role.deployments()
        .create(&PostParams::default(), &shop)
        .await
        .unwrap();
    let targets = json!([{ "kind": "Deployment", "name": "shop" }]);
    role.create(json!({ "secretName": SECRET, "rotation": { "overlap": "1s", "restartTargets": targets } }))
        .await;
    operator.stop().await;

    let points = Points::record();
    let operator = stage.start_operator(&points);
    let before = role.stored().await.unwrap();
    role.ask("first").await.unwrap();
    role.until_over("first", &before).await.unwrap();
    operator.stop().await;
    let table: Vec<Point> = points.seen().into_iter().filter(of_a_rotation).collect();
    for needed in [
        "secret-id",
        "secret-id/lookup",
        "PUT secrets/",
        "PATCH deployments",
        "secret-id-accessor/destroy",
    ] {
        assert!(
            table.iter().any(|point| point.call.contains(needed)),
            "no call with {needed} in {table:?}"
        );
    }
    for (n, point) in table.iter().enumerate() {
        for side in [Side::Before, Side::After] {
            say(&format!("{} of {}: {side:?} {point}", n + 1, table.len()));
            role.die_at(point, side, &format!("{n}-{side:?}"))
                .await
                .with_context(|| format!("{side:?} {point}"))
                .unwrap();
        }
    }
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}
