//! The members' certificate on real servers: renewed without a restart, and a CA replaced with both trusted in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::{VaultCluster, VaultRole, annotations, names};
use vaultkeeper_operator::cluster::tls::certificate::{Facts, examine_der};
use vaultkeeper_operator::connect::{Connect, HttpsConnect, Node};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::shown_certificate;

use super::configuration::event;
use super::stage::{DEADLINE, Stage, change, condition, reason};

const CURRENT: &str = "CertificateCurrent";
const ROLLOVER: &str = "CaRollover";
/// How long both CAs are given out at least, as the spec says.
const OVERLAP: Duration = Duration::from_secs(2);
/// How long a call to a member may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Secret with the VaultRole's client certificate.
const CLIENT: &str = "app-tls";

async fn address(stage: &Stage, ordinal: u32) -> SocketAddr {
    let ip = stage.kubelet.address(&names::member("main", ordinal)).await;
    SocketAddr::new(ip.expect("the member has an address"), names::API_PORT)
}

/// What a member shows to a new connection.
pub(super) async fn shown(stage: &Stage, ordinal: u32) -> Facts {
    let shown = shown_certificate(address(stage, ordinal).await, PATIENCE).await;
    examine_der(&shown.expect("the member shows a certificate")).expect("a certificate")
}

/// Whether a client that trusts these CAs gets an answer.
async fn reaches(stage: &Stage, ordinal: u32, cas: &str) -> anyhow::Result<()> {
    let node = Node {
        host: names::member_host(&stage.namespace, "main", ordinal),
        address: address(stage, ordinal).await,
        ca: cas.to_owned(),
    };
    HttpsConnect.connect(&node, PATIENCE)?.seal_status().await?;
    Ok(())
}

/// Which process each member is.
async fn containers(stage: &Stage) -> BTreeMap<String, String> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let labelled = ListParams::default().labels("vaultkeeper.dev/cluster=main");
    let pods = pods.list(&labelled).await.unwrap();
    pods.into_iter()
        .map(|pod| {
            let statuses = pod.status.unwrap().container_statuses.unwrap();
            let server = statuses
                .into_iter()
                .find(|status| status.name == "vault")
                .unwrap();
            (pod.metadata.name.unwrap(), server.container_id.unwrap())
        })
        .collect()
}

fn message(cluster: &VaultCluster, type_: &str) -> String {
    condition(cluster, type_).map(|c| c.message).unwrap_or_default()
}

/// Waits until every member shows the certificate with the serial in the status, other than `before`.
pub(super) async fn until_current(stage: &Stage, before: Option<&str>) -> String {
    let serial = |c: &VaultCluster| c.status.as_ref()?.tls.as_ref()?.serial.clone();
    let cluster = stage
        .until("all members to show the certificate", |c| {
            reason(c, CURRENT) == "AllShowIt" && serial(c).is_some_and(|s| Some(s.as_str()) != before)
        })
        .await
        .unwrap();
    serial(&cluster).unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_shown_by_a_member_that_runs_on() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster_with(1, json!({})).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let first = until_current(&stage, None).await;
    assert_eq!(
        shown(&stage, 0).await.serial,
        first,
        "the status tells what is shown"
    );
    let before = containers(&stage).await;

    // The kubelet lags: that a member shows an old one is told, with its name.
    stage.kubelet.withhold_secrets("main-0").await;
    change(
        &stage,
        json!({"tls": {"managed": {"extraDnsNames": ["vault.example.com"]}}}),
    )
    .await;
    let told = stage
        .until("the old certificate to be told", |c| {
            reason(c, CURRENT) == "MembersShowOld"
        })
        .await
        .unwrap();
    let said = message(&told, CURRENT);
    assert!(said.contains(&format!("main-0 (serial {first})")), "{said}");
    assert_eq!(shown(&stage, 0).await.serial, first, "nothing has reached it");

    stage.kubelet.bring_secrets("main-0").await;
    let second = until_current(&stage, Some(&first)).await;
    let now = shown(&stage, 0).await;
    assert_eq!(now.serial, second, "the member shows the new one");
    assert!(now.dns_names.contains("vault.example.com"), "{:?}", now.dns_names);
    assert_eq!(containers(&stage).await, before, "without a restart");
    event(&stage, "CertificateIssued", &["issued for the members"]).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

/// The CAs in the members' Secret.
async fn mounted_cas(stage: &Stage) -> String {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let data = secrets
        .get(&names::tls_secret("main"))
        .await
        .unwrap()
        .data
        .unwrap();
    String::from_utf8(data[names::CA_KEY].0.clone()).unwrap()
}

async fn ca_secret(stage: &Stage) -> BTreeMap<String, String> {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    let secret = secrets
        .get(&names::ca_secret(&stage.namespace, "main"))
        .await
        .unwrap();
    let data = secret.data.unwrap().into_iter();
    data.map(|(key, value)| (key, String::from_utf8(value.0).unwrap()))
        .collect()
}

fn config_maps(stage: &Stage) -> Api<ConfigMap> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// Waits until the ConfigMap of the VaultRole's namespace holds these CAs.
async fn until_config_map(stage: &Stage, cas: &str) {
    let name = names::ca_config_map(&stage.namespace, "main");
    let maps = config_maps(stage);
    wait::until_async("the ConfigMap to hold the CAs", DEADLINE, async || {
        let data = maps.get(&name).await?.data.context("no data")?;
        ensure!(data[names::CA_KEY] == cas, "it holds {}", data[names::CA_KEY]);
        Ok(())
    })
    .await
    .unwrap();
}

/// Says whose the ConfigMap is: one that is nobody's is left as it is.
async fn claim_config_map(stage: &Stage, whose: Option<&str>) {
    let body = json!({"metadata": {"annotations": {annotations::CLUSTER: whose}}});
    let name = names::ca_config_map(&stage.namespace, "main");
    config_maps(stage)
        .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
}

async fn create_role(stage: &Stage) {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "app" },
        "spec": {
            "cluster": { "name": "main", "namespace": stage.namespace },
            "policy": { "rules": [
                { "path": format!("secret/data/{}/app", stage.namespace), "capabilities": ["read"] },
            ] },
            "kubernetes": { "serviceAccounts": ["app"] },
            "certificate": { "secretName": CLIENT },
        },
    }))
    .unwrap();
    let roles: Api<VaultRole> = Api::namespaced(stage.client.clone(), &stage.namespace);
    roles.create(&PostParams::default(), &role).await.unwrap();
}

/// A client that knows nothing but what its namespace holds at that moment: it reads the CAs and calls every member by them,
/// again and again.
struct Follower {
    end: CancellationToken,
    task: JoinHandle<(u32, Vec<String>)>,
}

impl Follower {
    fn start(stage: &Arc<Stage>) -> Self {
        let end = CancellationToken::new();
        let (stopped, stage) = (end.clone(), Arc::clone(stage));
        let task = tokio::spawn(async move {
            let (mut calls, mut failures) = (0, Vec::new());
            while !stopped.is_cancelled() {
                for ordinal in 0..3 {
                    // No longer ago than both CAs are given out: a slow machine may need longer for a call.
                    let read = Instant::now();
                    for (source, cas) in told(&stage).await {
                        calls += 1;
                        if let Err(error) = reaches(&stage, ordinal, &cas).await
                            && read.elapsed() < OVERLAP
                        {
                            failures.push(format!("main-{ordinal} by the CAs in {source}: {error:#}"));
                        }
                    }
                }
                // So that it leaves the machine to the others.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (calls, failures)
        });
        Self { end, task }
    }

    /// How often it called, and what went wrong.
    async fn stop(self) -> (u32, Vec<String>) {
        self.end.cancel();
        self.task.await.unwrap()
    }
}

/// The CAs that the namespace is told, and where.
async fn told(stage: &Stage) -> [(&'static str, String); 2] {
    let name = names::ca_config_map(&stage.namespace, "main");
    let map = config_maps(stage).get(&name).await.unwrap().data.unwrap();
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret = secrets.get(CLIENT).await.unwrap().data.unwrap();
    let of_secret = String::from_utf8(secret[names::CA_KEY].0.clone()).unwrap();
    [
        ("the ConfigMap", map[names::CA_KEY].clone()),
        ("the Secret", of_secret),
    ]
}

/// Waits until the Secret with the client certificate holds these CAs.
async fn until_client_secret(stage: &Stage, cas: &str) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("the client's Secret to hold the CAs", DEADLINE, async || {
        let data = secrets.get(CLIENT).await?.data.context("no data")?;
        ensure!(data[names::CA_KEY].0 == cas.as_bytes(), "it holds others");
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until the replacement is so far and waits for these.
async fn until_waiting(stage: &Stage, phase: &str, whom: &str) -> VaultCluster {
    stage
        .until(&format!("the phase {phase} to wait for {whom}"), |c| {
            reason(c, ROLLOVER) == phase && message(c, ROLLOVER).ends_with(&format!(": {whom}"))
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_ca_is_replaced_while_clients_of_the_old_and_of_the_new_one_are_served() {
    let stage = Arc::new(Stage::new().await.unwrap());
    let overlap = json!({"tls": {"managed": {"caOverlap": format!("{}s", OVERLAP.as_secs())}}});
    stage.create_cluster_with(3, overlap).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_current(&stage, None).await;
    create_role(&stage).await;
    let old = mounted_cas(&stage).await;
    until_config_map(&stage, &old).await;
    until_client_secret(&stage, &old).await;
    let before = containers(&stage).await;
    let follower = Follower::start(&stage);

    // Both are given out. A member and a client that do not have both yet hold the new one back.
    stage.kubelet.withhold_secrets("main-2").await;
    claim_config_map(&stage, None).await;
    stage
        .annotate(annotations::ROTATE_CA, "a rehearsal")
        .await
        .unwrap();
    let told = until_waiting(&stage, "Distributing", "main-2").await;
    let asked = told.metadata.annotations.unwrap_or_default();
    assert!(
        !asked.contains_key(annotations::ROTATE_CA),
        "the request is taken: {asked:?}"
    );
    event(&stage, "CaReplacementBegun", &["a rehearsal"]).await;
    let both = mounted_cas(&stage).await;
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2, "{both}");
    assert!(both.starts_with(old.trim_end()), "the old one signs still");
    let new = ca_secret(&stage).await["next.crt"].clone();
    for ordinal in 0..3 {
        reaches(&stage, ordinal, &old)
            .await
            .expect("a client with the old CA");
        reaches(&stage, ordinal, &both).await.expect("a client with both");
        assert!(
            reaches(&stage, ordinal, &new).await.is_err(),
            "the new one has not signed yet"
        );
    }

    // An operator that dies goes on where it was.
    operator.kill().await;
    let operator = stage.start_operator(&Points::record());
    stage.kubelet.bring_secrets("main-2").await;
    let map = names::ca_config_map(&stage.namespace, "main");
    let map = format!("ConfigMap {}/{map}", stage.namespace);
    until_waiting(&stage, "Distributing", &map).await;
    for ordinal in 0..3 {
        reaches(&stage, ordinal, &old)
            .await
            .expect("the old one signs still");
    }

    // Everybody has both: the new one signs. One member does not hear of it yet.
    stage.kubelet.withhold_secrets("main-2").await;
    claim_config_map(&stage, Some(&format!("{}.main", stage.namespace))).await;
    until_waiting(&stage, "Retiring", "main-2").await;
    event(&stage, "CaPromoted", &["the new CA signs"]).await;
    until_config_map(&stage, &mounted_cas(&stage).await).await;
    for ordinal in 0..3 {
        reaches(&stage, ordinal, &both).await.expect("a client with both");
    }
    for ordinal in 0..2 {
        reaches(&stage, ordinal, &new)
            .await
            .expect("a client with the new CA");
        assert!(
            reaches(&stage, ordinal, &old).await.is_err(),
            "the new one has signed"
        );
    }
    reaches(&stage, 2, &old)
        .await
        .expect("it shows the old certificate still");
    let kept = ca_secret(&stage).await;
    assert_eq!((&kept["ca.crt"], &kept["previous.crt"]), (&new, &old));

    operator.kill().await;
    let operator = stage.start_operator(&Points::record());
    stage.kubelet.bring_secrets("main-2").await;
    stage
        .until("the end of the replacement", |c| {
            condition(c, ROLLOVER).is_none() && reason(c, CURRENT) == "AllShowIt"
        })
        .await
        .unwrap();
    event(&stage, "CaRetired", &["trusted no more"]).await;
    let left = ca_secret(&stage).await;
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        ["ca.crt", "ca.key"],
        "the old one is gone"
    );
    until_config_map(&stage, &new).await;
    wait::until_async("the members to have the new CA alone", DEADLINE, async || {
        ensure!(mounted_cas(&stage).await == new, "it is not alone");
        for ordinal in 0..3 {
            reaches(&stage, ordinal, &new).await?;
            ensure!(
                reaches(&stage, ordinal, &old).await.is_err(),
                "a client of the old one"
            );
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(containers(&stage).await, before, "no member was restarted");
    until_client_secret(&stage, &new).await;
    let (calls, failures) = follower.stop().await;
    assert!(calls > 100, "there were only {calls} calls");
    assert_eq!(
        failures,
        Vec::<String>::new(),
        "who believes what its namespace is told reaches every member at every moment"
    );

    // A member that starts now finds its peers by the new one.
    stage.kill_and_wait("main-1").await.unwrap();
    operator.stop().await;
    Arc::into_inner(stage).unwrap().end().await.unwrap();
}

#[tokio::test]
async fn a_request_for_a_new_ca_that_is_not_ours_is_refused() {
    let stage = Stage::new().await.unwrap();
    let own = json!({"tls": {"managed": null, "secretName": "bought"}});
    stage.create_cluster_with(1, own).await.unwrap();
    super::certificates_of_others::give(&stage, "bought", None).await;
    stage
        .annotate(annotations::ROTATE_CA, "a rehearsal")
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the request to be dropped", |c| {
            let notes = c.metadata.annotations.clone().unwrap_or_default();
            reason(c, CURRENT) == "AllShowIt" && !notes.contains_key(annotations::ROTATE_CA)
        })
        .await
        .unwrap();
    assert!(condition(&cluster, ROLLOVER).is_none(), "nothing was begun");
    operator.stop().await;
    stage.end().await.unwrap();
}
