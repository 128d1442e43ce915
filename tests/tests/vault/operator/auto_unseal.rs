//! A cluster that a second Vault unseals by its transit engine.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::EvictParams;
use serde_json::json;
use vaultkeeper_crds::annotations;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::configuration::event;
use super::crash::lose_the_answer_of_init;
use super::kms::Kms;
use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, condition, reason};

/// The Secrets that the seal names, and the cluster.
async fn create(stage: &Stage, kms: &Kms, replicas: i32) -> String {
    let token = kms.give_secrets(stage).await;
    stage
        .create_cluster_with(replicas, json!({"seal": kms.seal()}))
        .await
        .unwrap();
    token
}

async fn container(stage: &Stage, pod: &str) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let statuses = pods.get(pod).await.ok()?.status?.container_statuses?;
    statuses.first()?.container_id.clone()
}

/// Kills a member and waits for its next process.
async fn restart(stage: &Stage, pod: &str) {
    let before = container(stage, pod).await;
    stage.kubelet.kill(pod).await.unwrap();
    wait::until_async("another process of the member", DEADLINE, async || {
        let now = container(stage, pod).await;
        anyhow::ensure!(now.is_some() && now != before, "the container is {now:?}");
        Ok(())
    })
    .await
    .unwrap();
}

fn sent_keys(points: &Points) -> usize {
    let seen = points.seen();
    seen.iter().filter(|p| p.call.contains("sys/unseal")).count()
}

#[tokio::test]
async fn a_cluster_that_another_vault_unseals_needs_no_key_of_ours_but_keeps_recovery_keys() {
    let (stage, kms) = (Stage::new().await.unwrap(), Kms::start().await);
    let token = create(&stage, &kms, 1).await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    let stored = stage.keys().await.unwrap().unwrap().data.unwrap();
    let named = |prefix: &str| stored.keys().filter(|k| k.starts_with(prefix)).count();
    assert_eq!(
        (named("recovery-key-"), named("share-")),
        (3, 0),
        "three recovery keys and no unseal share are stored"
    );
    the_token_is_in_its_secret_only(&stage, &token).await;

    restart(&stage, "main-0").await;
    let member = stage.member(0).await.unwrap();
    wait::until_async("the member to unseal itself", DEADLINE, async || {
        anyhow::ensure!(!member.seal_status().await?.sealed, "it is sealed");
        Ok(())
    })
    .await
    .unwrap();
    operator.until_passes(2).await.unwrap();
    stage.until_available().await.unwrap();
    assert_eq!(
        sent_keys(&points),
        0,
        "the operator sends no key to such a member"
    );

    a_seal_on_purpose_is_latched_and_ends_with_a_release_or_a_restart(&stage, &operator, &points).await;

    kms.call("POST", "auth/token/revoke", json!({"token": token}))
        .await;
    restart(&stage, "main-0").await;
    let cluster = stage
        .until("the refused token to be named as the reason", |c| {
            reason(c, "Available") == "SealRefused"
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Available").unwrap().message;
    assert!(
        said.contains("refuses the credential of this cluster") && !said.contains(&token),
        "the status says so without the token: {said}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

async fn the_token_is_in_its_secret_only(stage: &Stage, token: &str) {
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let config = configs.get("main-config").await.unwrap().data.unwrap();
    assert!(
        config["vault.hcl"].contains("seal \"transit\""),
        "the seal is in the configuration: {config:?}"
    );
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let pod = serde_json::to_string(&pods.get("main-0").await.unwrap()).unwrap();
    for text in [config["vault.hcl"].as_str(), pod.as_str()] {
        assert!(!text.contains(token), "the token is in {text}");
    }
}

/// Asks for an eviction, as `kubectl drain` does, without making it so.
async fn evict(stage: &Stage, pod: &str) -> Result<(), kube::Error> {
    let client = stage.client_that_asks_once().await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &stage.namespace);
    let mut asked = EvictParams::default();
    asked.post_options.dry_run = true;
    pods.evict(pod, &asked).await.map(drop)
}

async fn a_seal_on_purpose_is_latched_and_ends_with_a_release_or_a_restart(
    stage: &Stage,
    operator: &super::stage::Operator,
    points: &Points,
) {
    let latched = |c: &vaultkeeper_crds::VaultCluster| reason(c, "SealLatched") == "SealedOnPurpose";
    let root = stage.root(0).await.unwrap();
    root.seal().await.unwrap();
    let cluster = stage.until("the seal to be latched", latched).await.unwrap();
    let said = condition(&cluster, "SealLatched").unwrap().message;
    assert!(
        said.contains("A restart of the process ends this: the transit seal at https://"),
        "the status says what a restart does: {said}"
    );
    operator.until_passes(3).await.unwrap();
    assert_eq!(sent_keys(points), 0, "a latched member gets no key");
    for words in ["kubectl drain", "kubectl delete pod"] {
        assert!(said.contains(words), "what a drain does is said: {said}");
    }
    wait::until_async("an eviction to be refused", DEADLINE, async || {
        match evict(stage, "main-0").await {
            Err(kube::Error::Api(no)) if no.code == 429 && no.message.contains("disruption budget") => {
                // Of the budget itself: right after a change it is "still being processed".
                anyhow::ensure!(no.message.contains("would violate"), "{}", no.message);
                Ok(())
            }
            other => anyhow::bail!("its new pod would undo the seal, but the answer is {other:?}"),
        }
    })
    .await
    .unwrap();

    stage
        .annotate(annotations::RELEASE_SEAL, "the drill is over")
        .await
        .unwrap();
    stage
        .until("the member to serve again, and the latch to be gone", |c| {
            reason(c, "Available") == "AllMembersServe" && reason(c, "SealLatched").is_empty()
        })
        .await
        .unwrap();
    assert!(sent_keys(points) >= 2, "the recovery keys have opened it again");
    wait::until_async("an eviction to be allowed again", DEADLINE, async || {
        Ok(evict(stage, "main-0").await?)
    })
    .await
    .unwrap();

    root.seal().await.unwrap();
    stage
        .until("the second seal to be latched", latched)
        .await
        .unwrap();
    restart(stage, "main-0").await;
    stage
        .until("the member to unseal itself, and the latch to follow", |c| {
            reason(c, "SealLatched").is_empty() && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
    let events: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("an event of the seal that was undone", DEADLINE, async || {
        let events = events.list(&kube::api::ListParams::default()).await?;
        let told = events.iter().any(|e| {
            e.reason.as_deref() == Some("SealReleased")
                && e.note
                    .as_ref()
                    .is_some_and(|n| n.contains("a restarted process is unsealed by the transit seal"))
        });
        anyhow::ensure!(told, "there is none");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_transit_seal_that_is_away_is_named_in_the_status_and_comes_back_by_itself() {
    let (stage, mut kms) = (Stage::new().await.unwrap(), Kms::start().await);
    create(&stage, &kms, 3).await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    // Those that join unseal themselves, too.
    let cluster = stage.until_available().await.unwrap();
    let leader = cluster.status.unwrap().leader.unwrap();
    assert_eq!(sent_keys(&points), 0, "no member needs a key");

    kms.server.stop().unwrap();
    let standby = if leader == "main-2" { "main-1" } else { "main-2" };
    stage.kubelet.kill(standby).await.unwrap();
    let away = format!("the transit seal at {} cannot be reached", kms.server.url());
    let cluster = stage
        .until("the seal to be named as the reason", |c| {
            condition(c, "Available").is_some_and(|a| a.reason == "Degraded" && a.message.contains(&away))
        })
        .await
        .unwrap();
    let rows = cluster.status.unwrap().members;
    let row = rows.iter().find(|m| m.name == standby).unwrap();
    assert!(
        row.message.as_ref().is_some_and(|m| m.contains(&away)),
        "its row says so: {row:?}"
    );
    for member in ["main-0", "main-1", "main-2"]
        .into_iter()
        .filter(|m| *m != standby)
    {
        stage.kubelet.kill(member).await.unwrap();
    }
    stage
        .until("nobody to serve, with the reason", |c| {
            condition(c, "Available")
                .is_some_and(|a| a.reason == "SealUnreachable" && a.message.contains(&away))
        })
        .await
        .unwrap();

    // One of them does not come back at first: two are a majority.
    stage.kubelet.keep_down(standby).await.unwrap();
    kms.server.start_again().await.unwrap();
    kms.unseal().await;
    let cluster = stage
        .until("two members to serve", |c| {
            condition(c, "Available").is_some_and(|a| a.status == "True" && a.reason == "Degraded")
        })
        .await
        .unwrap();
    let status = cluster.status.unwrap();
    assert!(
        status.leader.as_ref().is_some_and(|leader| leader != standby),
        "one of the two leads: {status:?}"
    );
    assert!(status.members.iter().any(|row| row.name == standby), "{status:?}");
    stage.kubelet.let_up(standby).await;
    let cluster = stage.until_available().await.unwrap();
    let rows = cluster.status.unwrap().members;
    assert!(
        rows.iter().all(|m| m.message.is_none()),
        "nothing is wrong any more: {rows:?}"
    );
    assert_eq!(sent_keys(&points), 0, "they have unsealed themselves");
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn recovery_keys_whose_answer_was_lost_are_followed_by_another_attempt() {
    let (stage, kms) = (Stage::new().await.unwrap(), Kms::start().await);
    create(&stage, &kms, 1).await;
    // The member is active by then, and nobody holds its recovery keys.
    lose_the_answer_of_init(&stage).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    event(
        &stage,
        "InitializationRepeated",
        &["the answer of sys/init was lost"],
    )
    .await;
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
