//! A whole cluster on this machine: control plane, one real node, DNS, volumes. Everything in one network namespace.

mod parts;
mod wait_ready;

use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::control_plane;
use crate::helm;
use crate::images::{Archive, Image};
use crate::netns::Netns;
use crate::node::{self, containerd};
use crate::progress::say;
use crate::reaper::Reaper;
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use parts::Parts;

/// The start of every cluster's run folder; the rest is its name.
const PREFIX: &str = "cluster-";

/// The administrator's kubeconfig inside a run.
const KUBECONFIG: &str = "pki/admin.kubeconfig";

/// Variables that would make a client look for the cluster behind a proxy.
const PROXY_VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

/// What kind of cluster to bring up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, `[a-z0-9-]`; a random one when `None`.
    pub name: Option<String>,
    /// The `testbed` program: `env!("CARGO_BIN_EXE_testbed")` in tests.
    pub testbed: PathBuf,
    /// The images that it has from the start, besides the pause image.
    pub images: Vec<Image>,
}

/// A cluster. Dropping one that was brought up for a test removes every trace of it.
#[derive(Debug)]
pub struct Cluster {
    run: RunDir,
    netns: Netns,
    owned: Option<Owned>,
}

/// What a cluster consists of that ends with this program.
#[derive(Debug)]
struct Owned {
    parts: Parts,
    reaper: Reaper,
}

impl Cluster {
    /// Brings up a cluster that ends with this program, however that ends.
    pub fn up_for_test(options: Options) -> anyhow::Result<Self> {
        Self::up(options, true)
    }

    /// Brings up a cluster that stays until [`Cluster::down`] of any program.
    pub fn up_to_stay(options: Options) -> anyhow::Result<Self> {
        Self::up(options, false)
    }

    fn up(options: Options, for_test: bool) -> anyhow::Result<Self> {
        let Options {
            name,
            testbed,
            images,
        } = options;
        node::check_machine()?;
        // What may take minutes comes before anything that has to be removed again.
        for server in Server::CLUSTER {
            servers::path(server)?;
        }
        let run = match name {
            Some(name) => RunDir::create_named(&folder_name(&name)?)
                .with_context(|| format!("cannot make the cluster {name}; is it up already?"))?,
            None => RunDir::create(PREFIX.trim_end_matches('-'))?,
        };
        match Self::start(&run, &testbed, &images, for_test) {
            Ok(cluster) => Ok(cluster),
            Err(error) => Err(match run.destroy() {
                Ok(()) => error,
                Err(left) => error.context(format!("and could not clean up: {left:#}")),
            }),
        }
    }

    fn start(run: &RunDir, testbed: &Path, images: &[Image], for_test: bool) -> anyhow::Result<Self> {
        // A copy: a rebuild may take the program away while the cluster runs.
        let own = run.join("testbed");
        std::fs::copy(testbed, &own).with_context(|| format!("cannot copy {}", testbed.display()))?;
        // Before anything else is made: from here on a sudden end of this program leaves nothing behind.
        let reaper = Reaper::start(&own, run)?;
        let (netns, parts) = Parts::up(run, &own)?;
        load(run, images)?;
        let owned = if for_test {
            Some(Owned { parts, reaper })
        } else {
            parts.detach();
            reaper.disarm(run)?;
            None
        };
        Ok(Self {
            run: run.clone(),
            netns,
            owned,
        })
    }

    /// The cluster of this name that some program has brought up.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let folder = folder_name(name)?;
        match RunDir::list()?.into_iter().find(|run| run.name() == folder) {
            Some(run) => Ok(Self {
                netns: Netns::of(&run),
                run,
                owned: None,
            }),
            None => bail!("there is no cluster called {name}; `testbed status` lists those there are"),
        }
    }

    /// All clusters of this user on this machine.
    pub fn list() -> anyhow::Result<Vec<Self>> {
        Ok(RunDir::list()?
            .into_iter()
            .filter(|run| run.name().starts_with(PREFIX))
            .map(|run| Self {
                netns: Netns::of(&run),
                run,
                owned: None,
            })
            .collect())
    }

    /// What people call it.
    pub fn name(&self) -> String {
        self.run.name().trim_start_matches(PREFIX).to_owned()
    }

    /// The folder with all its state and logs.
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// The network namespace that it lives in.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The administrator's kubeconfig. Its address is reachable inside the network namespace only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.run.join(KUBECONFIG)
    }

    /// Its programs that run, by name.
    pub fn processes(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.run.processes()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Builds images as far as needed and loads those that the node does not have yet. Gives what was built.
    pub fn load(&self, images: &[Image]) -> anyhow::Result<Vec<Archive>> {
        load(&self.run, images)
    }

    /// Runs a future inside the cluster's network, with a client of the administrator.
    pub fn run_inside<T, F>(&self, work: impl FnOnce(kube::Client) -> F + Send) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        let kubeconfig = self.kubeconfig();
        self.netns
            .block_on(move || async move { work(control_plane::client_from_file(&kubeconfig).await?).await })
    }

    /// `kubectl` with the administrator's kubeconfig, inside the cluster's network.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        self.tool(Server::Kubectl)
    }

    /// Runs kubectl to its end with `input` as its standard input, and gives what it prints.
    pub fn kubectl_text(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = self
            .kubectl()?
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl through nsenter (Debian package util-linux)")?;
        if let Some(mut stdin) = child.stdin.take()
            && let Err(error) = stdin.write_all(input.as_bytes())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error).context("cannot write to kubectl");
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {} failed ({}): {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).context("kubectl did not answer in UTF-8")
    }

    /// `helm` with the administrator's kubeconfig, inside the cluster's network.
    pub fn helm(&self) -> anyhow::Result<Command> {
        let mut command = self.tool(Server::Helm)?;
        helm::isolate(&mut command, &self.run.join("helm"));
        command.env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    fn tool(&self, server: Server) -> anyhow::Result<Command> {
        let mut command = self.netns.command(servers::path(server)?);
        command.env("KUBECONFIG", self.kubeconfig());
        // kubectl would keep its discovery cache in the user's home.
        command.env("KUBECACHEDIR", self.run.join("kubectl-cache"));
        for variable in PROXY_VARIABLES {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// Ends the cluster and removes every trace of it.
    pub fn down(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        // Destroyed first, at once; the parts then find nothing left to stop.
        let destroyed = self.run.destroy();
        if let Some(Owned { parts, reaper }) = self.owned.take() {
            drop(parts);
            reaper.reap()?;
        }
        destroyed
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned.is_some()
            && let Err(error) = self.end()
        {
            say(&format!("cannot remove the cluster {}: {error:#}", self.name()));
        }
    }
}

fn load(run: &RunDir, images: &[Image]) -> anyhow::Result<Vec<Archive>> {
    let load_one = |image: &Image| {
        let archive = image.build()?;
        let start = std::time::Instant::now();
        if containerd::import(run, &archive)? {
            say(&format!(
                "loaded {} in {:.1} s",
                archive.reference,
                start.elapsed().as_secs_f64()
            ));
        }
        Ok(archive)
    };
    images.iter().map(load_one).collect()
}

/// `cluster-<name>`; the name becomes part of paths and of a network namespace's name.
fn folder_name(name: &str) -> anyhow::Result<String> {
    let fits = !name.is_empty()
        && name.len() <= 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        bail!("{name:?} cannot be a cluster's name: use up to 32 of a-z, 0-9 and -");
    }
    Ok(format!("{PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_lead_out_of_the_state_folder_is_refused() {
        for name in ["", "../x", "a/b", "A", &"x".repeat(33)] {
            assert!(folder_name(name).is_err(), "{name:?} should be refused");
        }
        assert_eq!(folder_name("demo-1").unwrap(), "cluster-demo-1", "a good name");
    }
}
