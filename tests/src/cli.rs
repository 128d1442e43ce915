//! The command line of `testbed`: what each verb does lies in the module of its subject.

mod cluster;
mod demo;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::packages;
use crate::progress::say;
use crate::reaper;
use crate::servers::{self, Server};
use crate::suite::{self, Tier};

/// The testbed: real servers on one machine.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One variant per verb, in the order of `testbed help`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the servers (those of a cluster, or those named) from their pinned Go modules into the user's cache.
    Build {
        /// Names such as etcd, vault, consul.
        servers: Vec<String>,
    },
    /// Runs tiers of tests (all usual ones, or those named) and tells how long each took.
    Test {
        /// Which, in this order.
        #[arg(value_enum)]
        tiers: Vec<Tier>,
    },
    /// Says which Debian packages are missing and how to install them.
    Packages,
    #[command(flatten)]
    Cluster(cluster::Verb),
    #[command(flatten)]
    Demo(demo::Verb),
    /// Waits for the end of standard input, then removes every trace of a run.
    #[command(hide = true)]
    Reap {
        /// The run's folder.
        run: PathBuf,
    },
}

/// Runs the program. An error ends it with its causes on standard error.
pub fn run() -> anyhow::Result<()> {
    let Cli { command } = Cli::parse();
    match command {
        Command::Build { servers } => build(&servers),
        Command::Test { tiers } => suite::run(if tiers.is_empty() { &Tier::USUAL } else { &tiers }),
        Command::Packages => packages::check(),
        Command::Cluster(verb) => cluster::run(verb),
        Command::Demo(verb) => demo::run(verb),
        Command::Reap { run } => reaper::reap(&run),
    }
}

fn build(names: &[String]) -> anyhow::Result<()> {
    let named = names
        .iter()
        .map(|name| Server::from_name(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let wanted = if named.is_empty() {
        Server::CLUSTER.to_vec()
    } else {
        named
    };
    for server in wanted {
        let path = servers::path(server).with_context(|| format!("no {} to test with", server.name()))?;
        say(&format!("{}: {}", server.name(), path.display()));
    }
    Ok(())
}
