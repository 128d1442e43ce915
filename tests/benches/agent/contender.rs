//! One of the two programs: how it is started, and what its starts take.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::progress::Step;
use vaultkeeper_tests::run_dir::RunDir;

use crate::server::{Bed, DEADLINE, SECRETS};

/// How long an agent gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// A program with its name.
pub(crate) struct Contender {
    name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Contender {
    pub(crate) fn ours(program: &Path) -> Self {
        Self {
            name: "ours",
            program: program.to_owned(),
            arguments: &[],
        }
    }

    pub(crate) fn peer(program: &Path) -> Self {
        Self {
            name: "vault-agent",
            program: program.to_owned(),
            arguments: &["agent"],
        }
    }

    /// The size of the program's file, in millions of bytes.
    pub(crate) fn size(&self) -> anyhow::Result<f64> {
        let length = fs::metadata(&self.program)?.len();
        Ok(f64::from(u32::try_from(length)?) / 1e6)
    }

    /// Starts it with so many files in an empty folder, which it gives, too.
    pub(crate) fn start(
        &self,
        bed: &Bed,
        run: &RunDir,
        what: &str,
        files: usize,
        interval: &str,
    ) -> anyhow::Result<(Process, PathBuf)> {
        let name = format!("{}-{what}", self.name);
        let folder = bed.folder(&name)?;
        let config = run.join(format!("{name}.json"));
        fs::write(&config, bed.config(&folder, files, interval).to_string())?;
        let arguments = self.arguments.iter().map(|argument| (*argument).to_owned());
        let spec = ProcessSpec::new(&name, &self.program, run)
            .args(arguments.chain([format!("-config={}", config.display())]));
        Ok((Process::start(spec, run)?, folder))
    }

    /// Median of the times from the program's start to its first file, in milliseconds.
    pub(crate) fn starts(&self, bed: &Bed, run: &RunDir, starts: usize) -> anyhow::Result<f64> {
        let step = Step::begin(format!("{starts} starts of {}", self.name));
        let mut times = Vec::new();
        for start in 0..starts {
            let began = Instant::now();
            let (process, folder) = self.start(bed, run, &format!("start-{start}"), SECRETS, "5m")?;
            until(&process, || {
                (0..SECRETS).any(|number| folder.join(number.to_string()).exists())
            })?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            process.stop(GRACE)?;
        }
        step.done();
        times.sort_by(f64::total_cmp);
        times
            .get(times.len() / 2)
            .copied()
            .context("no start was asked for")
    }

    /// Starts it with so many files of ten secrets: files per second from the program's start to the last one.
    pub(crate) fn many_files(&self, bed: &Bed, run: &RunDir, files: usize) -> anyhow::Result<f64> {
        let step = Step::begin(format!("{files} files by {}", self.name));
        let began = Instant::now();
        let (process, folder) = self.start(bed, run, "many", files, "5m")?;
        // One that is written is not looked at again.
        let mut next = 0;
        until(&process, || {
            while next < files && folder.join(next.to_string()).exists() {
                next += 1;
            }
            next == files
        })?;
        let took = began.elapsed().as_secs_f64();
        step.done();
        process.stop(GRACE)?;
        Ok(f64::from(u32::try_from(files)?) / took)
    }
}

/// Waits for something that may come within milliseconds.
fn until(process: &Process, mut is_there: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_there() {
        process.check_running()?;
        ensure!(
            start.elapsed() < DEADLINE,
            "waited {} s in vain; it said:\n{}",
            DEADLINE.as_secs(),
            process.log_tail(5)
        );
        #[allow(
            clippy::disallowed_methods,
            reason = "it is measured how long the condition takes to hold"
        )]
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
