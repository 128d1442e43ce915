//! The container runtime of a node, with folders, socket and CNI configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::sandbox::Sandbox;
use crate::images::{Archive, PAUSE};
use crate::netns::POD_SUBNET;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::wait;

/// How long containerd may take to answer.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Where a run's containerd listens.
pub fn socket(run: &RunDir) -> PathBuf {
    run.join("containerd/containerd.sock")
}

/// Starts containerd and waits until it answers.
pub fn start(run: &RunDir, sandbox: &Sandbox) -> anyhow::Result<Process> {
    let config = run.folder("containerd")?.join("config.toml");
    let network = run.folder("cni/net.d")?.join("10-testbed.conflist");
    for (path, text) in [
        (&config, config_text(run.path())),
        (&network, network_text(run.path())),
    ] {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let spec =
        ProcessSpec::new("containerd", "containerd", run).args(["--config", &config.to_string_lossy()]);
    let process = Process::start(sandbox.inside(spec), run)?;
    super::until_up("an answer of containerd", START_DEADLINE, &process, || {
        ctr(run, &["version"]).map(drop)
    })?;
    Ok(process)
}

/// Runs `ctr` in the Kubernetes namespace of the run's containerd and gives its output.
pub fn ctr(run: &RunDir, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("ctr")
        .arg("--address")
        .arg(socket(run))
        .args(["--namespace", "k8s.io"])
        .args(args)
        .output()
        .context("cannot run ctr (Debian package containerd)")?;
    if !output.status.success() {
        bail!(
            "ctr {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("ctr did not answer in UTF-8")
}

/// Imports an image and waits until the kubelet can use it.
///
/// Gives whether it was imported; an image that is there with this digest is left alone.
pub fn import(run: &RunDir, image: &Archive) -> anyhow::Result<bool> {
    let Archive {
        reference,
        tar,
        digest,
    } = image;
    let is_there = || -> anyhow::Result<bool> {
        let list = ctr(run, &["images", "ls"])?;
        Ok(is_listed(&list, reference, digest))
    };
    if is_there()? {
        return Ok(false);
    }
    ctr(run, &["images", "import", &tar.to_string_lossy()])?;
    wait::until(
        &format!("the image {reference} in containerd"),
        START_DEADLINE,
        || {
            ensure!(
                is_there()?,
                "containerd does not list it with the digest {digest}"
            );
            Ok(())
        },
    )?;
    Ok(true)
}

/// Whether `ctr images ls` shows the image with this digest, and the CRI plugin has seen it (it sets the label).
fn is_listed(list: &str, reference: &str, digest: &str) -> bool {
    list.lines().any(|line| {
        let mut columns = line.split_whitespace();
        columns.next() == Some(reference)
            && columns.any(|column| column == digest)
            && line.contains("io.cri-containerd.image=managed")
    })
}

fn config_text(run: &Path) -> String {
    let run = run.display();
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE runc could not lower the score.
    // disable_apparmor: a profile would be loaded into the host's kernel, and stay there.
    format!(
        r#"version = 2
root = "{run}/containerd/root"
state = "{run}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{run}/containerd/containerd.sock"

[ttrpc]
  address = "{run}/containerd/containerd.sock.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{run}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE}"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{run}/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// `ptp`, not `bridge`: every packet is routed, so that an answer through a Service's address is always translated
/// back, with or without the kernel module br_netfilter.
fn network_text(run: &Path) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "testbed",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": POD_SUBNET }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": run.join("cni/data"),
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
        docker.io/vaultkeeper/agent:0.1.0 application/vnd.oci.image.manifest.v1+json sha256:aa 1.0 MiB linux/amd64 io.cri-containerd.image=managed \n\
        docker.io/vaultkeeper/operator:0.1.0 application/vnd.oci.image.manifest.v1+json sha256:bb 1.0 MiB linux/amd64 -\n";

    #[test]
    fn an_image_counts_once_the_kubelet_can_see_it() {
        assert!(
            is_listed(LIST, "docker.io/vaultkeeper/agent:0.1.0", "sha256:aa"),
            "same name, same digest, seen by the CRI plugin"
        );
        assert!(
            !is_listed(LIST, "docker.io/vaultkeeper/agent:0.1.0", "sha256:ab"),
            "another digest is another image"
        );
        assert!(
            !is_listed(LIST, "docker.io/vaultkeeper/operator:0.1.0", "sha256:bb"),
            "without the label the kubelet would try to pull it"
        );
    }

    #[test]
    fn nothing_is_configured_outside_of_the_run_folder() {
        let text = config_text(Path::new("/state/run"));
        for setting in ["root = ", "state = ", "address = ", "path = ", "conf_dir = "] {
            for line in text.lines().filter(|line| line.trim_start().starts_with(setting)) {
                assert!(
                    line.contains("\"/state/run/"),
                    "{line} should lie in the run folder"
                );
            }
        }
    }
}
