//! Volumes that grow with the spec. Claims are bound by the real controllers to volumes that the tests make; a driver that
//! makes a volume larger is played by the tests.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;

use super::configuration::event;
use super::stage::{DEADLINE, Stage, change, condition, reason};

const GROWING: &str = "VolumesGrowing";

/// A StorageClass of this test, and the volumes in it.
struct Class<'a> {
    stage: &'a Stage,
    name: String,
}

impl<'a> Class<'a> {
    async fn make(stage: &'a Stage, may_grow: bool) -> Self {
        let name = format!("class-{}", stage.namespace);
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": may_grow,
        }))
        .unwrap();
        let classes: Api<StorageClass> = Api::all(stage.client.clone());
        classes.create(&PostParams::default(), &class).await.unwrap();
        Self { stage, name }
    }

    async fn allow(&self) {
        let classes: Api<StorageClass> = Api::all(self.stage.client.clone());
        let body = json!({"allowVolumeExpansion": true});
        let patched = classes
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(&body))
            .await;
        patched.unwrap();
    }

    /// The storage of a cluster.
    fn raft(&self, size: &str) -> Value {
        json!({"raft": {"size": size, "storageClassName": self.name}})
    }

    fn volume(&self, claim: &str) -> String {
        format!("{}-{claim}", self.stage.namespace)
    }

    /// Makes a volume for each claim, and waits until they are bound.
    async fn bind(&self, claims: &[&str], size: &str) {
        let volumes: Api<PersistentVolume> = Api::all(self.stage.client.clone());
        for claim in claims {
            let volume: PersistentVolume = serde_json::from_value(json!({
                "metadata": {"name": self.volume(claim)},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": size},
                    "storageClassName": self.name,
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": self.stage.namespace, "name": claim},
                    "csi": {"driver": "driver.test", "volumeHandle": self.volume(claim)},
                },
            }))
            .unwrap();
            volumes.create(&PostParams::default(), &volume).await.unwrap();
        }
        wait::until_async("the claims to be bound", DEADLINE, async || {
            for claim in claims {
                let phase = get(self.stage, claim).await?.status.and_then(|s| s.phase);
                ensure!(phase.as_deref() == Some("Bound"), "{claim} is {phase:?}");
            }
            Ok(())
        })
        .await
        .unwrap();
    }

    /// What a driver writes in the end.
    async fn grow(&self, claim: &str, size: &str) {
        let body = json!({"status": {"capacity": {"storage": size}, "conditions": null, "allocatedResourceStatuses": null}});
        status(self.stage, claim, &body).await;
    }

    async fn end(self) {
        let now = DeleteParams::default();
        let volumes: Api<PersistentVolume> = Api::all(self.stage.client.clone());
        for volume in volumes.list(&ListParams::default()).await.unwrap() {
            if volume
                .name_any()
                .starts_with(&format!("{}-", self.stage.namespace))
            {
                volumes.delete(&volume.name_any(), &now).await.unwrap();
            }
        }
        let classes: Api<StorageClass> = Api::all(self.stage.client.clone());
        classes.delete(&self.name, &now).await.unwrap();
    }
}

fn claims(stage: &Stage) -> Api<PersistentVolumeClaim> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

async fn get(stage: &Stage, claim: &str) -> anyhow::Result<PersistentVolumeClaim> {
    Ok(claims(stage).get(claim).await?)
}

async fn status(stage: &Stage, claim: &str, body: &Value) {
    let patched = claims(stage)
        .patch_status(claim, &PatchParams::default(), &Patch::Merge(body))
        .await;
    patched.unwrap();
}

fn requested(claim: &PersistentVolumeClaim) -> Option<String> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    Some(resources.requests.as_ref()?.get("storage")?.0.clone())
}

async fn asks_for(stage: &Stage, claim: &str) -> Option<String> {
    requested(&get(stage, claim).await.unwrap())
}

async fn until_it_asks_for(stage: &Stage, claim: &str, size: &str) {
    wait::until_async(&format!("{claim} to ask for {size}"), DEADLINE, async || {
        let asked = requested(&get(stage, claim).await?);
        ensure!(asked.as_deref() == Some(size), "it asks for {asked:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// The UID of each pod, and the container in it.
async fn lives(stage: &Stage) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let life = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.clone());
        let container = statuses.into_iter().flatten().find_map(|c| c.container_id);
        (pod.name_any(), (pod.uid(), container))
    };
    let pods = pods.list(&ListParams::default()).await.unwrap();
    pods.iter().map(life).collect()
}

/// The UID of the StatefulSet, and the size in its template.
async fn set(stage: &Stage) -> (Option<String>, Option<String>) {
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let set = sets.get("main").await.unwrap();
    (set.uid(), template(&set))
}

fn template(set: &StatefulSet) -> Option<String> {
    let templates = set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    requested(templates.first()?)
}

async fn until_told(stage: &Stage, why: &str, words: &[&str]) {
    stage
        .until(&format!("{GROWING} to say {why} with {words:?}"), |c| {
            condition(c, GROWING)
                .is_some_and(|c| c.reason == why && words.iter().all(|word| c.message.contains(word)))
        })
        .await
        .unwrap();
}

async fn until_grown(stage: &Stage) {
    let all_is_well = |c: &_| condition(c, GROWING).is_none() && reason(c, "Available") == "AllMembersServe";
    stage.until("no volume to grow", all_is_well).await.unwrap();
}

fn patches(points: &Points) -> Vec<String> {
    let seen = points.seen().into_iter().map(|point| point.call);
    seen.filter(|call| call.starts_with("Kubernetes PATCH persistentvolumeclaims/"))
        .collect()
}

#[tokio::test]
async fn volumes_grow_under_operators_that_die_and_no_member_restarts() {
    let stage = Stage::new().await.unwrap();
    let class = Class::make(&stage, true).await;
    let fields = json!({
        "storage": class.raft("1Gi"),
        "auditVolume": {"size": "1Gi", "storageClassName": class.name},
    });
    stage.create_cluster_with(3, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let names = ["data-main-0", "data-main-1", "data-main-2"];
    class.bind(&names, "1Gi").await;
    class
        .bind(&["audit-main-0", "audit-main-1", "audit-main-2"], "1Gi")
        .await;
    // By hand, before the spec says so: it is left alone.
    let larger = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
    let patched = claims(&stage)
        .patch("data-main-2", &PatchParams::default(), &Patch::Merge(&larger))
        .await;
    patched.unwrap();
    stage
        .until("every member to run its template", |c| {
            reason(c, "RolledOut") == "UpToDate"
        })
        .await
        .unwrap();
    operator.stop().await;
    let (before, there) = (lives(&stage).await, set(&stage).await);

    change(&stage, json!({"storage": {"raft": {"size": "2Gi"}}})).await;
    for side in [Side::Before, Side::After] {
        let point = Point {
            call: format!(
                "Kubernetes PATCH persistentvolumeclaims/{}",
                match side {
                    Side::Before => names[0],
                    Side::After => names[1],
                }
            ),
            occurrence: 1,
        };
        let points = Points::dying_at(point, side);
        let operator = stage.start_operator(&points);
        let died = tokio::time::timeout(DEADLINE, points.reached()).await;
        operator.kill().await;
        assert!(died.is_ok(), "a claim should be patched");
    }
    let points = Points::record();
    let operator = stage.start_operator(&points);
    for claim in &names[..2] {
        until_it_asks_for(&stage, claim, "2Gi").await;
    }
    until_told(
        &stage,
        "VolumeGrowing",
        &["data-main-0", "its volume has 1Gi of 2Gi"],
    )
    .await;

    let awaited = json!({"status": {"conditions": [
        {"type": "FileSystemResizePending", "status": "True", "lastTransitionTime": "2026-11-22T20:00:00Z"},
    ]}});
    status(&stage, names[0], &awaited).await;
    until_told(
        &stage,
        "FileSystemAwaited",
        &[names[0], "vaultkeeper.dev/restart"],
    )
    .await;
    let failed = json!({"status": {"conditions": [
        {"type": "ControllerResizeError", "status": "True", "message": "no room", "lastTransitionTime": "2026-11-22T20:00:00Z"},
    ]}});
    status(&stage, names[1], &failed).await;
    until_told(&stage, "ExpansionFailed", &[names[1], "no room"]).await;
    for claim in names {
        class.grow(claim, "2Gi").await;
    }
    until_grown(&stage).await;
    assert_eq!(
        asks_for(&stage, names[2]).await.as_deref(),
        Some("5Gi"),
        "never smaller"
    );
    for claim in ["audit-main-0", "audit-main-1", "audit-main-2"] {
        assert_eq!(asks_for(&stage, claim).await.as_deref(), Some("1Gi"), "{claim}");
    }
    // An operator that knows nothing looks, and asks for nothing any more.
    operator.stop().await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes(3).await.unwrap();
    assert_eq!(patches(&points), Vec::<String>::new(), "all is as it should be");

    change(&stage, json!({"auditVolume": {"size": "3Gi"}})).await;
    until_it_asks_for(&stage, "audit-main-2", "3Gi").await;
    event(&stage, "VolumesGrown", &["audit-main-2 from 1Gi to 3Gi"]).await;
    operator.until_passes(2).await.unwrap();
    assert_eq!(lives(&stage).await, before, "no member was restarted");
    assert_eq!(set(&stage).await, there, "the StatefulSet is the same");
    operator.stop().await;
    class.end().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_class_that_forbids_it_is_told_and_not_asked_in_every_pass_and_all_else_goes_on() {
    let stage = Stage::new().await.unwrap();
    let class = Class::make(&stage, false).await;
    let fields = json!({"storage": class.raft("1Gi")});
    stage.create_cluster_with(1, fields).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    change(&stage, json!({"storage": {"raft": {"size": "2Gi"}}})).await;
    until_told(&stage, "VolumeAwaited", &["data-main-0", "no volume yet"]).await;
    let begun = Instant::now();
    class.bind(&["data-main-0"], "1Gi").await;
    until_told(
        &stage,
        "ExpansionForbidden",
        &["data-main-0", "allowVolumeExpansion: true", "go on"],
    )
    .await;

    // A member is unsealed, and the configuration applied, all the same.
    stage.kill_and_wait("main-0").await.unwrap();
    let engines = json!([
        {"path": "secret", "type": "kv", "options": {"version": "2"}},
        {"path": "more", "type": "kv", "options": {"version": "2"}},
    ]);
    change(&stage, json!({"configuration": {"secretsEngines": engines}})).await;
    let generation = stage.clusters().get("main").await.unwrap().metadata.generation;
    let configured = |c: &_| {
        condition(c, "Configured").is_some_and(|c| c.status == "True" && c.observed_generation == generation)
    };
    let cluster = stage.until("the engine", configured).await.unwrap();
    assert_eq!(
        reason(&cluster, GROWING),
        "ExpansionForbidden",
        "it is told still"
    );
    operator.until_passes(5).await.unwrap();
    let (asked, minutes) = (patches(&points).len(), begun.elapsed().as_secs() / 60);
    assert!(
        (1..=minutes + 2).contains(&u64::try_from(asked).unwrap()),
        "once a minute, not in every pass: {asked} times in {minutes} minutes"
    );

    class.allow().await;
    until_it_asks_for(&stage, "data-main-0", "2Gi").await;
    class.grow("data-main-0", "2Gi").await;
    until_grown(&stage).await;
    operator.stop().await;
    class.end().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_member_that_comes_later_has_a_volume_of_the_present_size() {
    let stage = Stage::new().await.unwrap();
    let class = Class::make(&stage, true).await;
    let fields = json!({"storage": class.raft("1Gi")});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    class.bind(&["data-main-0"], "1Gi").await;
    change(&stage, json!({"storage": {"raft": {"size": "2Gi"}}})).await;
    until_it_asks_for(&stage, "data-main-0", "2Gi").await;
    class.grow("data-main-0", "2Gi").await;
    let first = lives(&stage).await["main-0"].clone();

    change(&stage, json!({"replicas": 3})).await;
    wait::until_async("the claims of the new members", DEADLINE, async || {
        get(&stage, "data-main-1").await.context("data-main-1")?;
        get(&stage, "data-main-2").await.context("data-main-2").map(drop)
    })
    .await
    .unwrap();
    class.bind(&["data-main-1", "data-main-2"], "1Gi").await;
    for claim in ["data-main-1", "data-main-2"] {
        until_it_asks_for(&stage, claim, "2Gi").await;
        class.grow(claim, "2Gi").await;
    }
    until_grown(&stage).await;
    assert_eq!(set(&stage).await.1.as_deref(), Some("1Gi"), "as at its creation");
    assert_eq!(
        lives(&stage).await["main-0"],
        first,
        "the first was not restarted"
    );

    // A StatefulSet that somebody deletes comes again with the present size.
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    sets.delete("main", &DeleteParams::default()).await.unwrap();
    wait::until_async("the new StatefulSet", DEADLINE, async || {
        let size = sets.get_opt("main").await?.as_ref().and_then(template);
        ensure!(size.as_deref() == Some("2Gi"), "its template says {size:?}");
        Ok(())
    })
    .await
    .unwrap();
    stage.until_available().await.unwrap();
    operator.stop().await;
    class.end().await;
    stage.end().await.unwrap();
}
