//! A cluster at rest: nothing is written, neither by the operator that brought it up nor by the next one.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_tests::points::Points;

use super::stage::{Operator, Stage, reason};

/// How often a look is repeated: on a busy machine a member may answer late, which is told and taken back.
const TRIES: usize = 3;

/// Kind and name of every object, with its version.
type Versions = BTreeMap<String, String>;

async fn add<K>(found: &mut Versions, stage: &Stage, namespace: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(stage.client.clone(), namespace);
    for object in api.list(&ListParams::default()).await.unwrap() {
        let key = format!("{} {namespace}/{}", K::kind(&()), object.name_any());
        found.insert(key, object.resource_version().unwrap_or_default());
    }
}

/// Everything that the operator writes, events included.
async fn versions(stage: &Stage) -> Versions {
    let mut found = Versions::new();
    let members = stage.namespace.as_str();
    add::<VaultCluster>(&mut found, stage, members).await;
    add::<StatefulSet>(&mut found, stage, members).await;
    add::<Service>(&mut found, stage, members).await;
    add::<ConfigMap>(&mut found, stage, members).await;
    add::<ServiceAccount>(&mut found, stage, members).await;
    add::<NetworkPolicy>(&mut found, stage, members).await;
    add::<PodDisruptionBudget>(&mut found, stage, members).await;
    // Of others there are events that repeat.
    let events: Api<Event> = Api::namespaced(stage.client.clone(), members);
    for event in events.list(&ListParams::default()).await.unwrap() {
        let about = event.regarding.as_ref().and_then(|object| object.kind.clone());
        if about.as_deref() == Some("VaultCluster") {
            let key = format!("Event {}", event.name_any());
            found.insert(key, event.resource_version().unwrap_or_default());
        }
    }
    for namespace in [members, &stage.operator_namespace] {
        add::<Secret>(&mut found, stage, namespace).await;
    }
    found
}

/// What differs, for the message.
fn differences<'a>(before: &'a Versions, after: &'a Versions) -> Vec<&'a String> {
    let all = before.keys().chain(after.keys());
    let mut differing: Vec<&String> = all.filter(|key| before.get(*key) != after.get(*key)).collect();
    differing.dedup();
    differing
}

/// Waits until three passes in a row leave everything as it was.
async fn until_quiet(stage: &Stage, operator: &Operator) {
    let mut before = versions(stage).await;
    let mut changed = Vec::new();
    for _ in 0..10 {
        operator.until_passes(3).await.unwrap();
        let after = versions(stage).await;
        changed = differences(&before, &after).into_iter().cloned().collect();
        if changed.is_empty() {
            return;
        }
        before = after;
    }
    panic!("these are written again and again: {changed:?}");
}

/// Waits until three passes send nothing that would change something. Writes that change nothing are told apart from none:
/// only what is repaired each minute is applied again.
async fn until_nothing_is_sent(points: &Points, operator: &Operator) {
    let forbidden = |call: &String| {
        ["vaultclusters", "pods", "DELETE", "<keys>", "<ca>", "Vault PUT"]
            .iter()
            .any(|word| call.contains(word))
    };
    let mut wrong = Vec::new();
    for _ in 0..TRIES {
        let seen = points.seen().len();
        operator.until_passes(3).await.unwrap();
        let sent = points.seen().split_off(seen).into_iter().map(|p| p.call);
        wrong = sent.filter(forbidden).collect();
        if wrong.is_empty() {
            return;
        }
    }
    panic!("nothing has changed, and yet each time: {wrong:?}");
}

/// A new operator applies everything once more, and changes nothing by it.
async fn until_a_new_operator_changes_nothing(stage: &Stage) {
    let mut changed = Vec::new();
    for _ in 0..TRIES {
        let before = versions(stage).await;
        let operator = stage.start_operator(&Points::record());
        operator.until_passes(4).await.unwrap();
        let after = versions(stage).await;
        operator.stop().await;
        changed = differences(&before, &after).into_iter().cloned().collect();
        if changed.is_empty() {
            return;
        }
    }
    panic!("every new operator changes these: {changed:?}");
}

#[tokio::test]
async fn a_cluster_at_rest_is_not_written_to_and_the_next_operator_changes_nothing_either() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage
        .until("three voters, a score, the certificate and the roll-out", |c| {
            let status = c.status.clone().unwrap_or_default();
            status.voters == Some(3)
                && status.readiness.is_some()
                && reason(c, "CertificateCurrent") == "AllShowIt"
                && reason(c, "RolledOut") == "UpToDate"
                && reason(c, "Configured") == "InPlace"
        })
        .await
        .unwrap();
    until_quiet(&stage, &operator).await;
    let life = points.seen();
    assert!(
        life.iter().any(|p| p.call.contains("sys/init")),
        "these should be the calls of a whole life: {life:?}"
    );
    let roots: Vec<_> = life.iter().filter(|p| p.call.contains("generate-root")).collect();
    assert!(
        roots.is_empty(),
        "the operator never makes another root token: {roots:?}"
    );
    until_nothing_is_sent(&points, &operator).await;
    operator.stop().await;
    until_a_new_operator_changes_nothing(&stage).await;
    stage.end().await.unwrap();
}
