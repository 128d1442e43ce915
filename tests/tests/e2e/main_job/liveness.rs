//! A server that answers nobody for a while, as in an initialisation or the restore of a snapshot, is not killed.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::Signal;
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::proc_table::ProcessId;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Error;

use super::active_client::ActiveClient;
use super::installation::{DEADLINE, Installation, MAIN, VAULT, installation, step};
use super::restarts::server_process;
use super::services::behind;

/// More failures in a row than Kubernetes lets pass where a probe does not say how many. Each takes ten seconds.
const FAILURES: u64 = 4;

/// A process that stands still until this is dropped.
struct Frozen(ProcessId);

impl Frozen {
    fn new(process: ProcessId) -> anyhow::Result<Self> {
        process.signal(Signal::STOP)?;
        Ok(Self(process))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // If it is gone, the test says so.
        let _ = self.0.signal(Signal::CONT);
    }
}

#[test]
#[ignore = "long: a liveness probe fails every ten seconds only"]
fn a_leader_that_stands_still_for_forty_seconds_loses_its_leadership_and_no_life() {
    let Some(installed) = installation() else { return };
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    let leader = names::member(MAIN, installed.leader().unwrap());
    let restarts = installed.restarts(&leader).unwrap();
    let client = ActiveClient::start(&installed, "stand-still");
    client.until_more(10).unwrap();
    let before = failures(&installed, &leader).unwrap();
    let process = server_process(&installed, &leader).unwrap();

    step(&format!("stopping the process of {leader}, which leads"));
    let frozen = Frozen::new(process).unwrap();
    let active = names::active_service(MAIN);
    wait::until("the active name to lead to another member", DEADLINE, || {
        let behind = behind(&installed, &active)?;
        ensure!(
            matches!(behind.as_slice(), [one] if *one != leader),
            "it leads to {behind:?}"
        );
        Ok(())
    })
    .unwrap();
    client.until_more(20).unwrap();
    wait::until("the kubelet to find it dead a few times", DEADLINE, || {
        let now = failures(&installed, &leader)?;
        ensure!(now >= before + FAILURES, "{before} failures before, {now} now");
        Ok(())
    })
    .unwrap();

    step("letting it go on");
    drop(frozen);
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    assert_lives_on(&installed, &leader, &process, &restarts);
    client.until_more(10).unwrap();
    let written = client.end().unwrap();
    step(&written.to_string());
}

fn assert_lives_on(installed: &Installation, member: &str, process: &ProcessId, restarts: &[(String, u64)]) {
    assert!(
        process.is_running(),
        "{member} should be the same process as before"
    );
    assert_eq!(
        installed.restarts(member).unwrap(),
        restarts,
        "no container of {member} was started again"
    );
}

/// Secrets of half a megabyte of noise each, which no compression makes smaller.
const SECRETS: u32 = 80;

#[test]
#[ignore = "long: it writes forty megabytes, and restores them"]
fn a_leader_that_restores_a_snapshot_of_forty_megabytes_is_not_killed() {
    let Some(installed) = installation() else { return };
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    let number = installed.leader().unwrap();
    let leader = names::member(MAIN, number);
    let restarts = installed.restarts(&leader).unwrap();
    let token = installed.make_root_token(number).unwrap();
    let as_root = |path: String, body: Option<Value>| {
        let token = token.clone();
        installed.at_member(number, |vault| async move {
            let root = vault.with_token(&token);
            match body {
                Some(body) => root.write(&path, &body).await.map(drop)?,
                None => root.delete(&path).await?,
            }
            Ok(())
        })
    };
    step("writing forty megabytes");
    for secret in 0..SECRETS {
        let body = json!({"data": {"noise": noise()}});
        as_root(format!("secret/data/bulk/{secret}"), Some(body)).unwrap();
    }
    let in_pod = |script: &str| {
        let script = format!("read -r VAULT_TOKEN; export VAULT_TOKEN; {script}");
        let args = [
            "exec", "-i", "-n", VAULT, &leader, "-c", "vault", "--", "sh", "-c", &script,
        ];
        let input = format!("{}\n", token.expose());
        installed.cluster.kubectl_text(&args, &input).unwrap()
    };
    in_pod("vault operator raft snapshot save /vault/data/drill.snap");
    let after = json!({"data": {"made": "after the snapshot"}});
    as_root("secret/data/bulk/after".to_owned(), Some(after)).unwrap();
    let process = server_process(&installed, &leader).unwrap();

    step(&format!("restoring them at {leader}, which leads"));
    let begin = Instant::now();
    in_pod("vault operator raft snapshot restore /vault/data/drill.snap");
    let lost = wait::until("a leader with the data of the snapshot", DEADLINE, || {
        let (leader, token) = (installed.leader()?, token.clone());
        installed.at_member(leader, |vault| async move {
            let root = vault.with_token(&token);
            root.read("secret/data/bulk/0").await?;
            Ok(root.read("secret/data/bulk/after").await)
        })
    })
    .unwrap();
    let took = begin.elapsed();
    assert!(
        matches!(lost, Err(Error::NotFound { .. })),
        "what was written after the snapshot should be gone: {lost:?}"
    );
    installed.until_available().unwrap();
    installed.until_voters(3).unwrap();
    assert_lives_on(&installed, &leader, &process, &restarts);
    step(&format!(
        "the data of the snapshot was served {took:.1?} after the request"
    ));
    in_pod("busybox rm /vault/data/drill.snap");
    for secret in 0..SECRETS {
        as_root(format!("secret/metadata/bulk/{secret}"), None).unwrap();
    }
    as_root("auth/token/revoke-self".to_owned(), Some(json!({}))).unwrap();
}

fn noise() -> String {
    use base64::Engine as _;
    let mut bytes = vec![0; 512 * 1024];
    SystemRandom::new().fill(&mut bytes).unwrap();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// How often the liveness probe of a member's server has failed, as the kubelet counts.
fn failures(installed: &Installation, member: &str) -> anyhow::Result<u64> {
    let pod = installed.get(VAULT, &format!("pod/{member}"))?;
    let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
    let metrics = installed.kubectl(&["get", "--raw", "/api/v1/nodes/testbed/proxy/metrics/probes"])?;
    let of_server = |line: &&str| {
        line.starts_with("prober_probe_total{")
            && [uid, r#"container="vault""#, r#"probe_type="Liveness""#]
                .iter()
                .all(|part| line.contains(part))
    };
    let mut lines = metrics.lines().filter(of_server).peekable();
    ensure!(
        lines.peek().is_some(),
        "the kubelet has not probed {member} yet: {metrics}"
    );
    let count = |line: &str| -> anyhow::Result<u64> {
        let number = line.rsplit(' ').next().unwrap_or_default();
        // Written as a float, and a whole number all the same.
        let whole = number.split('.').next().unwrap_or_default();
        whole.parse().with_context(|| format!("not a count: {line}"))
    };
    lines
        .find(|line| line.contains(r#"result="failed""#))
        .map_or(Ok(0), count)
}
