//! kube-proxy: Services, by iptables rules inside the cluster's network namespace.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::{NODE_NAME, sandbox::Sandbox};
use crate::control_plane::ControlPlane;
use crate::netns::{NODE_ADDRESS, POD_SUBNET};
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;

/// Starts kube-proxy.
pub(super) fn start(
    run: &RunDir,
    sandbox: &Sandbox,
    program: &Path,
    control_plane: &ControlPlane,
) -> anyhow::Result<Process> {
    let kubeconfig = control_plane.kubeconfig_for("kube-proxy", "system:kube-proxy", &[])?;
    let config = run.folder("kube-proxy")?.join("config.json");
    let settings = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": kubeconfig },
        "mode": "iptables",
        "clusterCIDR": POD_SUBNET,
        "hostnameOverride": NODE_NAME,
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": { "minSyncPeriod": "100ms" },
        // 0 leaves the limits alone: they belong to the host's kernel.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    });
    fs::write(&config, settings.to_string()).with_context(|| format!("cannot write {}", config.display()))?;
    let spec = ProcessSpec::new("kube-proxy", program, run).args([format!("--config={}", config.display())]);
    Process::start(sandbox.inside(spec), run)
}
