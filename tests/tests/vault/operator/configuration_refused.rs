//! A spec that the operator refuses though the API server took it, as one with an older CRD does: members are looked
//! at, labelled and unsealed all the same, and what was applied stays.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::certificates::until_current;
use super::configuration::until_configured;
use super::stage::{DEADLINE, Stage, condition, reason};

/// A user who would be root: Vault folds the name to lower case.
fn root_user() -> Value {
    json!({"configuration": {"authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [
        {"name": "ana", "password": {"name": "ana", "key": "password"}, "token": {"policies": ["Root"]}},
    ]}}]}})
}

async fn patch(stage: &Stage, spec: Value) {
    let body = json!({"spec": spec});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
}

async fn restarted_member_is_unsealed_and_labelled(stage: &Stage) {
    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    wait::until_async("the restarted member to be unsealed", DEADLINE, async || {
        anyhow::ensure!(!member.seal_status().await?.sealed, "sealed");
        Ok(())
    })
    .await
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("the label of the active member", DEADLINE, async || {
        let active = ListParams::default().labels("vaultkeeper.dev/state=active");
        anyhow::ensure!(pods.list(&active).await?.items.len() == 1, "none");
        Ok(())
    })
    .await
    .unwrap();
}

async fn operators_policy(root: &Client) -> String {
    root.read_policy("vaultkeeper-operator").await.unwrap()
}

#[tokio::test]
async fn a_refused_spec_stops_neither_the_unsealing_nor_the_status_and_nothing_is_built_of_it() {
    let stage = Stage::with_an_older_crd().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    let root = stage.root(0).await.unwrap();
    let policy = operators_policy(&root).await;

    // A part of the spec: the configuration.
    patch(&stage, root_user()).await;
    let cluster = stage
        .until("the refusal to be told by a cluster that serves on", |c| {
            reason(c, "Accepted") == "InvalidSpec"
                && reason(c, "Configured") == "InvalidSpec"
                && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Configured").unwrap().message;
    assert!(
        said.contains("spec.configuration") && said.contains("Root"),
        "{said}"
    );
    restarted_member_is_unsealed_and_labelled(&stage).await;
    assert!(
        !root.auth_methods().await.unwrap().contains_key("people/"),
        "nothing of a refused configuration is applied"
    );
    assert_eq!(
        operators_policy(&root).await,
        policy,
        "and the operator's policy is not made of it"
    );
    // The rest of the spec is applied.
    patch(&stage, json!({"pod": {"labels": {"team": "a"}}})).await;
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let labels = async || {
        let set = sets.get("main").await?;
        let template = set.spec.and_then(|s| s.template.metadata).unwrap_or_default();
        anyhow::Ok(template.labels.unwrap_or_default())
    };
    wait::until_async("the new label in the StatefulSet", DEADLINE, async || {
        anyhow::ensure!(labels().await?.contains_key("team"), "not there");
        Ok(())
    })
    .await
    .unwrap();

    // An operator that starts with such a spec does the same.
    operator.stop().await;
    let operator = stage.start_operator(&Points::record());
    restarted_member_is_unsealed_and_labelled(&stage).await;

    // The whole spec: nothing of it is applied, but a certificate that is due is renewed.
    let first = until_current(&stage, None).await;
    let names = json!({"managed": {"extraDnsNames": ["vault.example.com"]}});
    patch(
        &stage,
        json!({"replicas": 2, "pod": {"labels": {"team": "b"}}, "tls": names}),
    )
    .await;
    let cluster = stage
        .until("the other refusal to be told", |c| {
            condition(c, "Accepted").is_some_and(|c| c.message.contains("spec.replicas"))
        })
        .await
        .unwrap();
    assert_eq!(reason(&cluster, "Configured"), "InvalidSpec");
    until_current(&stage, Some(&first)).await;
    restarted_member_is_unsealed_and_labelled(&stage).await;
    assert_eq!(
        labels().await.unwrap().get("team").map(String::as_str),
        Some("a"),
        "what was applied stays as it is"
    );

    // And mended, all of it is applied.
    patch(
        &stage,
        json!({"replicas": 1, "configuration": {"authMethods": [{"path": "people", "type": "userpass"}]}}),
    )
    .await;
    until_configured(&stage).await;
    // The pod's labels have changed, too: its member is restarted for them.
    let cluster = stage
        .until("the restarted member to serve with the present template", |c| {
            let rolled = condition(c, "RolledOut");
            rolled.is_some_and(|rolled| {
                rolled.reason == "UpToDate" && rolled.observed_generation == c.metadata.generation
            }) && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
    assert_eq!(labels().await.unwrap().get("team").map(String::as_str), Some("b"));
    assert_eq!(reason(&cluster, "Accepted"), "Valid");
    assert!(root.auth_methods().await.unwrap().contains_key("people/"));
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn nothing_is_begun_with_a_spec_that_is_refused() {
    let stage = Stage::with_an_older_crd().await.unwrap();
    stage.create_cluster_with(1, root_user()).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage
        .until("the refusal to be told", |c| {
            reason(c, "Accepted") == "InvalidSpec" && reason(c, "Available") == "InvalidSpec"
        })
        .await
        .unwrap();
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(sets.get_opt("main").await.unwrap().is_none());
    assert!(stage.keys().await.unwrap().is_none());
    operator.stop().await;
    stage.end().await.unwrap();
}
