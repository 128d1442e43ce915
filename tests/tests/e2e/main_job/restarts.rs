//! What dies in a cluster every day: a container of a member, the operator that leads.

use std::fs;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use vaultkeeper_tests::proc_table::ProcessId;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, SYSTEM, VAULT, installation, reason, step};

#[test]
fn another_operator_takes_over_and_unseals_a_member_whose_container_crashed() {
    let Some(installed) = installation() else { return };
    let first = leader(&installed).unwrap();
    step(&format!("asking the leading operator {first} to stop"));
    installed
        .kubectl(&["delete", "pod", "-n", SYSTEM, &first, "--wait=false"])
        .unwrap();
    let second = wait::until("another operator to lead", DEADLINE, || {
        let now = leader(&installed)?;
        ensure!(now != first, "{first} still leads");
        Ok(now)
    })
    .unwrap();

    step(&format!("killing the container of main-2 while {second} leads"));
    let before = container(&installed).unwrap();
    // As the kernel does when memory is short.
    server_process(&installed, "main-2").unwrap().kill().unwrap();
    wait::until("main-2 to serve in a new container", DEADLINE, || {
        let now = container(&installed)?;
        ensure!(
            now["restartCount"] != before["restartCount"],
            "the container did not restart: {now}"
        );
        let health =
            installed.at_member(2, |vault| async move { Ok(vault.on_this_node().health().await?) })?;
        ensure!(health.is_unsealed(), "it is not unsealed: {health:?}");
        Ok(())
    })
    .unwrap();
    let cluster = installed.until_available().unwrap();
    assert_eq!(
        reason(&cluster, "SealLatched"),
        "",
        "a crash is not to be taken for a seal on purpose"
    );
    installed.until_voters(3).unwrap();
    wait::until("the operator's replicas to be complete again", DEADLINE, || {
        let deployments = installed.kubectl(&[
            "wait",
            "-n",
            SYSTEM,
            "--for=condition=Available",
            "--timeout=10s",
            "deployment",
            "-l",
            "app.kubernetes.io/component=operator",
        ])?;
        ensure!(deployments.contains("condition met"), "{deployments}");
        Ok(())
    })
    .unwrap();
}

/// The pod that holds the operators' Lease.
fn leader(installed: &Installation) -> anyhow::Result<String> {
    let leases: Value =
        serde_json::from_str(&installed.kubectl(&["get", "leases", "-n", SYSTEM, "-o", "json"])?)?;
    let holders: Vec<&str> = leases["items"]
        .as_array()
        .context("no list of Leases")?
        .iter()
        .filter(|lease| {
            lease["metadata"]["name"]
                .as_str()
                .is_some_and(|n| n.contains("operator"))
        })
        .filter_map(|lease| lease["spec"]["holderIdentity"].as_str())
        .filter(|holder| !holder.is_empty())
        .collect();
    match holders.as_slice() {
        [holder] => Ok((*holder).to_owned()),
        _ => bail!("one operator should lead: {leases}"),
    }
}

/// Status of the server's container of main-2.
fn container(installed: &Installation) -> anyhow::Result<Value> {
    let pod = installed.get(VAULT, "pod/main-2")?;
    let statuses = pod["status"]["containerStatuses"]
        .as_array()
        .context("no containers")?;
    let server = statuses.iter().find(|status| status["name"] == "vault");
    server.cloned().context("no container of the server")
}

/// The process of a pod's server.
pub(crate) fn server_process(installed: &Installation, pod: &str) -> anyhow::Result<ProcessId> {
    let pod = installed.get(VAULT, &format!("pod/{pod}"))?;
    let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
    for process in fs::read_dir("/proc")?.flatten() {
        let is_server = fs::read_to_string(process.path().join("comm")).is_ok_and(|c| c.trim() == "vault");
        let is_in_pod = fs::read_to_string(process.path().join("cgroup")).is_ok_and(|c| c.contains(uid));
        if is_server && is_in_pod {
            let pid = process.file_name().to_string_lossy().parse()?;
            return ProcessId::living(pid).context("it has ended by itself");
        }
    }
    bail!("no process of the pod {uid} is called vault")
}
