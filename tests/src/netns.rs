//! One network namespace per cluster: the host's ports, routes, links and iptables rules stay as they were.

use std::fs::{self, File};
use std::future::Future;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run_dir::RunDir;

/// The address of the node (and of its DNS server) inside every namespace.
pub const NODE_ADDRESS: &str = "10.244.0.1";

/// The addresses that pods get.
pub const POD_SUBNET: &str = "10.244.0.0/16";

/// The addresses that Services get.
pub const SERVICE_SUBNET: &str = "10.96.0.0/16";

/// A network namespace under /run/netns. It lives until [`RunDir::destroy`] of the run that made it.
#[derive(Debug, Clone)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace with loopback, the bridge `cni0` that carries [`NODE_ADDRESS`], and a default route.
    ///
    /// The default route leads nowhere: it is there so that packets to a Service's address reach iptables.
    pub fn create(run: &RunDir) -> anyhow::Result<Self> {
        let netns = Self {
            name: format!("vk-{}", run.name()),
        };
        let path = netns.path();
        fs::create_dir_all("/run/netns").context("cannot make /run/netns (this needs root)")?;
        run.record_netns(&netns.name)?;
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        // Not `ip netns add`: that leaves a shared mount on /run/netns behind.
        let made = Command::new("unshare")
            .arg(format!("--net={}", path.display()))
            .arg("true")
            .output()
            .context("cannot run unshare (Debian package util-linux)")?;
        ensure!(
            made.status.success(),
            "cannot make the network namespace {}: {}",
            netns.name,
            String::from_utf8_lossy(&made.stderr).trim()
        );
        netns.configure(&format!(
            "link set lo up\n\
             link add cni0 type bridge\n\
             addr add {NODE_ADDRESS}/32 dev cni0\n\
             link set cni0 up\n\
             route add default dev cni0\n"
        ))?;
        netns.on_a_thread(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch on IP forwarding")
        })?;
        Ok(netns)
    }

    /// The namespace that a run made.
    pub fn of(run: &RunDir) -> Self {
        Self {
            name: format!("vk-{}", run.name()),
        }
    }

    /// Its name under /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Moves the calling thread, and whatever it starts from now on, into the namespace. There is no way back.
    pub fn enter_current_thread(&self) -> anyhow::Result<()> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter {} (this needs root)", path.display()))
    }

    /// Runs `work` on a thread of its own inside the namespace and gives back what it gives.
    pub fn on_a_thread<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter_current_thread()?;
                work()
            });
            match thread.join() {
                Ok(result) => result,
                // A failed assertion of a test: let it be the test's own failure.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a future inside the namespace: connections that it opens reach the cluster.
    ///
    /// The runtime has one thread only, because only this one is in the namespace (and the blocking threads that it starts).
    pub fn block_on<T, F>(&self, work: impl FnOnce() -> F + Send) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        self.on_a_thread(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start an async runtime")?
                .block_on(work())
        })
    }

    /// A command that runs inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    fn configure(&self, batch: &str) -> anyhow::Result<()> {
        let mut ip = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip through nsenter (Debian packages iproute2, util-linux)")?;
        if let Some(mut input) = ip.stdin.take() {
            input
                .write_all(batch.as_bytes())
                .context("cannot write to ip -batch")?;
        }
        let output = ip.wait_with_output().context("cannot wait for ip")?;
        if !output.status.success() {
            bail!(
                "cannot set up the network namespace {}: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}
