//! Deletions that nobody must have to wait for: whole namespaces, and roles whose Vault is away.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultCluster, VaultRole, annotations, names};
use vaultkeeper_operator::cluster::build::volume_claim;
use vaultkeeper_operator::context::Rules;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::ExposeSecret as _;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, write_secret};

fn roles(stage: &Stage, namespace: &str) -> Api<VaultRole> {
    Api::namespaced(stage.client.clone(), namespace)
}

async fn create_role(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": {"name": "app"},
        "spec": {
            "cluster": {"name": "main", "namespace": stage.namespace},
            "policy": {"rules": [{"path": format!("secret/data/{namespace}/app"), "capabilities": ["read"]}]},
            "appRole": {"secretName": "app-credentials"},
        },
    }))?;
    roles(stage, namespace)
        .create(&PostParams::default(), &role)
        .await?;
    Ok(())
}

async fn until_ready(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    until_role(stage, namespace, "the role to be ready", "Ready", "InPlace").await
}

async fn until_role(
    stage: &Stage,
    namespace: &str,
    what: &str,
    condition: &str,
    reason: &str,
) -> anyhow::Result<()> {
    wait::until_async(what, DEADLINE, async || {
        let status = roles(stage, namespace)
            .get("app")
            .await?
            .status
            .unwrap_or_default();
        let mut conditions = status.conditions.iter();
        ensure!(
            conditions.any(|c| c.type_ == condition && c.reason == reason),
            "{:?}",
            status.conditions
        );
        Ok(())
    })
    .await
}

async fn until_role_is_gone(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    wait::until_async("the role to be gone", DEADLINE, async || {
        match roles(stage, namespace).get_opt("app").await? {
            None => Ok(()),
            Some(role) => bail!("it is there: {:?}", role.status),
        }
    })
    .await
}

/// Wakes the operator for a role, as its watch on all VaultClusters would.
async fn touch(stage: &Stage, namespace: &str, word: &str) -> anyhow::Result<()> {
    let change = json!({"metadata": {"annotations": {"test.invalid/touched": word}}});
    roles(stage, namespace)
        .patch("app", &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    Ok(())
}

/// The note of the first event of this reason about the role.
async fn note(stage: &Stage, namespace: &str, reason: &str) -> anyhow::Result<String> {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), namespace);
    wait::until_async("an event about the role", DEADLINE, async || {
        let found = events.list(&ListParams::default()).await?;
        let event = found.into_iter().find(|e| {
            e.reason.as_deref() == Some(reason)
                && e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some("app")
        });
        event
            .and_then(|e| e.note)
            .with_context(|| format!("none with {reason}"))
    })
    .await
}

async fn make_namespace(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await?;
    Ok(())
}

async fn delete_namespace(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(name, &DeleteParams::default()).await?;
    wait::until_async("the namespace to be gone", DEADLINE, async || {
        match namespaces.get_opt(name).await? {
            None => Ok(()),
            Some(namespace) => bail!("it says {:?}", namespace.status),
        }
    })
    .await
}

fn claims(stage: &Stage) -> Api<PersistentVolumeClaim> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// A claim that a new cluster will find, as one that is bound to a volume that was kept.
async fn make_claim(stage: &Stage) -> anyhow::Result<PersistentVolumeClaim> {
    let claim = serde_json::from_value(json!({
        "metadata": {"name": volume_claim("main", 0), "labels": {annotations::CLUSTER: "main"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))?;
    Ok(claims(stage).create(&PostParams::default(), &claim).await?)
}

#[tokio::test]
async fn a_deleted_namespace_ends_spares_the_keys_and_its_vault_opens_again_over_kept_data() {
    let stage = Stage::new().await.unwrap();
    let elsewhere = format!("{}-apps", stage.namespace);
    make_namespace(&stage, &elsewhere).await.unwrap();
    let grant =
        json!([{"namespaces": [stage.namespace, elsewhere], "pathPrefixes": ["secret/data/{{namespace}}/"]}]);
    stage
        .create_cluster_with(1, json!({"access": grant}))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    // The usual one sees one namespace only.
    let operator_elsewhere = stage.start_operator_over(&Points::record(), &elsewhere);
    let before = stage.until_available().await.unwrap().status.unwrap();
    for namespace in [&stage.namespace, &elsewhere] {
        create_role(&stage, namespace).await.unwrap();
        until_ready(&stage, namespace).await.unwrap();
    }
    let root = stage.root(0).await.unwrap();
    write_secret(
        &root,
        "secret/data/kept",
        &json!({"data": {"word": "still here"}}),
    )
    .await;
    root.revoke_self().await.unwrap();
    let shares = stage.shares().await.unwrap();
    let keys = stage.keys().await.unwrap().unwrap();
    let old = claims(&stage).get(&volume_claim("main", 0)).await.unwrap();

    delete_namespace(&stage, &stage.namespace).await.unwrap();
    let kept = stage.keys().await.unwrap().expect("the key Secret should stay");
    assert_eq!(kept.uid(), keys.uid(), "the very same Secret should be there");
    touch(&stage, &elsewhere, "gone").await.unwrap();
    until_role(
        &stage,
        &elsewhere,
        "the role elsewhere to tell",
        "Ready",
        "ClusterNotFound",
    )
    .await
    .unwrap();

    // The volume was kept, as by a class with reclaimPolicy Retain, and a person binds it to a new claim.
    make_namespace(&stage, &stage.namespace).await.unwrap();
    let new = make_claim(&stage).await.unwrap();
    stage
        .kubelet
        .move_volume(&old.uid().unwrap(), &new.uid().unwrap())
        .unwrap();
    stage
        .create_cluster_with(1, json!({"access": grant}))
        .await
        .unwrap();
    let after = stage.until_available().await.unwrap().status.unwrap();
    assert_eq!(after.cluster_id, before.cluster_id, "the same Vault should serve");
    assert_keys_and_no_root(&stage).await.unwrap();
    let now = stage.shares().await.unwrap();
    assert_eq!(
        now[0].expose_secret(),
        shares[0].expose_secret(),
        "with the same keys"
    );
    let root = stage.root(0).await.unwrap();
    let read = root.read("secret/data/kept").await.unwrap();
    assert!(read.data.json().contains("still here"), "and the same data");
    root.revoke_self().await.unwrap();
    touch(&stage, &elsewhere, "back").await.unwrap();
    until_ready(&stage, &elsewhere)
        .await
        .expect("the role elsewhere should go on");

    // A role whose cluster is gone for good holds its own namespace up no longer than a moment.
    delete_namespace(&stage, &stage.namespace).await.unwrap();
    let begun = Instant::now();
    delete_namespace(&stage, &elsewhere).await.unwrap();
    assert!(
        begun.elapsed() < DEADLINE,
        "{:?} for a role without a cluster",
        begun.elapsed()
    );
    make_namespace(&stage, &stage.namespace).await.unwrap();
    operator_elsewhere.stop().await;
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_role_whose_vault_stays_away_is_let_go_after_the_stated_time_and_says_what_it_left() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let rules = Rules {
        // Longer than one call takes to time out, so that it is tried more than once.
        cleanup_patience: Duration::from_secs(30),
        ..Rules::default()
    };
    let operator = stage.start_operator_with(&Points::record(), rules);
    stage.until_available().await.unwrap();
    create_role(&stage, &stage.namespace).await.unwrap();
    until_ready(&stage, &stage.namespace).await.unwrap();

    stage.kubelet.freeze("main-0").await.unwrap();
    let begun = Instant::now();
    roles(&stage, &stage.namespace)
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    until_role(
        &stage,
        &stage.namespace,
        "the role to say that it waits",
        "Ready",
        "CleanupPending",
    )
    .await
    .unwrap();
    until_role_is_gone(&stage, &stage.namespace).await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(29),
        "it was given up after {:?}, before the stated time",
        begun.elapsed()
    );
    let name = names::vault_name(&stage.namespace, "app");
    let note = note(&stage, &stage.namespace, "LeftBehind").await.unwrap();
    for part in ["30 s", name.as_str(), "policy, AppRole role", "by hand"] {
        assert!(note.contains(part), "{part} should be in the event: {note}");
    }

    // What it says is so: the policy is there, and nobody holds credentials for it.
    stage.kubelet.thaw("main-0").await.unwrap();
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let policies = root.list_policies().await.unwrap();
    assert!(policies.contains(&name), "left behind is {name}: {policies:?}");
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(
        secrets.get_opt("app-credentials").await.unwrap().is_none(),
        "its Secret should be gone"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_pause_holds_a_deletion_no_longer_than_the_stated_time_and_everything_is_kept() {
    let stage = Stage::new().await.unwrap();
    stage
        .create_cluster_with(1, json!({"deletionPolicy": "Delete"}))
        .await
        .unwrap();
    let rules = Rules {
        cleanup_patience: Duration::from_secs(10),
        ..Rules::default()
    };
    let operator = stage.start_operator_with(&Points::record(), rules);
    stage.until_available().await.unwrap();
    create_role(&stage, &stage.namespace).await.unwrap();
    until_ready(&stage, &stage.namespace).await.unwrap();
    let keys = stage.keys().await.unwrap().unwrap();
    let volume = claims(&stage).get(&volume_claim("main", 0)).await.unwrap();
    let pause = json!({"spec": {"paused": true}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&pause))
        .await
        .unwrap();

    let begun = Instant::now();
    roles(&stage, &stage.namespace)
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    let namespace = &stage.namespace;
    let waits = "the role to say that it waits";
    until_role(&stage, namespace, waits, "Ready", "CleanupPending")
        .await
        .unwrap();
    until_role_is_gone(&stage, namespace).await.unwrap();
    let note = note(&stage, namespace, "LeftBehind").await.unwrap();
    assert!(
        note.contains("10 s") && note.contains("spec.paused"),
        "what is left and why should be told: {note}"
    );
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    until_cluster_is_gone(&stage).await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(19),
        "each was let go before the stated time: {:?}",
        begun.elapsed()
    );
    let kept = stage.keys().await.unwrap().expect("the key Secret should stay");
    assert_eq!(kept.uid(), keys.uid(), "the very same Secret under its own name");
    let kept = claims(&stage).get(&volume_claim("main", 0)).await.unwrap();
    assert_eq!(
        kept.uid(),
        volume.uid(),
        "the volume, though the policy says Delete"
    );
    assert_eq!(
        kept.metadata.deletion_timestamp, None,
        "nor is it about to go: {kept:?}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_opened_nothing_takes_no_data_of_an_earlier_one_with_it() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let first = stage.until_available().await.unwrap().status.unwrap();
    delete_cluster(&stage).await.unwrap();
    operator.stop().await;

    // Made and deleted while no operator was there.
    let doomed: VaultCluster = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {
            "name": "main", "finalizers": [annotations::FINALIZER],
            "annotations": {annotations::OPERATOR: stage.operator_namespace},
        },
        "spec": spec("Delete"),
    }))
    .unwrap();
    stage
        .clusters()
        .create(&PostParams::default(), &doomed)
        .await
        .unwrap();
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    until_cluster_is_gone(&stage).await.unwrap();
    let kept = claims(&stage).list(&ListParams::default()).await.unwrap();
    assert_eq!(kept.items.len(), 1, "the earlier cluster's volume should stay");
    assert!(kept.items[0].metadata.deletion_timestamp.is_none());
    assert!(
        stage.keys().await.unwrap().is_some(),
        "the keys should stay in their place"
    );

    stage.create_cluster(1).await.unwrap();
    let again = stage.until_available().await.unwrap().status.unwrap();
    assert_eq!(again.cluster_id, first.cluster_id, "it opens with the kept keys");
    operator.stop().await;
    stage.end().await.unwrap();
}

fn spec(deletion_policy: &str) -> Value {
    json!({
        "version": "1.21.1", "replicas": 1, "profile": "Development", "deletionPolicy": deletion_policy,
        "storage": {"raft": {"size": "1Gi"}},
    })
}

async fn delete_cluster(stage: &Stage) -> anyhow::Result<()> {
    stage.clusters().delete("main", &DeleteParams::default()).await?;
    until_cluster_is_gone(stage).await
}

async fn until_cluster_is_gone(stage: &Stage) -> anyhow::Result<()> {
    wait::until_async("the VaultCluster to be gone", DEADLINE, async || {
        match stage.clusters().get_opt("main").await? {
            None => Ok(()),
            Some(cluster) => bail!("finalizers: {:?}", cluster.finalizers()),
        }
    })
    .await
}
