//! A roll-out on a real node: pods end with their grace and start again on their volumes, by the operator's own rights.

use anyhow::{Context as _, ensure};
use vaultkeeper_crds::names;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, MAIN, SHOP, VAULT, installation, reason, step};

const FILE: &str = "/vault/secrets/config";

/// UIDs of the members' pods.
fn uids(installed: &Installation) -> anyhow::Result<Vec<String>> {
    (0..3)
        .map(|n| {
            let pod = installed.get(VAULT, &format!("pod/{}", names::member(MAIN, n)))?;
            let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
            Ok(uid.to_owned())
        })
        .collect()
}

#[test]
fn a_restart_by_kubectl_takes_the_members_one_by_one_while_the_app_reads_on() {
    let Some(installed) = installation() else { return };
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    let before = uids(&installed).unwrap();
    step("restarting all members with kubectl rollout restart");
    installed
        .kubectl(&["rollout", "restart", "-n", VAULT, "statefulset/main"])
        .unwrap();
    let mut fewest = 3;
    wait::until("three new pods", DEADLINE, || {
        let cluster = installed.get(VAULT, "vaultcluster/main")?;
        let rows = cluster["status"]["members"].as_array().context("no members")?;
        let serves = |row: &&serde_json::Value| row["state"] == "Active" || row["state"] == "Standby";
        fewest = fewest.min(rows.iter().filter(serves).count());
        let now = uids(&installed)?;
        ensure!(
            now.iter().all(|uid| !before.contains(uid)),
            "not all are new: {}",
            cluster["status"]
        );
        Ok(())
    })
    .unwrap();
    assert!(fewest >= 2, "two members always serve, there were {fewest}");
    let cluster = installed
        .until("the roll-out to end", |c| reason(c, "RolledOut") == "UpToDate")
        .unwrap();
    let rows = cluster.status.unwrap_or_default().members;
    assert!(rows.iter().all(|m| m.up_to_date == Some(true)), "{rows:?}");
    let events = installed
        .kubectl(&["get", "events", "-n", VAULT, "-o", "jsonpath={.items[*].reason}"])
        .unwrap();
    assert!(
        events.contains("SteppedDown") && events.contains("MemberRestarted"),
        "{events}"
    );
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
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
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ])
        .unwrap();
    assert!(
        restarts.split_whitespace().all(|count| count == "0"),
        "no app was restarted: {restarts}"
    );
}
