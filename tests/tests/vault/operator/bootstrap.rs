//! A cluster comes up, and what its status and its Secrets say then.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use vaultkeeper_tests::points::{Point, Points};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::ExposeSecret as _;
use vaultkeeper_vault::sys::raft::AutopilotConfiguration;

use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, reason};

#[tokio::test]
async fn an_operator_asked_to_stop_during_the_initialisation_stores_the_keys_first() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let points = Points::waiting_at(Point {
        call: "Vault PUT sys/init".to_owned(),
        occurrence: 1,
    });
    let operator = stage.start_operator(&points);
    tokio::time::timeout(DEADLINE, points.reached())
        .await
        .expect("the operator should initialise the first member");
    assert!(
        stage.shares().await.is_err(),
        "the answer with the shares has not come yet"
    );
    operator.ask_to_stop();
    points.release();
    operator.stop().await;
    assert_eq!(
        stage.shares().await.unwrap().len(),
        3,
        "the shares are stored before the operator ends"
    );

    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn three_members_become_voters_of_one_raft_cluster() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("three voters and a failure tolerance of 1", |c| {
            c.status
                .as_ref()
                .is_some_and(|s| s.voters == Some(3) && s.failure_tolerance == Some(1))
                && reason(c, "Available") == "AllMembersServe"
        })
        .await
        .unwrap();
    let status = cluster.status.clone().unwrap();
    assert_eq!(status.members_ready.as_deref(), Some("3/3"));
    assert_eq!(
        status.leader.as_deref(),
        Some("main-0"),
        "the first member was initialised and leads"
    );
    assert_keys_and_no_root(&stage).await.unwrap();
    no_secret_of_the_cluster_holds_a_share(&stage).await;
    requests_are_audited_on_standard_output(&stage).await;
    events_tell_what_was_done(&stage).await;
    operator.stop().await;
    autopilot_is_set_and_put_right(&stage).await;
    stage.end().await.unwrap();
}

/// Members that are gone for good are taken out, but never one of those that the cluster is to have.
async fn autopilot_is_set_and_put_right(stage: &Stage) {
    let root = stage.root(0).await.unwrap();
    let set = root.autopilot_configuration().await.unwrap();
    assert!(set.cleanup_dead_servers, "{set:?}");
    assert_eq!(set.min_quorum, 3, "with three members nobody is ever taken out");
    assert_eq!(set.dead_server_last_contact_threshold.as_secs(), 24 * 3600);

    let by_hand = AutopilotConfiguration {
        cleanup_dead_servers: false,
        max_trailing_logs: 2000,
        ..set.clone()
    };
    root.set_autopilot_configuration(&by_hand).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    wait::until_async("autopilot to be put right", DEADLINE, async || {
        let now = root.autopilot_configuration().await?;
        ensure!(now.cleanup_dead_servers, "it is as it was left");
        ensure!(
            now.max_trailing_logs == 2000,
            "what is not the operator's was changed"
        );
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    root.revoke_self().await.unwrap();
}

async fn requests_are_audited_on_standard_output(stage: &Stage) {
    let root = stage.root(0).await.unwrap();
    let devices = root.audit_devices().await.unwrap();
    let to_stdout = devices
        .values()
        .filter(|d| d.kind == "file" && d.options.get("file_path").is_some_and(|p| p == "stdout"));
    assert_eq!(
        to_stdout.count(),
        1,
        "one audit device writes to standard output: {devices:?}"
    );
    // The request that asks for them, in the log of the member that answers. Others follow it: a later look may come too
    // late for the end of the log.
    wait::until_async("the request in the audit log", DEADLINE, async || {
        root.audit_devices().await?;
        let log = stage.kubelet.log_tail("main-0", 200).await?;
        let is_it = |line: &str| {
            line.starts_with('{')
                && line.contains(r#""type":"request""#)
                && line.contains(r#""path":"sys/audit""#)
        };
        ensure!(log.lines().any(is_it), "not in:\n{log}");
        Ok(())
    })
    .await
    .unwrap();
    let second = devices.get("stderr/").and_then(|d| d.options.get("file_path"));
    assert_eq!(
        second.map(String::as_str),
        Some("/dev/stderr"),
        "a new cluster of profile Hardened has a second device: {devices:?}"
    );
    root.revoke_self().await.unwrap();
}

async fn events_tell_what_was_done(stage: &Stage) {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let shares: Vec<_> = stage.shares().await.unwrap();
    // Events are written beside the work.
    wait::until_async("the events of the bootstrap", DEADLINE, async || {
        let events = events.list(&kube::api::ListParams::default()).await?;
        for wanted in ["Initialized", "RootTokenRevoked"] {
            let event = events.iter().find(|e| e.reason.as_deref() == Some(wanted));
            let about = event
                .and_then(|e| e.regarding.clone())
                .with_context(|| format!("no event {wanted}"))?;
            ensure!(
                about.kind.as_deref() == Some("VaultCluster") && about.name.as_deref() == Some("main"),
                "{wanted} is about {about:?}"
            );
        }
        for share in &shares {
            let leaks = |e: &Event| e.note.as_ref().is_some_and(|n| n.contains(share.expose_secret()));
            assert!(!events.iter().any(leaks), "no event may hold a share");
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Keys live in the operator's namespace, not beside the applications.
async fn no_secret_of_the_cluster_holds_a_share(stage: &Stage) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for secret in secrets.list(&kube::api::ListParams::default()).await.unwrap() {
        for key in secret.data.unwrap_or_default().keys() {
            assert!(
                !key.starts_with("share-") && key != "root-token",
                "{key} lies in the cluster's own namespace"
            );
        }
    }
}
