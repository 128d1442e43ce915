//! What belongs to a VaultCluster and what does not: names that are taken, and what its deletion leaves.

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, condition, reason};

async fn set_deletion_policy(stage: &Stage, policy: &str) {
    let body = json!({"spec": {"deletionPolicy": policy}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
}

pub(super) async fn delete_and_wait(stage: &Stage) {
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    wait::until_async("the VaultCluster to be gone", DEADLINE, async || {
        match stage.clusters().get_opt("main").await? {
            None => Ok(()),
            Some(cluster) => bail!("finalizers: {:?}", cluster.finalizers()),
        }
    })
    .await
    .unwrap();
}

async fn active_pods(stage: &Stage) -> anyhow::Result<Vec<Option<String>>> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let active = format!("{}={}", annotations::STATE, annotations::ACTIVE);
    let found = pods.list(&ListParams::default().labels(&active)).await?;
    Ok(found.iter().map(ResourceExt::uid).collect())
}

fn claims(stage: &Stage) -> Api<PersistentVolumeClaim> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

#[tokio::test]
async fn a_cluster_whose_name_is_taken_makes_nothing_and_its_deletion_spares_the_other() {
    let stage = Stage::new().await.unwrap();
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    // Somebody's Vault, installed by other means.
    let theirs = serde_json::from_value(json!({
        "metadata": {"name": "main"},
        "spec": {
            "replicas": 0,
            "serviceName": "main",
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "vault", "image": "vault"}]},
            },
        },
    }))
    .unwrap();
    let theirs = sets.create(&PostParams::default(), &theirs).await.unwrap();
    stage.create_cluster(1).await.unwrap();
    set_deletion_policy(&stage, "Delete").await;
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the name to be refused", |c| {
            reason(c, "Available") == "NameTaken"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap().message;
    assert!(
        said.contains("StatefulSet main exists and does not belong to this VaultCluster"),
        "the condition should name the object and the remedy: {said}"
    );
    let namespace = &stage.namespace;
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(stage.client.clone(), namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), namespace);
    let half_made = [
        accounts.get_opt("main").await.unwrap().is_some(),
        services.get_opt("main").await.unwrap().is_some(),
        config_maps.get_opt("main-config").await.unwrap().is_some(),
        secrets
            .get_opt(&names::tls_secret("main"))
            .await
            .unwrap()
            .is_some(),
    ];
    assert_eq!(half_made, [false; 4], "nothing should be half made");

    delete_and_wait(&stage).await;
    let left = sets.get("main").await.unwrap();
    assert_eq!(
        (left.uid(), left.metadata.deletion_timestamp),
        (theirs.uid(), None),
        "the other StatefulSet should not be touched"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_certificate_secret_of_somebody_else_is_not_taken_for_a_lost_ca() {
    let stage = Stage::new().await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let theirs = serde_json::from_value(json!({
        "metadata": {"name": names::tls_secret("main")},
        "stringData": {"ca.crt": "the CA of somebody else", "tls.crt": "x", "tls.key": "x"},
    }))
    .unwrap();
    secrets.create(&PostParams::default(), &theirs).await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the name to be refused", |c| {
            reason(c, "Available") == "NameTaken"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap().message;
    assert!(
        said.contains(&format!("Secret {} exists", names::tls_secret("main"))),
        "the condition should name the Secret: {said}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_deleted_comes_back_with_its_data_unless_that_was_to_go_too() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let first = stage.until_available().await.unwrap();
    let identity = first.status.unwrap().cluster_id;
    let of_the_first = active_pods(&stage).await.unwrap();
    assert_eq!(of_the_first.len(), 1, "one member is active: {of_the_first:?}");
    let bindings: Api<ClusterRoleBinding> = Api::all(stage.client.clone());
    let binding = vaultkeeper_operator::cluster::build::reviewer_binding_name(&stage.namespace, "main");
    assert!(
        bindings.get_opt(&binding).await.unwrap().is_some(),
        "Vault may review logins while its cluster is there"
    );

    delete_and_wait(&stage).await;
    assert!(
        bindings.get_opt(&binding).await.unwrap().is_none(),
        "nobody may review logins for a cluster that is gone"
    );
    assert!(stage.keys().await.unwrap().is_some(), "the keys stay");
    let kept = claims(&stage).list(&ListParams::default()).await.unwrap();
    assert_eq!(kept.items.len(), 1, "Retain keeps the volume");

    stage.create_cluster(1).await.unwrap();
    // What the first one left serves until the garbage collector takes it.
    wait::until_async("the second cluster's own pod to serve", DEADLINE, async || {
        let active = active_pods(&stage).await?;
        ensure!(active.len() == 1 && active != of_the_first, "active: {active:?}");
        Ok(())
    })
    .await
    .unwrap();
    let again = stage.until_available().await.unwrap();
    assert_eq!(
        again.status.unwrap().cluster_id,
        identity,
        "the same Vault should serve again, with its data"
    );
    assert_keys_and_no_root(&stage).await.unwrap();

    set_deletion_policy(&stage, "Delete").await;
    delete_and_wait(&stage).await;
    wait::until_async("the volume to be gone", DEADLINE, async || {
        let left = claims(&stage).list(&ListParams::default()).await?;
        ensure!(
            left.items.is_empty(),
            "left: {:?}",
            left.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
        );
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        stage.keys().await.unwrap().is_none(),
        "a new cluster of this name begins anew"
    );
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    let retired = format!("{}.retired-", names::key_secret(&stage.namespace, "main"));
    let kept = secrets.list(&ListParams::default()).await.unwrap();
    let kept = kept.iter().find(|s| s.name_any().starts_with(&retired));
    let shares = kept
        .and_then(|s| s.data.as_ref())
        .with_context(|| format!("a Secret named {retired}…"))
        .unwrap();
    assert!(
        shares.contains_key("share-1"),
        "the shares are kept, since snapshots may need them"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_cluster_in_memory_never_forgets_the_keys_of_data_that_was_kept() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let identity = stage.until_available().await.unwrap().status.unwrap().cluster_id;
    let keys = stage.keys().await.unwrap().unwrap();
    delete_and_wait(&stage).await;

    stage
        .create_cluster_with(1, json!({"storage": {"ephemeral": {}}}))
        .await
        .unwrap();
    stage
        .until("the keys of the earlier cluster to be told", |c| {
            reason(c, "Available") == "KeysOfAnother"
        })
        .await
        .unwrap();
    delete_and_wait(&stage).await;
    let kept = stage.keys().await.unwrap().expect("the key Secret should stay");
    assert_eq!(kept.uid(), keys.uid(), "the very same Secret should be there");
    let shares = |secret: &Secret| {
        let data = secret.data.clone().unwrap_or_default();
        data.into_iter()
            .filter(|(key, _)| key.starts_with("share-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(shares(&kept), shares(&keys), "with the same shares");

    stage.create_cluster(1).await.unwrap();
    let again = stage.until_available().await.unwrap();
    assert_eq!(
        again.status.unwrap().cluster_id,
        identity,
        "the first Vault should serve again with its data"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}
