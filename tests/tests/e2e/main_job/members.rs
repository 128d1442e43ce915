//! The members: one Raft cluster that heals by itself and respects a deliberate seal.

use anyhow::ensure;
use serde_json::Value;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, MAIN, VAULT, installation, reason, step};

#[test]
fn three_members_vote_in_one_raft_configuration_and_one_may_fail() {
    let Some(installed) = installation() else { return };
    // One that was late with its answers counts again after a while.
    installed.until_voters(3).unwrap();
    let (configuration, autopilot) = installed
        .as_root(
            |vault| async move { Ok((vault.raft_configuration().await?, vault.autopilot_state().await?)) },
        )
        .unwrap();
    let voters: Vec<&str> = configuration
        .servers
        .iter()
        .filter(|s| s.voter)
        .map(|s| s.node_id.as_str())
        .collect();
    assert_eq!(voters.len(), 3, "three voters in {configuration:?}");
    assert_eq!(
        autopilot.failure_tolerance, 1,
        "one member may fail: {autopilot:?}"
    );
    for server in &configuration.servers {
        assert!(
            server.address.contains("main-internal.vault.svc"),
            "members are known by name, not by address: {server:?}"
        );
    }
    let clusters: Vec<String> = (0..3)
        .map(|n| {
            installed
                .at_member(
                    n,
                    |vault| async move { Ok(vault.seal_status().await?.cluster_id) },
                )
                .unwrap()
        })
        .collect();
    assert!(
        clusters.iter().all(|id| *id == clusters[0] && !id.is_empty()),
        "one cluster, not several: {clusters:?}"
    );
}

#[test]
fn a_deleted_member_comes_back_as_a_voter_with_nobodys_help() {
    let Some(installed) = installation() else { return };
    let old = installed.get(VAULT, "pod/main-2").unwrap()["metadata"]["uid"].clone();
    step("deleting pod main-2");
    installed
        .kubectl(&["delete", "pod", "-n", VAULT, "main-2", "--wait=false"])
        .unwrap();
    // Asked itself: what the status says may still be about the old one.
    wait::until("the new main-2 to serve", DEADLINE, || {
        let new = installed.get(VAULT, "pod/main-2")?["metadata"]["uid"].clone();
        ensure!(new != old, "the old pod is still there");
        let (health, leader) = installed.at_member(2, |vault| async move {
            let node = vault.on_this_node();
            Ok((node.health().await?, node.leader().await?))
        })?;
        ensure!(health.is_unsealed(), "the new pod is not unsealed: {health:?}");
        ensure!(
            leader.is_self || !leader.leader_address.is_empty(),
            "it neither leads nor follows: {leader:?}"
        );
        Ok(())
    })
    .unwrap();
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    let configuration = installed
        .as_root(|vault| async move { Ok(vault.raft_configuration().await?) })
        .unwrap();
    assert!(
        configuration
            .servers
            .iter()
            .any(|s| s.node_id == "main-2" && s.voter),
        "main-2 votes: {configuration:?}"
    );
}

#[test]
fn a_member_sealed_through_the_api_stays_sealed_until_it_is_released() {
    let Some(installed) = installation() else { return };
    let app_follows = |greeting: &str| {
        installed.write(greeting).unwrap();
        installed
            .until_file(
                "deployment/app",
                "/vault/secrets/config",
                &format!("greeting={greeting}"),
            )
            .unwrap();
    };
    // From here on the app's agent holds a connection to one of the members.
    app_follows("all members serve");
    step("sealing the active member");
    let sealed = installed.seal_active_member().unwrap();
    let name = format!("{MAIN}-{sealed}");
    let cluster = installed
        .until("the seal to be latched", |c| {
            reason(c, "SealLatched") == "SealedOnPurpose"
        })
        .unwrap();
    assert!(
        cluster
            .status
            .unwrap()
            .members
            .iter()
            .any(|m| m.name == name && m.state == "Sealed"),
        "{name} is shown as sealed"
    );
    step("the app's file must follow while two members serve");
    app_follows("one member is sealed");
    assert_probe_spares(&installed, &name);
    step("a drain may take the sealed member, which serves nobody, and no other one beside it");
    for healthy in (0..3).filter(|n| *n != sealed).map(|n| names::member(MAIN, n)) {
        wait::until("the budget to be used up", DEADLINE, || {
            match evict(&installed, &healthy, "?dryRun=All") {
                Err(no) if format!("{no:#}").contains("would violate the pod's disruption budget") => Ok(()),
                other => anyhow::bail!("an eviction of {healthy} is answered with {other:?}"),
            }
        })
        .unwrap();
    }
    step(&format!("{name} must stay sealed, also in a new pod"));
    evict(&installed, &name, "").expect("a sealed member must not block a drain");
    let is_sealed = |c: &VaultCluster| {
        c.status
            .as_ref()
            .is_some_and(|s| s.members.iter().any(|m| m.name == name && m.state == "Sealed"))
    };
    installed
        .until("the operator to see the old process end", |c| !is_sealed(c))
        .unwrap();
    installed
        .until("the operator to see the new process", is_sealed)
        .unwrap();
    // And when it has seen it, it has had the occasion to unseal it.
    installed.two_more_passes().unwrap();
    let status = installed
        .at_member(sealed, |vault| async move { Ok(vault.seal_status().await?) })
        .unwrap();
    assert!(
        status.initialized && status.sealed && status.progress == 0,
        "nobody sends shares to it: {status:?}"
    );
    let pod = installed.get(VAULT, &format!("pod/{name}")).unwrap();
    let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
    let server = statuses.iter().find(|status| status["name"] == "vault").unwrap();
    assert_eq!(
        server["restartCount"], 0,
        "nothing should restart the sealed member in its new pod: {}",
        pod["status"]
    );
    assert_probe_spares(&installed, &name);
    app_follows("it is still sealed");

    step("releasing the seal as the event says");
    let command = release_command(&installed, &name).replace("<reason>", "the drill is over");
    installed.type_in(&command).unwrap();
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
}

/// Asks for an eviction, as `kubectl drain` does.
fn evict(installed: &Installation, pod: &str, query: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{VAULT}/pods/{pod}/eviction{query}");
    let body = serde_json::json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": VAULT},
    });
    let args = ["create", "--raw", path.as_str(), "-f", "-"];
    installed.cluster.kubectl_text(&args, &body.to_string())
}

/// Asks a sealed member what the kubelet asks it: the answer that would have it killed takes a minute to come about.
fn assert_probe_spares(installed: &Installation, name: &str) {
    let pod = installed.get(VAULT, &format!("pod/{name}")).unwrap();
    let probe = &pod["spec"]["containers"][0]["livenessProbe"]["httpGet"];
    let path = probe["path"].as_str().expect("a liveness probe");
    let ask = |path: &str| {
        let port = names::API_PORT;
        // kubectl fails at any other status than a success.
        installed.kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{VAULT}/pods/https:{name}:{port}/proxy{path}"),
        ])
    };
    let answer =
        ask(path).unwrap_or_else(|error| panic!("the liveness probe should pass at {name}: {error:#}"));
    assert!(
        answer.contains("\"sealed\":true"),
        "{name} should be sealed when it is asked: {answer}"
    );
    let plain = ask("/v1/sys/health").expect_err("without the probe's parameters a sealed member fails");
    assert!(
        format!("{plain:#}").contains("ServiceUnavailable"),
        "the failure should be the sealed member's own: {plain:#}"
    );
}

/// The command in the event about a seal.
fn release_command(installed: &Installation, name: &str) -> String {
    let events = installed
        .kubectl(&[
            "get",
            "events",
            "-n",
            VAULT,
            "--field-selector=reason=SealLatched",
            "-o",
            "json",
        ])
        .unwrap();
    let events: Value = serde_json::from_str(&events).unwrap();
    let messages = events["items"].as_array().unwrap().iter();
    let command = messages
        .filter_map(|event| event["message"].as_str())
        .filter(|message| message.starts_with(name))
        .find_map(|message| message.split_once("To release it: "));
    let Some((_, command)) = command else {
        panic!("an event should say how to release {name}: {events}");
    };
    command.to_owned()
}
