//! The Services of the active member and of the standbys follow what the members say.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::Api;
use kube::api::ListParams;
use vaultkeeper_crds::names;
use vaultkeeper_operator::connect::{Connect, HttpsConnect, Node};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::kubelet_stand_in::KubeletStandIn;
use super::stage::{DEADLINE, Stage};

/// Addresses to which a Service leads: those of the pods that it selects and that are ready. The real controller would
/// put them into EndpointSlices if they were not loopback addresses, which the API server refuses there.
async fn behind(stage: &Stage, service: &str) -> anyhow::Result<BTreeSet<IpAddr>> {
    let services: Api<Service> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let selector = services.get(service).await?.spec.and_then(|s| s.selector);
    let selector: Vec<String> = selector
        .context("a Service without a selector")?
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let mut addresses = BTreeSet::new();
    for pod in pods
        .list(&ListParams::default().labels(&selector.join(",")))
        .await?
    {
        let status = pod.status.unwrap_or_default();
        let mut conditions = status.conditions.iter().flatten();
        if conditions.any(|c| c.type_ == "Ready" && c.status == "True") {
            addresses.insert(status.pod_ip.context("a ready pod without an address")?.parse()?);
        }
    }
    Ok(addresses)
}

/// Whether a Service leads to exactly these members.
async fn leads_to(stage: &Stage, service: &str, members: &[u32]) -> anyhow::Result<()> {
    let mut wanted = BTreeSet::new();
    for ordinal in members {
        let address = stage.kubelet.address(&names::member("main", *ordinal)).await;
        wanted.insert(address.context("the member has no address")?);
    }
    let found = behind(stage, service).await?;
    ensure!(found == wanted, "{service} leads to {found:?}, not to {wanted:?}");
    Ok(())
}

/// Waits until a Service leads to exactly these members.
async fn until_leads_to(stage: &Stage, service: &str, members: &[u32]) {
    let what = format!("{service} to lead to members {members:?}");
    wait::until_async(&what, DEADLINE, async || leads_to(stage, service, members).await)
        .await
        .unwrap();
}

/// A client as an application builds it: by the name of the Service, which the certificate must hold.
async fn client_of(stage: &Stage, service: &str) -> anyhow::Result<Client> {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let tls = secrets.get(&names::tls_secret("main")).await?;
    let ca = tls
        .data
        .and_then(|mut d| d.remove(names::CA_KEY))
        .context("no CA")?;
    let address = behind(stage, service).await?;
    let address = address.first().context("nobody is behind the Service")?;
    let node = Node {
        host: format!("{service}.{}.svc", stage.namespace),
        address: SocketAddr::new(*address, names::API_PORT),
        ca: String::from_utf8(ca.0)?,
    };
    Ok(HttpsConnect.connect(&node, Duration::from_secs(5))?)
}

/// The number of the member that says of itself that it is active, other than `not`.
async fn leader_besides(stage: &Stage, not: Option<u32>) -> anyhow::Result<u32> {
    for ordinal in (0..3).filter(|o| Some(*o) != not) {
        let leader = stage.member(ordinal).await?.on_this_node().leader().await;
        if leader.is_ok_and(|l| l.is_self) {
            return Ok(ordinal);
        }
    }
    bail!("no member is active")
}

/// Whether whoever answers under the name of this Service is active.
async fn answers_as_active(stage: &Stage, service: &str) -> anyhow::Result<bool> {
    let client = client_of(stage, service).await?;
    Ok(client.on_this_node().leader().await?.is_self)
}

/// Waits until the active name leads to the active member alone, other than `not`, and under that name. Looked at together:
/// on a busy machine they may elect another one at any moment.
async fn until_named(stage: &Stage, not: Option<u32>) -> u32 {
    wait::until_async(
        "the active name to lead to the active member",
        DEADLINE,
        async || {
            let leader = leader_besides(stage, not).await?;
            leads_to(stage, "main-active", &[leader]).await?;
            let is_active = answers_as_active(stage, "main-active").await?;
            ensure!(is_active, "the active name leads to a standby");
            Ok(leader)
        },
    )
    .await
    .unwrap()
}

/// [`until_named`], and the standby name leads to all others and under that name.
async fn until_both_named(stage: &Stage, not: Option<u32>) -> u32 {
    let what = "the standby name to lead to the standbys";
    wait::until_async(what, DEADLINE, async || {
        let leader = until_named(stage, not).await;
        leads_to(stage, "main-standby", &others(leader)).await?;
        let is_active = answers_as_active(stage, "main-standby").await?;
        ensure!(!is_active, "the standby name leads to the active member");
        Ok(leader)
    })
    .await
    .unwrap()
}

fn others(leader: u32) -> Vec<u32> {
    (0..3).filter(|o| *o != leader).collect()
}

#[tokio::test]
async fn a_client_of_the_active_name_finds_the_new_leader_after_a_fail_over() {
    let stage = Stage::new().await.unwrap();
    let _probes = KubeletStandIn::start(&stage).unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    stage
        .until("three voters", |c| {
            c.status.as_ref().and_then(|s| s.voters) == Some(3)
        })
        .await
        .unwrap();

    let first = until_both_named(&stage, None).await;
    until_leads_to(&stage, "main", &[0, 1, 2]).await;

    // Nobody is there to move the label: it is stale, and yet no client is sent to the dead pod.
    operator.kill().await;
    let name = names::member("main", first);
    stage.kubelet.freeze(&name).await.unwrap();
    until_leads_to(&stage, "main-active", &[]).await;
    wait::until_async("another leader", DEADLINE, async || {
        leader_besides(&stage, Some(first)).await
    })
    .await
    .unwrap();
    until_leads_to(&stage, "main", &others(first)).await;

    // A client of the active name reaches the new leader.
    let operator = stage.start_operator(&Points::record());
    until_named(&stage, Some(first)).await;

    // The old one comes back with a label that is not true any more.
    stage.kubelet.thaw(&name).await.unwrap();
    let second = until_both_named(&stage, None).await;

    // A change of leaders without any event in Kubernetes.
    stage.root(second).await.unwrap().step_down().await.unwrap();
    until_both_named(&stage, Some(second)).await;
    operator.stop().await;
    stage.end().await.unwrap();
}
