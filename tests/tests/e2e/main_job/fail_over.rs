//! The leader goes: it hands over, the names follow, and an application that knows only the active name writes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use vaultkeeper_crds::names;
use vaultkeeper_tests::wait;

use super::active_client::ActiveClient;
use super::installation::{DEADLINE, Installation, MAIN, SHOP, VAULT, installation, step};
use super::leader_watch::LeaderWatch;
use super::services::{address_of, behind, client_of};

/// What docs/decisions.md promises: after so long the active name leads to the new leader and to nobody else.
const NAMED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn an_application_on_the_active_name_writes_on_while_the_deleted_leader_hands_over_and_ends_by_itself() {
    let Some(installed) = installation() else { return };
    let (active, standby) = (names::active_service(MAIN), names::standby_service(MAIN));
    let leads_to_leader = |service: &str| -> anyhow::Result<bool> {
        installed.cluster.run_inside(|kube| async move {
            let vault = client_of(&kube, service).await?;
            Ok(vault.on_this_node().leader().await?.is_self)
        })
    };
    // Asked anew with each look: on a busy machine they may elect another one.
    let leader = wait::until("the active name to lead to the active member", DEADLINE, || {
        let leader = names::member(MAIN, installed.leader()?);
        ensure!(leads_to_leader(&active)?, "it leads to a standby");
        ensure!(
            !leads_to_leader(&standby)?,
            "the standby name leads to the leader"
        );
        let behind = behind(&installed, &active)?;
        ensure!(behind == [leader.as_str()], "{behind:?} and not the leader alone");
        Ok(leader)
    })
    .unwrap();
    assert_name_leads_to_address(&installed, &active);
    let client = ActiveClient::start(&installed, "fail-over");
    client.until_more(20).unwrap();

    let (watch, doomed) = (LeaderWatch::start(&installed), pod(&installed, &leader).unwrap());
    step(&format!("deleting {leader}, which leads"));
    let begin = Instant::now();
    installed
        .kubectl(&["delete", "pod", "-n", VAULT, &leader, "--wait=false"])
        .unwrap();
    wait::until("the active name to lead to another member", NAMED_WITHIN, || {
        let behind = behind(&installed, &active)?;
        ensure!(
            matches!(behind.as_slice(), [one] if *one != leader),
            "it leads to {behind:?}"
        );
        ensure!(leads_to_leader(&active)?, "{behind:?} is not active");
        Ok(())
    })
    .unwrap();
    let named = begin.elapsed();
    client.until_more(20).unwrap();
    let gap = watch.end().unwrap();
    let ended = end_of(&installed, &doomed).unwrap();
    assert_ended_by_itself(&ended);

    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    wait::until("both standbys to be behind their name", DEADLINE, || {
        let (active, standbys) = (behind(&installed, &active)?, behind(&installed, &standby)?);
        ensure!(standbys.len() == 2, "{standbys:?}");
        ensure!(!standbys.contains(&active[0]), "{active:?} is among {standbys:?}");
        Ok(())
    })
    .unwrap();
    client.until_more(10).unwrap();
    let written = client.end().unwrap();
    step(&format!(
        "nobody led for {gap:.1?}, the active name was right after {named:.1?}; {written}"
    ));
}

/// As pods see it: by the cluster's DNS. The address stays, what it leads to changes.
fn assert_name_leads_to_address(installed: &Installation, service: &str) {
    let address = installed
        .cluster
        .run_inside(|kube| async move { address_of(&kube, service).await })
        .unwrap()
        .to_string();
    let host = format!("{}.cluster.local", names::service_host(VAULT, service));
    let lookup = [
        "exec",
        "-n",
        SHOP,
        "deployment/app",
        "-c",
        "app",
        "--",
        "nslookup",
        &host,
    ];
    // The application may be about to start yet.
    wait::until("the application to find the name", DEADLINE, || {
        let answer = installed.kubectl(&lookup)?;
        ensure!(
            answer.contains(&address),
            "{host} should be {address}, got:\n{answer}"
        );
        Ok(())
    })
    .unwrap();
}

fn pod(installed: &Installation, name: &str) -> anyhow::Result<Pod> {
    installed.cluster.run_inside(|kube| async move {
        let pods: Api<Pod> = Api::namespaced(kube, VAULT);
        Ok(pods.get(name).await?)
    })
}

/// The last state of a pod, which was seen before it was deleted.
fn end_of(installed: &Installation, before: &Pod) -> anyhow::Result<Pod> {
    let (name, version) = (
        before.name_any(),
        before.resource_version().context("no version")?,
    );
    installed.cluster.run_inside(|kube| async move {
        let pods: Api<Pod> = Api::namespaced(kube, VAULT);
        let this = WatchParams::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(u32::try_from(DEADLINE.as_secs())?);
        // All that happened since, also what is over.
        let mut events = Box::pin(pods.watch(&this, &version).await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Deleted(pod) if pod.uid() == before.uid() => return Ok(pod),
                WatchEvent::Error(status) => bail!("the watch of {name} failed: {status:?}"),
                _ => {}
            }
        }
        bail!("{name} was not gone after {} s", DEADLINE.as_secs())
    })
}

/// Whoever is killed because its grace ran out has exit code 137.
fn assert_ended_by_itself(pod: &Pod) {
    let status = pod.status.as_ref().expect("a status");
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    assert_eq!(containers.len(), 2, "the server and its helper: {containers:?}");
    for container in containers {
        let state = container.state.as_ref().and_then(|s| s.terminated.as_ref());
        let state =
            state.unwrap_or_else(|| panic!("{} should have ended: {:?}", container.name, container.state));
        assert_eq!(
            (state.exit_code, state.signal, state.reason.as_deref()),
            (0, None, Some("Completed")),
            "{} should end by itself within its grace: {state:?}",
            container.name
        );
    }
}
