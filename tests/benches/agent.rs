//! The agent beside `vault agent` on one machine, in one run: `make bench-agent`.
//!
//! A real Vault over TLS, ten secrets and ten templates. It measures and prints a table; it judges nothing.
//! Parameters: ROUNDS, STARTS, FILES, REST_SECONDS.

#[path = "agent/contender.rs"]
mod contender;
#[path = "agent/params.rs"]
mod params;
#[path = "agent/rounds.rs"]
mod rounds;
#[path = "agent/server.rs"]
mod server;
#[path = "agent/table.rs"]
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use vaultkeeper_tests::images;
use vaultkeeper_tests::measure;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::servers::{self, Server};

use contender::Contender;
use params::Params;
use server::Bed;
use table::Table;

fn main() -> ExitCode {
    vaultkeeper_tests::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(bench()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> anyhow::Result<()> {
    let params = Params::from_environment()?;
    say(&format!("{params:?}"));
    let ours = images::agent_program()?;
    let theirs = servers::path(Server::Vault)?;
    let run = RunDir::create("bench-agent")?;
    let reaper = Reaper::start(Path::new(env!("CARGO_BIN_EXE_testbed")), &run)?;
    let outcome = measure(&params, &run, &ours, &theirs).await;
    if outcome.is_err() {
        say(&run.log_tails(5));
    }
    reaper.reap()?;
    say("");
    say(outcome?.text().trim_end());
    Ok(())
}

async fn measure(params: &Params, run: &RunDir, ours: &Path, theirs: &Path) -> anyhow::Result<Table> {
    let Params {
        rounds,
        starts,
        files,
        rest,
    } = *params;
    let mut table = Table::new(&measure::machine());
    let ours = Contender::ours(ours);
    let theirs = Contender::peer(theirs);
    table.row("program file, MB", 1, ours.size()?, theirs.size()?);

    let bed = Bed::start(run).await?;
    let started = |contender: &Contender| contender.starts(&bed, run, starts);
    table.row(
        &format!("start → first file, ms (median of {starts})"),
        0,
        started(&ours)?,
        started(&theirs)?,
    );
    let at_once = |contender: &Contender| contender.many_files(&bed, run, files);
    table.row(
        &format!("files rendered per second, {files} at a start"),
        0,
        at_once(&ours)?,
        at_once(&theirs)?,
    );
    let (ours, theirs) = rounds::rounds(&bed, run, [&ours, &theirs], rounds, rest).await?;
    let what = format!("after {rounds} changes of {} files: ", server::SECRETS);
    let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
    table.row(
        &format!("{what}RSS, MiB"),
        1,
        mib(ours.memory.resident),
        mib(theirs.memory.resident),
    );
    table.row(
        &format!("{what}of it anonymous, MiB"),
        1,
        mib(ours.memory.anonymous),
        mib(theirs.memory.anonymous),
    );
    table.row(
        &format!("{what}CPU for a change with its looks at Vault, ms"),
        2,
        ours.change_ms,
        theirs.change_ms,
    );
    let what = format!("at rest for {} s: ", rest.as_secs());
    table.row(
        &format!("{what}CPU, thousandths of a core"),
        2,
        ours.at_rest,
        theirs.at_rest,
    );
    table.note(&format!("load of the machine at the end: {}", measure::load()));
    Ok(table)
}
