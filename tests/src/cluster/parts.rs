//! The programs that a cluster consists of, and their start.

use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use crate::control_plane::{self, ControlPlane};
use crate::coredns;
use crate::netns::{NODE_ADDRESS, Netns, SERVICE_SUBNET};
use crate::node::{Node, Runtime};
use crate::process::{Process, ProcessSpec};
use crate::progress::say;
use crate::run_dir::RunDir;
use crate::servers::{self, Server};

/// The programs of a cluster, in the order of dropping. Each ends when its value is dropped.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) provisioner: Process,
    pub(super) coredns: Process,
    pub(super) scheduler: Process,
    pub(super) node: Node,
    pub(super) control_plane: ControlPlane,
}

impl Parts {
    /// Starts everything and waits until the cluster can be used.
    pub(super) fn up(run: &RunDir, testbed: &Path) -> anyhow::Result<(Netns, Self)> {
        let start = Instant::now();
        let netns = Netns::create(run)?;
        let (runtime, control_plane) = std::thread::scope(|scope| {
            let runtime = scope.spawn(|| Runtime::start(run, &netns));
            let control_plane = netns.block_on(|| start_control_plane(run, &netns));
            match runtime.join() {
                Ok(runtime) => (runtime, control_plane),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        let (runtime, control_plane) = (runtime?, control_plane?);
        say(&format!(
            "{}: control plane and container runtime are up after {:.1} s",
            run.name(),
            start.elapsed().as_secs_f64()
        ));
        let node = runtime.join(run, &control_plane)?;
        let parts = Self {
            provisioner: start_provisioner(run, &netns, testbed)?,
            coredns: coredns::start(
                run,
                &servers::path(Server::Coredns)?,
                netns.name(),
                &control_plane.files().admin_kubeconfig,
            )?,
            scheduler: start_scheduler(run, &netns, &control_plane)?,
            node,
            control_plane,
        };
        netns.block_on(|| super::wait_ready::wait(&parts))?;
        say(&format!(
            "{}: the node is ready after {:.1} s",
            run.name(),
            start.elapsed().as_secs_f64()
        ));
        Ok((netns, parts))
    }

    /// An error with the end of the right log if one of the programs has ended.
    pub(super) fn check_running(&self) -> anyhow::Result<()> {
        let Self {
            provisioner,
            coredns,
            scheduler,
            node,
            control_plane,
        } = self;
        control_plane.check_running()?;
        node.check_running()?;
        scheduler.check_running()?;
        coredns.check_running()?;
        provisioner.check_running()
    }

    /// Lets all live on after this program has ended, until the run is destroyed.
    pub(super) fn detach(self) {
        let Self {
            provisioner,
            coredns,
            scheduler,
            node,
            control_plane,
        } = self;
        for process in [provisioner, coredns, scheduler] {
            process.detach();
        }
        node.detach();
        control_plane.detach();
    }
}

async fn start_control_plane(run: &RunDir, netns: &Netns) -> anyhow::Result<ControlPlane> {
    let address: IpAddr = NODE_ADDRESS.parse().context("the node's address")?;
    let mut options = control_plane::Options::in_netns(netns.name(), address, SERVICE_SUBNET);
    options.controller_manager_args.extend([
        // A bound claim is noticed by events; this is for those that come at the same time.
        "--pvclaimbinder-sync-period=1s".to_owned(),
        // The usual 20 requests a second make every start and every large test wait.
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]);
    ControlPlane::launch(options, run).await
}

fn start_scheduler(run: &RunDir, netns: &Netns, control_plane: &ControlPlane) -> anyhow::Result<Process> {
    let kubeconfig = control_plane.kubeconfig_for("kube-scheduler", "system:kube-scheduler", &[])?;
    Process::start(
        ProcessSpec::new("kube-scheduler", servers::path(Server::KubeScheduler)?, run)
            .args([
                format!("--kubeconfig={}", kubeconfig.display()),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
            ])
            .netns(Some(netns.name())),
        run,
    )
}

fn start_provisioner(run: &RunDir, netns: &Netns, testbed: &Path) -> anyhow::Result<Process> {
    Process::start(
        ProcessSpec::new("provisioner", testbed, run)
            .args(["provisioner".to_owned(), run.path().display().to_string()])
            .netns(Some(netns.name())),
        run,
    )
}
