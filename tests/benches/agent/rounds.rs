//! Both agents beside each other: while secrets change all the time, and at rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};
use vaultkeeper_tests::measure::Memory;
use vaultkeeper_tests::process::Process;
use vaultkeeper_tests::progress::Step;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;

use crate::contender::Contender;
use crate::server::{Bed, DEADLINE, SECRETS};

/// What one agent took.
pub(crate) struct Taken {
    /// After all changes.
    pub(crate) memory: Memory,
    /// CPU from one change of all files to the next, in milliseconds.
    pub(crate) change_ms: f64,
    /// CPU at rest, in thousandths of a core.
    pub(crate) at_rest: f64,
}

struct Running {
    process: Process,
    folder: PathBuf,
}

impl Running {
    fn start(
        contender: &Contender,
        bed: &Bed,
        run: &RunDir,
        what: &str,
        interval: &str,
    ) -> anyhow::Result<Self> {
        let (process, folder) = contender.start(bed, run, what, SECRETS, interval)?;
        Ok(Self { process, folder })
    }

    /// Waits until all files are of this round.
    async fn until(&self, round: usize) -> anyhow::Result<()> {
        let wanted = format!("round={round}\n");
        wait::until_async("all files to be of this round", DEADLINE, || async {
            self.process.check_running()?;
            for number in 0..SECRETS {
                let there = read(&self.folder.join(number.to_string()));
                ensure!(there.contains(&wanted), "file {number} is not: {there:?}");
            }
            Ok(())
        })
        .await
    }

    fn cpu(&self) -> anyhow::Result<f64> {
        Memory::cpu_seconds(self.process.pid())
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Ours first, then the peer.
pub(crate) async fn rounds(
    bed: &Bed,
    run: &RunDir,
    contenders: [&Contender; 2],
    rounds: usize,
    rest: Duration,
) -> anyhow::Result<(Taken, Taken)> {
    let [ours, theirs] = contenders;
    let start = |what: &str, interval: &str| -> anyhow::Result<[Running; 2]> {
        Ok([
            Running::start(ours, bed, run, what, interval)?,
            Running::start(theirs, bed, run, what, interval)?,
        ])
    };
    let both = start("changes", "1s")?;
    let mut step = Step::begin(format!("{rounds} changes of all secrets"));
    let mut before = [0.0; 2];
    for round in 1..=rounds {
        bed.write(round).await?;
        for one in &both {
            one.until(round).await?;
        }
        if round == 1 {
            before = [both[0].cpu()?, both[1].cpu()?];
        }
        step.tick();
    }
    step.done();
    let changes = f64::from(u32::try_from(rounds)?) - 1.0;
    let mut taken = Vec::new();
    for (one, before) in both.iter().zip(before) {
        taken.push((
            Memory::of(one.process.pid())?,
            (one.cpu()? - before) * 1e3 / changes.max(1.0),
        ));
    }
    drop(both);

    let both = start("rest", "5m")?;
    for one in &both {
        one.until(rounds).await?;
    }
    // Whatever follows the first rendering is over when nothing was used for a while.
    for one in &both {
        until_quiet(one).await?;
    }
    let mut step = Step::begin(format!("at rest for {} s", rest.as_secs()));
    let before = [both[0].cpu()?, both[1].cpu()?];
    let end = Instant::now() + rest;
    while Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        step.tick();
    }
    let took = step.done().as_secs_f64();
    let mut results = Vec::new();
    for ((one, before), (memory, change_ms)) in both.iter().zip(before).zip(taken) {
        results.push(Taken {
            memory,
            change_ms,
            at_rest: (one.cpu()? - before) * 1e3 / took,
        });
    }
    let [ours, theirs] = <[Taken; 2]>::try_from(results).map_err(|_| anyhow::anyhow!("two were started"))?;
    Ok((ours, theirs))
}

/// Waits until an agent used no tick of CPU between two looks a second apart.
async fn until_quiet(one: &Running) -> anyhow::Result<()> {
    wait::until_async("an agent to come to rest", DEADLINE, || async {
        let before = one.cpu()?;
        sleep(Duration::from_secs(1)).await;
        let used = one.cpu()? - before;
        ensure!(used < 0.02, "it used {used} s of CPU within a second");
        Ok(())
    })
    .await
}
