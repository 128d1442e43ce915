//! The kubelet of a node: real pods, close to the settings of a production node.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{NODE_NAME, containerd, sandbox::Sandbox};
use crate::certs::PairFiles;
use crate::control_plane::ControlPlane;
use crate::netns::NODE_ADDRESS;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;

/// Starts the kubelet. Pods run below the cgroup `/<cgroup>`.
pub(super) fn start(
    run: &RunDir,
    sandbox: &Sandbox,
    program: &Path,
    cgroup: &str,
    control_plane: &ControlPlane,
) -> anyhow::Result<Process> {
    let folder = run.folder("kubelet")?;
    let kubeconfig =
        control_plane.kubeconfig_for("kubelet", &format!("system:node:{NODE_NAME}"), &["system:nodes"])?;
    let serving = control_plane
        .ca()
        .server(NODE_NAME, &[NODE_NAME, NODE_ADDRESS])?
        .write(&folder, "serving")?;
    let client_ca = &control_plane.files().ca.cert;
    let config = folder.join("config.json");
    fs::write(&config, config_json(run, cgroup, client_ca, &serving).to_string())
        .with_context(|| format!("cannot write {}", config.display()))?;
    // What pods with `dnsPolicy: Default` get: the testbed knows no names of the world.
    let resolv_conf = folder.join("resolv.conf");
    fs::write(&resolv_conf, format!("nameserver {NODE_ADDRESS}\n"))
        .with_context(|| format!("cannot write {}", resolv_conf.display()))?;
    let spec = ProcessSpec::new("kubelet", program, run).args([
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--root-dir={}", folder.join("root").display()),
        format!("--cert-dir={}", folder.join("pki").display()),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE_ADDRESS}"),
    ]);
    Process::start(sandbox.inside(spec), run)
}

fn config_json(run: &RunDir, cgroup: &str, client_ca: &Path, serving: &PairFiles) -> Value {
    let folder = run.join("kubelet");
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": serving.cert,
        "tlsPrivateKeyFile": serving.key,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": client_ca },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": format!("unix://{}", containerd::socket(run).display()),
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": folder.join("resolv.conf"),
        "podLogsDir": run.join("pod-logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "cgroupsPerQOS": true,
        // The node is the machine that also runs everything else: no limit over all pods.
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        // A full disk or little memory of the machine must not evict the pods of a test.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0.1%",
            "nodefs.inodesFree": "0.1%",
            "imagefs.available": "0.1%",
            "imagefs.inodesFree": "0.1%",
        },
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        // How soon a changed Secret or ConfigMap reaches a pod's volume: a minute in production, too long for a test.
        "syncFrequency": "5s",
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "maxPods": 250,
    })
}
