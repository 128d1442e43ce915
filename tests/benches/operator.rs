//! The operator with thousands of VaultRoles, as a process of its own: `make bench-operator`.
//!
//! Real etcd, API server, controller manager and three real members with Raft and an audit device; only the kubelet is ours.
//! It measures and prints a table; it judges nothing. Parameters: ROLES, AT_ONCE, NAMESPACES, REST_SECONDS, LOGINS.

#[path = "operator/counts.rs"]
mod counts;
#[path = "operator/params.rs"]
mod params;
#[path = "operator/program.rs"]
mod program;
#[path = "operator/roles.rs"]
mod roles;
#[path = "operator/servers.rs"]
mod servers;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;
use vaultkeeper_tests::measure::{self, Memory};
use vaultkeeper_tests::progress::{Step, say};
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;

use counts::Counts;
use params::Params;
use servers::Servers;

fn main() -> ExitCode {
    vaultkeeper_tests::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("no runtime").and_then(|runtime| {
        if program::is_wanted() {
            runtime.block_on(program::run())
        } else {
            runtime.block_on(bench())
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The rows of the table.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, what: &str, value: &str) {
        let _ = writeln!(self.0, "| {what} | {value} |");
        say(&format!("  {what}: {value}"));
    }
}

async fn bench() -> anyhow::Result<()> {
    let params = Params::from_environment()?;
    say(&format!("{params:?}"));
    let run = RunDir::create("bench-operator")?;
    let reaper = Reaper::start(Path::new(env!("CARGO_BIN_EXE_testbed")), &run)?;
    let outcome = measure(&params, &run).await;
    if outcome.is_err() {
        say(&run.log_tails(5));
    }
    reaper.reap()?;
    let table = outcome?;
    say("");
    say("| what | measured |\n|---|---|");
    say(table.0.trim_end());
    Ok(())
}

async fn measure(params: &Params, run: &RunDir) -> anyhow::Result<Table> {
    let Params {
        roles: all,
        at_once,
        namespaces,
        rest,
        logins,
    } = params;
    let mut table = Table::default();
    table.row("machine", &measure::machine());
    let servers = Servers::start(run, *namespaces).await?;
    let operator = servers.start_operator("operator")?;
    let step = Step::begin("three members of Vault");
    servers.until_available().await?;
    table.row(
        "VaultCluster created → three members serve",
        &seconds(step.done()),
    );

    let tokens = servers.namespaces.clone();
    let took = roles::create(&servers.client, &tokens, 0..*at_once).await?;
    table.row(
        &format!("{at_once} VaultRoles created at once → all Secrets there"),
        &seconds(took),
    );
    let good = roles::log_in(&servers, *logins, *at_once).await?;
    table.row(
        &format!("{logins} random logins with them"),
        &format!("{good} succeed"),
    );
    table.row("operator's memory then", &Memory::of(operator.pid())?.to_string());

    if all > at_once {
        let took = roles::create(&servers.client, &tokens, *at_once..*all).await?;
        table.row(
            &format!("{} more → all Secrets there", all - at_once),
            &seconds(took),
        );
        table.row("operator's memory then", &Memory::of(operator.pid())?.to_string());
    }
    roles::until_all_ready(&servers.client, *all).await?;
    at_rest(
        "after creating them",
        &servers,
        operator.pid(),
        *all,
        *rest,
        &mut table,
    )
    .await?;

    operator.stop(Duration::from_secs(60))?;
    let operator = servers.start_operator("operator-2")?;
    servers.until_leading(&operator).await?;
    at_rest(
        "after a restart",
        &servers,
        operator.pid(),
        *all,
        *rest,
        &mut table,
    )
    .await?;
    operator.stop(Duration::from_secs(60))?;
    Ok(table)
}

/// Watches for a while, and counts.
async fn at_rest(
    when: &str,
    servers: &Servers,
    operator: u32,
    roles: usize,
    rest: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let before = servers.positions()?;
    let mut step = Step::begin(format!("{roles} roles at rest, {when}, for {} s", rest.as_secs()));
    let end = tokio::time::Instant::now() + rest;
    let start = Memory::cpu_seconds(operator)?;
    let mut most = Memory::of(operator)?;
    while tokio::time::Instant::now() < end {
        sleep(Duration::from_secs(5)).await;
        step.tick();
        most = most.larger(Memory::of(operator)?);
    }
    let took = step.done();
    let cpu = Memory::cpu_seconds(operator)? - start;
    let Counts {
        kubernetes,
        vault,
        busiest,
    } = servers.counts_since(&before)?;
    let what = format!("{roles} at rest for {} s, {when}: ", took.as_secs());
    table.row(&format!("{what}operator's memory, at most"), &most.to_string());
    table.row(&format!("{what}operator's CPU"), &format!("{cpu:.1} s"));
    table.row(
        &format!("{what}Kubernetes requests of the operator"),
        &counts::words(&kubernetes),
    );
    table.row(&format!("{what}Vault requests"), &counts::words(&vault));
    table.row(
        &format!("{what}Vault requests about roles, in the busiest ten seconds"),
        &format!("{busiest}"),
    );
    Ok(())
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
