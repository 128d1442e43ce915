//! A second node, by name only: it is ready, counts for the spread of pods, and has no room for any.

use anyhow::ensure;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use vaultkeeper_tests::cluster::Cluster;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::wait;

use super::installation::DEADLINE;

/// The node. It goes when this is dropped.
pub(crate) struct FullNode {
    cluster: &'static Cluster,
}

impl FullNode {
    pub(crate) const NAME: &'static str = "elsewhere";

    /// Lets it join, and waits until it counts.
    pub(crate) fn join(cluster: &'static Cluster) -> anyhow::Result<Self> {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": Self::NAME, "labels": {"kubernetes.io/hostname": Self::NAME}},
        });
        cluster.kubectl_text(&["create", "-f", "-"], &node.to_string())?;
        let node = Self { cluster };
        wait::until("the second node to be taken for ready", DEADLINE, || {
            node.beat()?;
            let seen = cluster.kubectl_text(&["get", "node", Self::NAME, "-o", "json"], "")?;
            let taints = &serde_json::from_str::<Value>(&seen)?["spec"]["taints"];
            ensure!(taints.is_null(), "it is tainted: {taints}");
            Ok(())
        })?;
        Ok(node)
    }

    /// What a kubelet says every few seconds. A node that is silent for 50 s counts no longer.
    pub(crate) fn beat(&self) -> anyhow::Result<()> {
        let room = json!({"cpu": "1", "memory": "1Gi", "pods": "0"});
        let now = Timestamp::now().to_string();
        let status = json!({"status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "a node by name only",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }],
        }});
        let status = status.to_string();
        let patch = [
            "patch",
            "node",
            Self::NAME,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        self.cluster.kubectl_text(&patch, "").map(drop)
    }
}

impl Drop for FullNode {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.kubectl_text(&["delete", "node", Self::NAME], "") {
            say(&format!("the node {} is left behind: {error:#}", Self::NAME));
        }
    }
}
