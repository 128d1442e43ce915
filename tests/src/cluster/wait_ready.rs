//! When a cluster that has been started can be used.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use super::parts::Parts;
use crate::netns::NODE_ADDRESS;
use crate::node::NODE_NAME;
use crate::{provisioner, wait};

/// How long it may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(240);

/// Waits until the node is ready and schedulable and DNS answers, and makes the StorageClass.
///
/// The end of any of the programs ends the wait, with the end of its log.
pub(super) async fn wait(parts: &Parts) -> anyhow::Result<()> {
    let client = parts.control_plane.client().await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let waited = wait::until_async("a ready node", DEADLINE, || async {
        if let Err(dead) = parts.check_running() {
            return Ok(Err(dead));
        }
        let node = nodes.get(NODE_NAME).await?;
        check_ready(&node)?;
        Ok(Ok(()))
    });
    match waited.await {
        Ok(ready_or_dead) => ready_or_dead?,
        Err(error) => {
            return Err(error.context(format!(
                "the node is not ready; the end of the kubelet's log:\n{}",
                parts.node.log_tail()
            )));
        }
    }
    // A pod without a ServiceAccount is refused.
    parts.control_plane.wait_for_controllers().await?;
    provisioner::install_class(&client).await?;
    wait::until_async("the cluster's DNS server", DEADLINE, || async {
        if let Err(dead) = parts.check_running() {
            return Ok(Err(dead));
        }
        dns_is_ready().await.map(Ok)
    })
    .await
    .with_context(|| {
        format!(
            "CoreDNS is not ready; the end of its log:\n{}",
            parts.coredns.log_tail(20)
        )
    })?
}

fn check_ready(node: &Node) -> anyhow::Result<()> {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => bail!(
            "the node says: {}",
            ready.message.as_deref().unwrap_or("not ready")
        ),
        None => bail!("the node has not reported yet"),
    }
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    ensure!(taints.is_empty(), "the node still has taints: {taints:?}");
    Ok(())
}

/// CoreDNS' plugin `ready` answers 200 once the Services are known.
async fn dns_is_ready() -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect((NODE_ADDRESS, 8181)).await?;
    stream
        .write_all(format!("GET /ready HTTP/1.0\r\nHost: {NODE_ADDRESS}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "it answers: {status}");
    Ok(())
}
