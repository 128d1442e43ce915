//! Three real members from unseal shares to the transit seal of another Vault, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Token;

use super::kms::Kms;
use super::rollout_watch::{Watch, Writer};
use super::stage::{DEADLINE, Operator, Stage, assert_keys_and_no_root, condition, reason};

const MIGRATED: &str = "SealMigrated";

async fn change_seal(stage: &Stage, seal: Value) {
    let body = json!({"spec": {"seal": seal}});
    let patched = stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await;
    patched.unwrap();
}

async fn to_transit(stage: &Stage, kms: &Kms) {
    let mut seal = kms.seal();
    seal["shamir"] = Value::Null;
    change_seal(stage, seal).await;
}

async fn to_shares(stage: &Stage) {
    let shamir = json!({"shares": 3, "threshold": 2});
    change_seal(
        stage,
        json!({"transit": null, "recovery": null, "shamir": shamir}),
    )
    .await;
}

/// Three members by shares, all with a vote, and the other Vault.
async fn three(points: &Arc<Points>) -> (Stage, Kms, Operator) {
    let (stage, kms) = (Stage::new().await.unwrap(), Kms::start().await);
    kms.give_secrets(&stage).await;
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(points);
    stage.until("three voters", is_well).await.unwrap();
    (stage, kms, operator)
}

fn is_well(cluster: &VaultCluster) -> bool {
    let rolled_out = condition(cluster, "RolledOut")
        .is_some_and(|c| c.status == "True" && c.observed_generation == cluster.metadata.generation);
    let tolerance = cluster.status.as_ref().and_then(|s| s.failure_tolerance);
    rolled_out && tolerance == Some(1) && reason(cluster, "Available") == "AllMembersServe"
}

/// The migration to this kind is over, and every member has started with it alone.
async fn until_migrated(stage: &Stage, to: &str) {
    // Two roll-outs, each with a deadline of its own.
    stage
        .until("the data to be migrated", |c| {
            condition(c, MIGRATED).is_some_and(|m| {
                m.reason != "MigratingSeal" && m.message.contains(&format!("the data is under {to}"))
            })
        })
        .await
        .unwrap();
    let cluster = stage
        .until("the migration to be over", |c| {
            is_well(c) && condition(c, MIGRATED).is_some_and(|m| m.status == "True" && m.message.contains(to))
        })
        .await
        .unwrap();
    assert_eq!(reason(&cluster, MIGRATED), "Migrated");
}

async fn seals(stage: &Stage) -> BTreeMap<u32, (String, bool, bool)> {
    let mut all = BTreeMap::new();
    for ordinal in 0..3 {
        let status = stage.member(ordinal).await.unwrap().seal_status().await.unwrap();
        all.insert(ordinal, (status.kind, status.sealed, status.migration));
    }
    all
}

fn all_are(kind: &str) -> BTreeMap<u32, (String, bool, bool)> {
    (0..3).map(|n| (n, (kind.to_owned(), false, false))).collect()
}

/// How many keys are stored as unseal shares, and how many as recovery keys.
async fn named(stage: &Stage) -> (usize, usize) {
    let data = stage.keys().await.unwrap().unwrap().data.unwrap();
    let count = |prefix: &str| data.keys().filter(|key| key.starts_with(prefix)).count();
    (count("share-"), count("recovery-key-"))
}

async fn values(stage: &Stage) -> Vec<Vec<u8>> {
    let data = stage.keys().await.unwrap().unwrap().data.unwrap();
    let keys = data
        .into_iter()
        .filter(|(key, _)| key.starts_with("share-") || key.starts_with("recovery-key-"));
    keys.map(|(_, value)| value.0).collect()
}

async fn config(stage: &Stage) -> String {
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    configs.get("main-config").await.unwrap().data.unwrap()["vault.hcl"].clone()
}

fn keys_sent(points: &Points) -> usize {
    points
        .seen()
        .iter()
        .filter(|p| p.call.contains("sys/unseal"))
        .count()
}

async fn container(stage: &Stage, pod: &str) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let statuses = pods.get(pod).await.ok()?.status?.container_statuses?;
    statuses.first()?.container_id.clone()
}

async fn events(stage: &Stage, reason: &str) -> usize {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let found = events.list(&ListParams::default()).await.unwrap();
    found
        .iter()
        .filter(|event| event.reason.as_deref() == Some(reason))
        .count()
}

async fn leader(stage: &Stage) -> u32 {
    let leader = stage.leader().await.unwrap();
    leader.trim_start_matches("main-").parse().unwrap()
}

/// The root token of the writer, which nobody is to find later.
async fn revoke(stage: &Stage, token: &Token) {
    let member = stage.member(leader(stage).await).await.unwrap();
    member.with_token(token).revoke_self().await.unwrap();
}

async fn assert_written(stage: &Stage, written: &[u64]) {
    assert!(
        written.len() > 20,
        "only {} writes were acknowledged",
        written.len()
    );
    let root = stage.root(leader(stage).await).await.unwrap();
    for number in written {
        let found = root.read(&format!("secret/data/written/{number}")).await;
        let found: Value = match found {
            Ok(found) => found.data.decode().unwrap(),
            Err(error) => panic!("write {number} was acknowledged and is gone: {error}"),
        };
        assert_eq!(found["data"]["number"], *number);
    }
    root.revoke_self().await.unwrap();
}

#[tokio::test]
async fn three_members_go_from_shares_to_another_vaults_seal_and_back_and_no_write_is_lost() {
    let points = Points::record();
    let (stage, kms, operator) = three(&points).await;
    let shares = values(&stage).await;
    let token = stage.root_token(leader(&stage).await).await.unwrap();
    let watch = Watch::start(&stage).await.unwrap();
    let writer = Writer::start(&stage, &token).await.unwrap();

    to_transit(&stage, &kms).await;
    until_migrated(&stage, "the transit seal").await;
    assert_eq!(seals(&stage).await, all_are("transit"));
    assert_eq!(named(&stage).await, (0, 3), "the shares are recovery keys now");
    assert_eq!(values(&stage).await, shares, "the very same");
    let root = stage.root(leader(&stage).await).await;
    root.expect("a root token from the recovery keys")
        .revoke_self()
        .await
        .unwrap();
    for happened in ["SealMigrationBegun", "SealMigrated", "SealMigrationEnded"] {
        assert_eq!(events(&stage, happened).await, 1, "{happened}");
    }

    // A new process opens by itself.
    let sent = keys_sent(&points);
    let before = container(&stage, "main-0").await;
    stage.kubelet.kill("main-0").await.unwrap();
    wait::until_async("main-0 to have opened by itself", DEADLINE, async || {
        let now = container(&stage, "main-0").await;
        ensure!(now.is_some() && now != before, "the container is {now:?}");
        let status = stage.member(0).await?.seal_status().await?;
        ensure!(!status.sealed, "it is sealed");
        Ok(())
    })
    .await
    .unwrap();
    operator.until_passes(2).await.unwrap();
    assert_eq!(keys_sent(&points), sent, "the operator sends it no key");
    stage.until("three voters again", is_well).await.unwrap();

    to_shares(&stage).await;
    until_migrated(&stage, "unseal shares").await;
    let (written, seen) = (writer.end().await, watch.end().await);
    revoke(&stage, &token).await;
    assert_eq!(seals(&stage).await, all_are("shamir"));
    assert!(
        !config(&stage).await.contains("seal \"transit\""),
        "the disabled stanza is gone"
    );
    assert_eq!(
        named(&stage).await,
        (3, 0),
        "the recovery keys are unseal shares now"
    );
    assert_eq!(values(&stage).await, shares, "the very same");
    assert_keys_and_no_root(&stage).await.unwrap();
    assert_written(&stage, &written).await;
    assert!(seen.fewest_serve >= 2, "two members always serve: {seen:?}");

    // Nothing of the other Vault is needed any more.
    drop(kms);
    stage.kill_and_wait("main-1").await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_seal_that_cannot_be_reached_stops_at_the_first_standby_and_the_change_can_be_taken_back() {
    let points = Points::record();
    let (stage, mut kms, operator) = three(&points).await;
    let token = stage.root_token(leader(&stage).await).await.unwrap();
    kms.server.stop().unwrap();
    let watch = Watch::start(&stage).await.unwrap();
    let writer = Writer::start(&stage, &token).await.unwrap();

    to_transit(&stage, &kms).await;
    let cluster = stage
        .until("the roll-out to stop", |c| reason(c, "RolledOut") == "Stuck")
        .await
        .unwrap();
    let said = condition(&cluster, MIGRATED).unwrap();
    assert_eq!(
        (said.status.as_str(), said.reason.as_str()),
        ("False", "MigratingSeal")
    );
    assert!(
        said.message.contains("cannot be reached") && said.message.contains("0 of 3 members run for it"),
        "{}",
        said.message
    );
    assert_eq!(named(&stage).await, (3, 0), "they are shares still");
    operator.until_passes(3).await.unwrap();
    assert_eq!(
        reason(&stage.clusters().get("main").await.unwrap(), "Available"),
        "Degraded"
    );

    let (written, seen) = (writer.end().await, watch.end().await);
    revoke(&stage, &token).await;
    assert!(seen.fewest_serve >= 2, "two members always serve: {seen:?}");
    assert_eq!(
        seen.times_without_leader, 0,
        "the leader was left alone: {seen:?}"
    );
    assert_written(&stage, &written).await;

    // A member that was not restarted for it dies and comes back with the seal that it knows.
    let rows = cluster.status.unwrap().members;
    let other = rows.iter().find(|m| m.state == "Standby").unwrap().name.clone();
    let before = container(&stage, &other).await;
    stage.kubelet.kill(&other).await.unwrap();
    wait::until_async("it to serve again", DEADLINE, async || {
        let now = container(&stage, &other).await;
        ensure!(now.is_some() && now != before, "the container is {now:?}");
        let member = stage.member(other.trim_start_matches("main-").parse()?).await?;
        let status = member.seal_status().await?;
        ensure!(!status.sealed && status.kind == "shamir", "{status:?}");
        Ok(())
    })
    .await
    .unwrap();

    to_shares(&stage).await;
    let cluster = stage.until("all members to be as before", is_well).await.unwrap();
    assert_eq!(condition(&cluster, MIGRATED), None, "nothing is left of it");
    assert_eq!(seals(&stage).await, all_are("shamir"));
    let restarted = points
        .seen()
        .iter()
        .filter(|p| p.call.contains("DELETE pods/"))
        .count();
    assert_eq!(restarted, 2, "one member, there and back");

    // Once the other Vault is there the same change goes through.
    kms.server.start_again().await.unwrap();
    kms.unseal().await;
    to_transit(&stage, &kms).await;
    until_migrated(&stage, "the transit seal").await;
    assert_eq!(seals(&stage).await, all_are("transit"));
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Starts an operator that dies on this side of this call, and waits for that.
async fn die_at(stage: &Stage, call: &str, side: Side) {
    let point = Point {
        call: call.to_owned(),
        occurrence: 1,
    };
    let points = Points::dying_at(point, side);
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    assert!(died.is_ok(), "{call} should be made; seen: {:?}", points.seen());
}

#[tokio::test]
async fn an_operator_that_dies_on_the_way_is_followed_by_one_that_ends_it() {
    let (stage, kms, operator) = three(&Points::record()).await;
    operator.stop().await;
    let shares = values(&stage).await;
    to_transit(&stage, &kms).await;
    let noted = |keys: &str| format!("Kubernetes PATCH secrets/<keys> ({keys})");
    let to_recovery = noted("seal, recovery-key-1, recovery-key-2, recovery-key-3");
    let to_unseal = noted("seal, share-1, share-2, share-3");
    // As it is begun, in the middle of the first unsealing, as the leader steps down, as that is noted, at the end.
    die_at(&stage, &noted("seal"), Side::Before).await;
    die_at(&stage, &noted("seal"), Side::After).await;
    die_at(&stage, "Vault PUT sys/unseal", Side::After).await;
    die_at(&stage, "Vault PUT sys/step-down", Side::After).await;
    die_at(&stage, &to_recovery, Side::After).await;
    assert_eq!(
        named(&stage).await,
        (3, 3),
        "under both names until that is proven"
    );
    die_at(&stage, &to_unseal, Side::Before).await;
    let operator = stage.start_operator(&Points::record());
    until_migrated(&stage, "the transit seal").await;
    operator.stop().await;
    assert_eq!(seals(&stage).await, all_are("transit"));
    assert_eq!(
        (named(&stage).await, values(&stage).await),
        ((0, 3), shares.clone())
    );

    to_shares(&stage).await;
    die_at(&stage, "Vault PUT sys/unseal", Side::Before).await;
    die_at(&stage, "Vault PUT sys/step-down", Side::After).await;
    die_at(&stage, &to_unseal, Side::Before).await;
    die_at(&stage, &to_unseal, Side::After).await;
    die_at(&stage, &to_recovery, Side::After).await;
    let operator = stage.start_operator(&Points::record());
    until_migrated(&stage, "unseal shares").await;
    assert_eq!(seals(&stage).await, all_are("shamir"));
    assert_eq!((named(&stage).await, values(&stage).await), ((3, 0), shares));
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
