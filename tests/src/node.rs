//! One real Kubernetes node: containerd, kubelet and kube-proxy in namespaces of their own.

mod cgroups;
pub mod containerd;
mod kubelet;
mod proxy;
pub mod sandbox;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::control_plane::ControlPlane;
use crate::images::{self, Image};
use crate::netns::Netns;
use crate::packages;
use crate::process::Process;
use crate::run_dir::{CGROUP_PREFIX, RunDir};
use crate::servers::{self, Server};
use crate::wait;
use sandbox::Sandbox;

/// The node's name in the cluster.
pub const NODE_NAME: &str = "testbed";

/// Namespaces and a container runtime that are up before there is a control plane.
#[derive(Debug)]
pub struct Runtime {
    // In the order of dropping.
    containerd: Process,
    sandbox: Sandbox,
    cgroup: String,
}

/// A node that has been told to join. Dropping it ends it with all its containers.
#[derive(Debug)]
pub struct Node {
    // In the order of dropping.
    proxy: Process,
    kubelet: Process,
    runtime: Runtime,
}

impl Runtime {
    /// Starts containerd and gives it the pause image.
    pub fn start(run: &RunDir, netns: &Netns) -> anyhow::Result<Self> {
        let cgroup = format!("{CGROUP_PREFIX}{}", run.name());
        cgroups::make(run, &cgroup)?;
        let sandbox = Sandbox::start(run, netns.name(), &images::pause_program()?)?;
        let containerd = containerd::start(run, &sandbox)?;
        let pause = Image::Pause.build()?;
        containerd::import(run, &pause)?;
        Ok(Self {
            containerd,
            sandbox,
            cgroup,
        })
    }

    /// Starts the kubelet and kube-proxy against a control plane. Returns before the node is ready.
    pub fn join(self, run: &RunDir, control_plane: &ControlPlane) -> anyhow::Result<Node> {
        let kubelet = kubelet::start(
            run,
            &self.sandbox,
            &servers::path(Server::Kubelet)?,
            &self.cgroup,
            control_plane,
        )?;
        let proxy = proxy::start(
            run,
            &self.sandbox,
            &servers::path(Server::KubeProxy)?,
            control_plane,
        )?;
        Ok(Node {
            proxy,
            kubelet,
            runtime: self,
        })
    }
}

impl Node {
    /// An error with the end of the right log if one of the node's programs has ended.
    pub fn check_running(&self) -> anyhow::Result<()> {
        self.runtime.sandbox.check_running()?;
        self.runtime.containerd.check_running()?;
        self.kubelet.check_running()?;
        self.proxy.check_running()
    }

    /// The last lines of the log that says most about a node that does not become ready.
    pub fn log_tail(&self) -> String {
        self.kubelet.log_tail(20)
    }

    /// Lets the node live on after this program has ended, until the run is destroyed.
    pub fn detach(self) {
        let Self {
            proxy,
            kubelet,
            runtime:
                Runtime {
                    containerd,
                    sandbox,
                    cgroup: _,
                },
        } = self;
        for process in [proxy, kubelet, containerd] {
            process.detach();
        }
        sandbox.detach();
    }
}

/// Says why a node cannot run here, if it cannot.
pub fn check_machine() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a whole node needs root: namespaces, mounts and cgroups are made for it");
    }
    packages::check()?;
    if !overlay_is_known()? {
        load_overlay();
        if !overlay_is_known()? {
            bail!(
                "a whole node needs the overlay file system, which this kernel does not offer (modprobe overlay)"
            );
        }
    }
    Ok(())
}

fn overlay_is_known() -> anyhow::Result<bool> {
    let table = fs::read_to_string("/proc/filesystems").context("cannot read /proc/filesystems")?;
    Ok(lists(&table, "overlay"))
}

/// Whether /proc/filesystems lists a file system.
fn lists(table: &str, filesystem: &str) -> bool {
    table
        .lines()
        .any(|line| line.split_whitespace().last() == Some(filesystem))
}

/// On a fresh machine the module is not loaded yet. The kernel loads it when somebody mounts one: read-only, and in a
/// mount namespace that ends at once. Whether that helped is seen in the table.
fn load_overlay() {
    let _ = Command::new("unshare")
        .args(["--mount", "mount", "-t", "overlay", "testbed"])
        .args(["-o", "lowerdir=/usr:/etc", "/mnt"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Waits for a condition as long as the process lives; its end is told at once, with the end of its log.
fn until_up(
    what: &str,
    deadline: Duration,
    process: &Process,
    condition: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let waited = wait::until(what, deadline, || match process.check_running() {
        Err(dead) => Ok(Err(dead)),
        Ok(()) => condition().map(Ok),
    });
    match waited {
        Ok(up_or_dead) => up_or_dead,
        Err(error) => Err(error.context(format!(
            "{} is not up; the end of its log:\n{}",
            process.name(),
            process.log_tail(20)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessSpec;

    #[test]
    fn a_file_system_is_found_by_its_whole_name_with_and_without_a_device() {
        let table = "nodev\tsysfs\n\text4\nnodev\tfuse.overlay\n";
        assert!(
            lists(table, "sysfs") && lists(table, "ext4"),
            "both are in {table:?}"
        );
        assert!(!lists(table, "overlay"), "fuse.overlay is another one");
    }

    /// What is told when a server runs this script and never comes up.
    fn failure_of(script: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let run = RunDir::create_in(home.path(), "unit").unwrap();
        let server = ProcessSpec::new("some-server", "sh", &run).args(["-c", script]);
        let server = Process::start(server, &run).unwrap();
        let never = || bail!("its port is closed");
        let error = until_up("its port", Duration::from_secs(2), &server, never).unwrap_err();
        drop(server);
        run.destroy().unwrap();
        format!("{error:#}")
    }

    #[test]
    fn a_server_that_dies_at_its_start_or_never_comes_up_shows_the_last_lines_of_its_log() {
        let dies = "for line in $(seq 30); do echo line-$line; done; echo 'no such device' >&2; exit 3";
        let told = failure_of(dies);
        assert!(
            told.contains("some-server has ended") && told.contains("exit status: 3"),
            "its end should be told: {told}"
        );
        assert!(
            told.ends_with("line-30\nno such device") && !told.contains("line-11\n"),
            "the last 20 lines should follow: {told}"
        );
        let told = failure_of("echo 'waiting for a device'; exec sleep 60");
        for wanted in [
            "some-server is not up",
            "waiting for a device",
            "its port is closed",
        ] {
            assert!(told.contains(wanted), "{wanted:?} should be told: {told}");
        }
    }
}
