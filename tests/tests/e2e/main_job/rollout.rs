//! A roll-out on a real node: pods end with their grace and start again on their volumes, by the operator's own rights.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use vaultkeeper_crds::names;
use vaultkeeper_tests::wait;

use super::active_client::ActiveClient;
use super::full_node::FullNode;
use super::installation::{DEADLINE, Installation, MAIN, SHOP, VAULT, installation, message, reason, step};

const FILE: &str = "/vault/secrets/config";

/// UIDs of the members' pods.
fn uids(installed: &Installation) -> anyhow::Result<BTreeSet<String>> {
    (0..3)
        .map(|n| {
            let pod = installed.get(VAULT, &format!("pod/{}", names::member(MAIN, n)))?;
            let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
            Ok(uid.to_owned())
        })
        .collect()
}

/// The members share the testbed's one node. Beside an empty one that can take none this breaks the spread of a
/// hardened cluster, as it does when the spread is made stricter after the members were placed.
#[test]
fn a_restart_by_kubectl_waits_for_a_member_that_finds_no_node_and_then_takes_all_one_by_one_while_apps_go_on()
{
    let Some(installed) = installation() else { return };
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    let before = uids(&installed).unwrap();
    let client = ActiveClient::start(&installed, "roll-out");
    client.until_more(10).unwrap();
    let full = FullNode::join(installed.cluster).unwrap();
    step("restarting all members with kubectl rollout restart");
    installed
        .kubectl(&["rollout", "restart", "-n", VAULT, "statefulset/main"])
        .unwrap();
    let stuck = wait::until("the roll-out to say that it is stuck", DEADLINE, || {
        full.beat()?;
        let cluster = installed.until("a status", |_| true)?;
        ensure!(reason(&cluster, "RolledOut") == "Stuck", "{:?}", cluster.status);
        // The others serve.
        ensure!(
            reason(&cluster, "Available") == "Degraded",
            "{:?}",
            cluster.status
        );
        Ok(cluster)
    })
    .unwrap();
    let words = message(&stuck, "RolledOut");
    for part in [
        "1 of 3 members run the present pod template",
        "spec.pod.spread.hosts",
        "kubectl cordon",
        "left alone",
    ] {
        assert!(words.contains(part), "`{part}` should be in: {words}");
    }
    assert_eq!(
        uids(&installed).unwrap().intersection(&before).count(),
        2,
        "no other member is taken while one waits for a node"
    );
    client.until_more(10).unwrap();

    step("cordoning the node that takes none, as the message says");
    installed.kubectl(&["cordon", FullNode::NAME]).unwrap();
    let fewest = AtomicUsize::new(3);
    let cluster = installed
        .until("the roll-out to end", |c| {
            let rows = c
                .status
                .as_ref()
                .map(|s| s.members.as_slice())
                .unwrap_or_default();
            let serving = rows
                .iter()
                .filter(|m| m.state == "Active" || m.state == "Standby");
            fewest.fetch_min(serving.count(), Ordering::Relaxed);
            reason(c, "RolledOut") == "UpToDate"
        })
        .unwrap();
    drop(full);
    let fewest = fewest.into_inner();
    assert!(fewest >= 2, "two members always serve, there were {fewest}");
    let rows = cluster.status.unwrap_or_default().members;
    assert!(rows.iter().all(|m| m.up_to_date == Some(true)), "{rows:?}");
    let now = uids(&installed).unwrap();
    assert!(now.is_disjoint(&before), "every pod is a new one");
    let events = installed
        .kubectl(&["get", "events", "-n", VAULT, "-o", "jsonpath={.items[*].reason}"])
        .unwrap();
    // That the leader steps down is not among them: on a busy machine it may lose its leadership before.
    for reason in ["RolloutStuck", "MemberRestarted"] {
        assert!(events.contains(reason), "{reason} is missing: {events}");
    }
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    client.until_more(10).unwrap();
    let written = client.end().unwrap();
    step(&written.to_string());
    assert_apps_went_on(&installed);
}

fn assert_apps_went_on(installed: &Installation) {
    installed.write("rolled").unwrap();
    installed
        .until_file("deployment/app", FILE, "greeting=rolled")
        .unwrap();
    let restarts = installed
        .kubectl(&[
            "get",
            "pods",
            "-n",
            SHOP,
            "-l",
            "app=app",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount} {.items[*].status.initContainerStatuses[*].restartCount}",
        ])
        .unwrap();
    assert!(
        !restarts.trim().is_empty() && restarts.split_whitespace().all(|count| count == "0"),
        "neither the app nor its agent was restarted: {restarts:?}"
    );
}
