//! A changed pod template reaches real members one by one, and never takes quorum.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::annotations::{RELEASE_SEAL, RESTART};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;

use super::rollout_watch::{Watch, Writer};
use super::stage::{DEADLINE, Operator, Stage, change, condition, reason};

const ROLLED_OUT: &str = "RolledOut";

/// Another annotation on the pods is the smallest change of a template.
async fn change_template(stage: &Stage, value: &str) {
    change(
        stage,
        json!({"pod": {"annotations": {"example.com/template": value}}}),
    )
    .await;
}

fn is_rolled_out(cluster: &VaultCluster) -> bool {
    condition(cluster, ROLLED_OUT)
        .is_some_and(|c| c.status == "True" && c.observed_generation == cluster.metadata.generation)
}

/// Three members, each with a vote, and the number of the one that leads.
async fn three(stage: &Stage, points: &std::sync::Arc<Points>) -> (Operator, u32) {
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(points);
    let cluster = stage
        .until("three voters that run the first template", |c| {
            let status = c.status.as_ref();
            status.and_then(|s| s.failure_tolerance) == Some(1) && is_rolled_out(c)
        })
        .await
        .unwrap();
    let leader = cluster.status.and_then(|s| s.leader).unwrap();
    (operator, leader.trim_start_matches("main-").parse().unwrap())
}

/// Standbys with the highest number first.
fn standbys(leader: u32) -> [u32; 2] {
    match leader {
        0 => [2, 1],
        1 => [2, 0],
        _ => [1, 0],
    }
}

/// What the operator did to members, in order.
fn acts(points: &Points) -> Vec<String> {
    let seen = points.seen().into_iter().map(|point| point.call);
    seen.filter_map(|call| match call.strip_prefix("Kubernetes DELETE pods/") {
        Some(pod) => Some(format!("restart {pod}")),
        None => call.ends_with("sys/step-down").then(|| "step down".to_owned()),
    })
    .collect()
}

fn expected(leader: u32) -> Vec<String> {
    let [first, second] = standbys(leader).map(|n| format!("restart main-{n}"));
    vec![
        first,
        second,
        "step down".to_owned(),
        format!("restart main-{leader}"),
    ]
}

async fn pods(stage: &Stage) -> BTreeMap<String, Pod> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let found = pods.list(&ListParams::default()).await.unwrap();
    found.into_iter().map(|pod| (pod.name_any(), pod)).collect()
}

async fn event_notes(stage: &Stage, reason: &str) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let found = events.list(&ListParams::default()).await.unwrap();
    found
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some(reason))
        .filter_map(|event| event.note)
        .collect()
}

#[tokio::test]
async fn a_changed_template_reaches_three_members_one_by_one_and_no_write_is_lost() {
    let stage = Stage::new().await.unwrap();
    let points = Points::record();
    let (operator, leader) = three(&stage, &points).await;
    let before = pods(&stage).await;
    let member = stage.member(leader).await.unwrap();
    let since = member.on_this_node().leader().await.unwrap().active_time;
    assert!(
        since.parse::<Timestamp>().is_ok(),
        "the time since when it leads is read: {since}"
    );
    let root = stage.root_token(leader).await.unwrap();
    let watch = Watch::start(&stage).await.unwrap();
    let writer = Writer::start(&stage, &root).await.unwrap();

    change_template(&stage, "second").await;
    let cluster = stage.until("the roll-out to end", is_rolled_out).await.unwrap();
    let written = writer.end().await;
    let seen = watch.end().await;

    assert_eq!(acts(&points), expected(leader), "one by one, the leader last");
    let after = pods(&stage).await;
    for (name, pod) in &after {
        assert_ne!(pod.uid(), before[name].uid(), "{name} is a new pod");
        assert_eq!(pod.annotations()["example.com/template"], "second", "{name}");
    }
    let rows = cluster.status.unwrap().members;
    assert!(rows.iter().all(|m| m.up_to_date == Some(true)), "{rows:?}");

    assert!(seen.looks > 50, "it was looked at {} times only", seen.looks);
    assert!(seen.fewest_serve >= 2, "two members always serve: {seen:?}");
    assert!(
        seen.times_without_leader <= 1,
        "only the step-down leaves the cluster without a leader: {seen:?}"
    );
    assert!(
        written.len() > 20,
        "only {} writes were acknowledged",
        written.len()
    );
    let member = stage.root(0).await.unwrap();
    for number in written {
        let found = member.read(&format!("secret/data/written/{number}")).await;
        let found: Value = match found {
            Ok(found) => found.data.decode().unwrap(),
            Err(error) => panic!("write {number} was acknowledged and is gone: {error}"),
        };
        assert_eq!(found["data"]["number"], number);
    }
    assert_eq!(
        event_notes(&stage, "MemberRestarted").await.len(),
        3,
        "an event for each"
    );
    assert_eq!(event_notes(&stage, "SteppedDown").await.len(), 1);
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Starts an operator that dies after this call, and waits for that.
async fn die_after(stage: &Stage, call: String) -> std::sync::Arc<Points> {
    let points = Points::dying_at(
        Point {
            call: call.clone(),
            occurrence: 1,
        },
        Side::After,
    );
    let operator = stage.start_operator(&points);
    let died = tokio::time::timeout(DEADLINE, points.reached()).await;
    operator.kill().await;
    assert!(
        died.is_ok(),
        "{call} should be made; what was done is {:?}",
        acts(&points)
    );
    points
}

#[tokio::test]
async fn a_killed_operator_is_followed_by_one_that_goes_on_where_it_was() {
    let stage = Stage::new().await.unwrap();
    let (operator, leader) = three(&stage, &Points::record()).await;
    operator.stop().await;
    change_template(&stage, "second").await;

    let [first, _] = standbys(leader);
    let died = die_after(&stage, format!("Kubernetes DELETE pods/main-{first}")).await;
    let mut done = acts(&died);
    let died = die_after(&stage, "Vault PUT sys/step-down".to_owned()).await;
    done.extend(acts(&died));
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until("the roll-out to end", is_rolled_out).await.unwrap();
    done.extend(acts(&points));
    assert_eq!(
        done,
        expected(leader),
        "nothing is done twice, and nothing is left out"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

/// As where the restarted members cannot become active: the leader gives up its leadership and has it again.
#[tokio::test]
async fn a_leader_that_nobody_relieves_is_not_asked_for_ever() {
    let stage = Stage::new().await.unwrap();
    let points = Points::pretending("Vault PUT sys/step-down");
    let (operator, leader) = three(&stage, &points).await;
    let before = pods(&stage).await;
    change_template(&stage, "second").await;
    let cluster = stage
        .until("the roll-out to be stuck", |c| reason(c, ROLLED_OUT) == "Stuck")
        .await
        .unwrap();
    let message = condition(&cluster, ROLLED_OUT).unwrap().message;
    assert!(
        message.starts_with("2 of 3 members")
            && message.contains(&format!("main-{leader} has given up its leadership 2 times")),
        "{message}"
    );
    operator.until_passes(5).await.unwrap();
    let [first, second] = standbys(leader).map(|n| format!("restart main-{n}"));
    let twice = ["step down", "step down"].map(str::to_owned);
    assert_eq!(
        acts(&points),
        [first, second].into_iter().chain(twice).collect::<Vec<_>>(),
        "each time costs seconds without an active member"
    );
    let name = format!("main-{leader}");
    assert_eq!(
        pods(&stage).await[&name].uid(),
        before[&name].uid(),
        "it serves on"
    );
    let notes = event_notes(&stage, "RolloutStuck").await;
    assert!(notes.iter().any(|note| note.contains(&name)), "{notes:?}");
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn nothing_is_restarted_while_a_member_is_sealed_on_purpose_or_was_removed() {
    let stage = Stage::new().await.unwrap();
    let points = Points::record();
    let (operator, leader) = three(&stage, &points).await;
    stage.root(leader).await.unwrap().seal().await.unwrap();
    stage
        .until("the seal to be latched", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .await
        .unwrap();
    change_template(&stage, "second").await;
    let cluster = stage
        .until("the roll-out to be held", |c| reason(c, ROLLED_OUT) == "Held")
        .await
        .unwrap();
    let message = condition(&cluster, ROLLED_OUT).unwrap().message;
    assert!(
        message.contains(&format!("main-{leader} sealed on purpose"))
            && message.starts_with("0 of 3 members"),
        "{message}"
    );
    operator.until_passes(3).await.unwrap();
    assert_eq!(acts(&points), Vec::<String>::new(), "a seal holds everything");

    // The change is taken back, and a member is removed instead.
    change(&stage, json!({"pod": {"annotations": null}})).await;
    stage.annotate(RELEASE_SEAL, "the drill is over").await.unwrap();
    let cluster = stage
        .until("three voters and the first template again", |c| {
            let status = c.status.as_ref();
            status.and_then(|s| s.failure_tolerance) == Some(1)
                && is_rolled_out(c)
                && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
    let leader: u32 = cluster
        .status
        .and_then(|s| s.leader)
        .unwrap()
        .trim_start_matches("main-")
        .parse()
        .unwrap();
    let [removed, _] = standbys(leader);
    let root = stage.root(leader).await.unwrap();
    root.remove_peer(&format!("main-{removed}")).await.unwrap();
    change_template(&stage, "third").await;
    stage
        .until("the roll-out to wait for the removed member", |c| {
            condition(c, ROLLED_OUT)
                .is_some_and(|c| c.message.contains(&format!("main-{removed} is Removed")))
        })
        .await
        .unwrap();
    operator.until_passes(3).await.unwrap();
    assert_eq!(
        acts(&points),
        Vec::<String>::new(),
        "two voters are left, and both are needed"
    );
    follow_the_words_about(&stage, removed).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

/// What the row of a removed member says to do is done, and it votes again.
async fn follow_the_words_about(stage: &Stage, removed: u32) {
    let name = format!("main-{removed}");
    let cluster = stage.clusters().get("main").await.unwrap();
    let available = condition(&cluster, "Available").unwrap();
    let rows = cluster.status.unwrap().members;
    let row = rows.into_iter().find(|row| row.name == name).unwrap();
    let words = row.message.unwrap_or_default();
    let (claim, pod) = (format!("data-{name}"), name.clone());
    assert!(
        words.contains(&format!("kubectl delete pvc/{claim} pod/{pod}")),
        "the row says what to do: {words:?}"
    );
    assert!(
        available.message.contains(&words),
        "so does the condition: {available:?}"
    );
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let now = DeleteParams::default();
    claims.delete(&claim, &now).await.unwrap();
    pods.delete(&pod, &now).await.unwrap();
    stage
        .until("three voters and the present template", |c| {
            let status = c.status.as_ref();
            status.and_then(|s| s.failure_tolerance) == Some(1)
                && status.and_then(|s| s.voters) == Some(3)
                && is_rolled_out(c)
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_template_that_cannot_start_stops_at_one_member_and_a_corrected_one_heals_it() {
    let stage = Stage::new().await.unwrap();
    let points = Points::record();
    let (operator, leader) = three(&stage, &points).await;
    let [first, second] = standbys(leader);
    change(&stage, json!({"serverConfig": {"max_lease_ttl": "many"}})).await;
    let cluster = stage
        .until("the roll-out to be stuck", |c| reason(c, ROLLED_OUT) == "Stuck")
        .await
        .unwrap();
    let message = condition(&cluster, ROLLED_OUT).unwrap().message;
    assert!(
        message.contains(&format!("main-{first}")) && message.contains("exits with code 1"),
        "the member and why: {message}"
    );
    operator.until_passes(5).await.unwrap();
    assert_eq!(
        acts(&points),
        [format!("restart main-{first}")],
        "nobody else is touched"
    );
    for ordinal in [second, leader] {
        let status = stage.member(ordinal).await.unwrap().seal_status().await.unwrap();
        assert!(!status.sealed, "main-{ordinal} serves on");
    }
    let notes = event_notes(&stage, "RolloutStuck").await;
    assert!(
        notes.iter().any(|note| note.contains(&format!("main-{first}"))),
        "{notes:?}"
    );

    change(&stage, json!({"serverConfig": {"max_lease_ttl": "87600h"}})).await;
    wait::until_async("the next member's turn", DEADLINE, async || {
        let again = [first, first, second].map(|n| format!("restart main-{n}"));
        ensure!(acts(&points) == again, "{:?}", acts(&points));
        Ok(())
    })
    .await
    .unwrap();
    let healed = stage.member(first).await.unwrap().seal_status().await.unwrap();
    assert!(!healed.sealed, "the broken member serves before another one goes");
    operator.stop().await;
    stage.end().await.unwrap();
}

fn sets(stage: &Stage) -> Api<StatefulSet> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// Changes the pod template past the VaultCluster.
async fn edit(stage: &Stage, template: Value) -> StatefulSet {
    let body = json!({"spec": {"template": template}});
    let patched = sets(stage)
        .patch("main", &PatchParams::default(), &Patch::Strategic(&body))
        .await;
    patched.unwrap()
}

/// Waits until the only member is another pod with this annotation, and serves.
async fn until_restarted(stage: &Stage, before: Option<String>, annotation: &str) {
    wait::until_async("the member to be restarted", DEADLINE, async || {
        let pods = pods(stage).await;
        let pod = pods.get("main-0").context("there is no pod")?;
        ensure!(pod.uid() != before, "it is the same pod");
        ensure!(
            pod.annotations().get(annotation).map(String::as_str) == Some("1"),
            "it lacks {annotation}"
        );
        let status = stage.member(0).await?.seal_status().await?;
        ensure!(!status.sealed, "it is sealed");
        Ok(())
    })
    .await
    .unwrap();
    stage.until("the roll-out to end", is_rolled_out).await.unwrap();
    stage.until_available().await.unwrap();
}

#[tokio::test]
async fn pods_that_never_started_are_replaced_and_a_single_member_restarts_when_asked_to() {
    let stage = Stage::new().await.unwrap();
    let fields = json!({"serverConfig": {"max_lease_ttl": "many"}});
    stage.create_cluster_with(1, fields).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage
        .until("the first template to be found wanting", |c| {
            reason(c, ROLLED_OUT) == "Stuck"
        })
        .await
        .unwrap();
    change(&stage, json!({"serverConfig": {"max_lease_ttl": "87600h"}})).await;
    stage.until_available().await.unwrap();
    stage
        .until("the template to be rolled out", is_rolled_out)
        .await
        .unwrap();
    assert_eq!(acts(&points), ["restart main-0"]);

    let before = pods(&stage).await["main-0"].uid();
    stage.annotate(RESTART, "1").await.unwrap();
    until_restarted(&stage, before, RESTART).await;

    let before = pods(&stage).await["main-0"].uid();
    let set = edit(
        &stage,
        json!({"spec": {"containers": [{"name": "vault", "image": "by-hand"}]}}),
    )
    .await;
    wait::until_async("an edit by hand to be undone", DEADLINE, async || {
        let now = sets(&stage).get("main").await?;
        ensure!(
            now.metadata.generation > set.metadata.generation,
            "it is as it was left"
        );
        let pod = now.spec.and_then(|s| s.template.spec).context("no template")?;
        ensure!(
            pod.containers[0].image.as_deref() != Some("by-hand"),
            "it is there"
        );
        Ok(())
    })
    .await
    .unwrap();
    operator.until_passes(3).await.unwrap();
    assert_eq!(
        pods(&stage).await["main-0"].uid(),
        before,
        "nobody ran what was edited by hand"
    );
    // As `kubectl rollout restart` does it.
    let restarted = "kubectl.kubernetes.io/restartedAt";
    edit(&stage, json!({"metadata": {"annotations": {restarted: "1"}}})).await;
    until_restarted(&stage, before, restarted).await;

    let before = pods(&stage).await["main-0"].uid();
    change(&stage, json!({"version": "1.20.4"})).await;
    let cluster = stage
        .until("the older version to be refused", |c| {
            reason(c, "Configured") == "DowngradeRefused"
        })
        .await
        .unwrap();
    let rolled_out = condition(&cluster, ROLLED_OUT).unwrap();
    assert_eq!(
        (rolled_out.status.as_str(), rolled_out.reason.as_str()),
        ("False", "DowngradeRefused")
    );
    let message = condition(&cluster, "Configured").unwrap().message;
    assert!(
        message.contains("spec.version 1.20.4 is older than 1.21.1, which main-0 runs"),
        "{message}"
    );
    let pod = &pods(&stage).await["main-0"];
    assert_eq!(pod.uid(), before, "it was not restarted");
    assert_eq!(acts(&points), ["restart main-0"; 3]);
    operator.stop().await;
    stage.end().await.unwrap();
}
