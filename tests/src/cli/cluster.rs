//! The verbs of `testbed` that are about a whole cluster and its images.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::cluster::{Cluster, Options};
use crate::control_plane::client_from_file;
use crate::images::Image;
use crate::invocation;
use crate::progress::say;
use crate::provisioner;
use crate::run_dir::RunDir;

/// One variant per verb.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Brings up a cluster that stays until `testbed down`.
    Up {
        /// What to call it.
        #[arg(long, default_value = "demo")]
        name: String,
        /// Images to build and load at once.
        #[arg(long, value_enum, value_delimiter = ',')]
        images: Vec<Image>,
    },
    /// Ends a cluster and removes every trace of it.
    Down {
        /// Its name.
        #[arg(long, default_value = "demo")]
        name: String,
    },
    /// Lists the clusters of this user and what runs of each.
    Status,
    /// Builds images as tar files and prints their paths.
    Images {
        /// Which; all when none is named.
        #[arg(value_enum)]
        images: Vec<Image>,
        /// Load them into a running cluster, too.
        #[arg(long)]
        load: bool,
        /// The cluster to load them into.
        #[arg(long, default_value = "demo")]
        name: String,
    },
    /// Runs kubectl against a cluster: `testbed kubectl get pods`.
    Kubectl {
        /// The cluster's name.
        #[arg(long, default_value = "demo")]
        name: String,
        /// What kubectl gets.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Runs helm against a cluster.
    Helm {
        /// The cluster's name.
        #[arg(long, default_value = "demo")]
        name: String,
        /// What helm gets.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Gives volumes to claims; part of every cluster.
    #[command(hide = true)]
    Provisioner {
        /// The cluster's run folder.
        run: PathBuf,
    },
}

pub(super) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Up { name, images } => up(name, images),
        Verb::Down { name } => Cluster::find(&name)?.down(),
        Verb::Status => status(),
        Verb::Images { images, load, name } => build_images(&images, load.then_some(name.as_str())),
        Verb::Kubectl { name, args } => become_program(Cluster::find(&name)?.kubectl()?, &args),
        Verb::Helm { name, args } => become_program(Cluster::find(&name)?.helm()?, &args),
        Verb::Provisioner { run } => provision(&run),
    }
}

fn up(name: String, images: Vec<Image>) -> anyhow::Result<()> {
    let cluster = Cluster::up_to_stay(Options {
        name: Some(name),
        // Not its path: the file there may be another by now.
        testbed: PathBuf::from("/proc/self/exe"),
        images,
    })?;
    say(&format!(
        "cluster {} is up; look around with: {} kubectl --name {} get pods --all-namespaces",
        cluster.name(),
        invocation::of_this_program(),
        cluster.name()
    ));
    Ok(())
}

fn status() -> anyhow::Result<()> {
    let clusters = Cluster::list()?;
    if clusters.is_empty() {
        say("no cluster is up");
    }
    for cluster in clusters {
        say(&format!("{}  {}", cluster.name(), cluster.run().path().display()));
        say(&format!("    runs: {}", cluster.processes()?.join(", ")));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the paths are for a program that reads them")]
fn build_images(images: &[Image], load_into: Option<&str>) -> anyhow::Result<()> {
    let images = if images.is_empty() { &Image::ALL } else { images };
    for image in images {
        println!("{}", image.build()?.tar.display());
    }
    match load_into {
        Some(name) => Cluster::find(name)?.load(images).map(drop),
        None => Ok(()),
    }
}

/// Only comes back when the program cannot be started.
fn become_program(mut command: std::process::Command, args: &[OsString]) -> anyhow::Result<()> {
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn provision(run: &Path) -> anyhow::Result<()> {
    let run = RunDir::open(run)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an async runtime")?
        .block_on(async {
            let client = client_from_file(&run.join("pki/admin.kubeconfig")).await?;
            provisioner::run(client, &run.join("volumes")).await
        })?;
    bail!("the provisioner has ended")
}
