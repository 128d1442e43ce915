//! Cleanup that is certain: a process of its own session that destroys a run once its owner is gone.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context as _;

use crate::progress::say;
use crate::run_dir::RunDir;

/// Holds the writing end of the reaper's pipe. However this process ends (return, panic, abort, Ctrl-C, SIGKILL),
/// the kernel closes it, and the reaper destroys the run.
#[derive(Debug)]
pub struct Reaper {
    /// Never written to.
    pipe: Option<ChildStdin>,
    child: Child,
}

impl Reaper {
    /// Starts `testbed reap <run>`. `testbed` is `env!("CARGO_BIN_EXE_testbed")` in integration tests and
    /// `std::env::current_exe()` in the program itself.
    pub fn start(testbed: &Path, run: &RunDir) -> anyhow::Result<Self> {
        sweep();
        let log = locked_log(run.path())?;
        let mut child = Command::new("setsid")
            .arg(testbed)
            .arg("reap")
            .arg(run.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            // Not the owner's: whoever reads its output would wait for the reaper, too.
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the reaper through setsid (Debian package util-linux)")?;
        let pipe = child.stdin.take();
        Ok(Self { pipe, child })
    }

    /// The reaper's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the reaper do its work now, and waits for it.
    pub fn reap(mut self) -> anyhow::Result<()> {
        drop(self.pipe.take());
        let status = self.child.wait().context("cannot wait for the reaper")?;
        anyhow::ensure!(status.success(), "the reaper failed ({status})");
        Ok(())
    }

    /// Ends the reaper and leaves the run: it is complete, and from here on somebody else removes it.
    pub fn disarm(mut self, run: &RunDir) -> anyhow::Result<()> {
        // The log first: a run with a log and without a reaper is swept away.
        let log = log_path(run.path());
        fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
        self.child.kill().context("cannot end the reaper")?;
        self.child.wait().context("cannot wait for the reaper")?;
        Ok(())
    }
}

/// What `testbed reap` does: waits until standard input ends, then destroys the run.
pub fn reap(run: &Path) -> anyhow::Result<()> {
    let mut byte = [0];
    // Any end counts as the owner's end, a read error, too.
    while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
    let outcome = if run.exists() {
        RunDir::open(run).and_then(|run| run.destroy())
    } else {
        Ok(())
    };
    if outcome.is_ok() {
        let _ = fs::remove_file(log_path(run));
    }
    outcome
}

/// Destroys runs whose reaper is gone without having done its work: the machine went down, or it was killed itself.
///
/// What cannot be removed stays for the next time.
fn sweep() {
    for run in RunDir::list().unwrap_or_default() {
        let log = log_path(run.path());
        // No log: nobody promised to remove it (`testbed up`). A lock that is held: the reaper lives.
        let Ok(file) = File::open(&log) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        match run.destroy() {
            Ok(()) => drop(fs::remove_file(&log)),
            Err(error) => say(&format!(
                "cannot remove the old run {}: {error:#}",
                run.path().display()
            )),
        }
    }
}

/// The reaper's output, locked as long as the reaper holds it: a lock belongs to the open file, which it inherits.
fn locked_log(run: &Path) -> anyhow::Result<File> {
    let path = log_path(run);
    let draft = path.with_extension("draft");
    let create = || {
        // Under its name only once it is locked, or another's sweep might take the run for an abandoned one.
        let file = File::create(&draft)?;
        file.lock()?;
        fs::rename(&draft, &path)?;
        io::Result::Ok(file)
    };
    create().with_context(|| format!("cannot make {}", path.display()))
}

/// Beside the run's folder, which the reaper removes.
fn log_path(run: &Path) -> PathBuf {
    run.with_extension("reaper.log")
}

/// A run that belongs to one test: made together with its reaper, gone with this value or with the process.
///
/// If it goes while the test fails, the last lines of the run's logs are shown first.
#[derive(Debug)]
pub struct OwnedRun {
    run: RunDir,
    _reaper: Reaper,
}

impl OwnedRun {
    /// Makes a run folder and starts its reaper; `testbed` as in [`Reaper::start`].
    pub fn create(kind: &str, testbed: impl AsRef<Path>) -> anyhow::Result<Self> {
        let run = RunDir::create(kind)?;
        let reaper = Reaper::start(testbed.as_ref(), &run)?;
        Ok(Self { run, _reaper: reaper })
    }
}

impl Deref for OwnedRun {
    type Target = RunDir;

    fn deref(&self) -> &RunDir {
        &self.run
    }
}

impl Drop for OwnedRun {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.run.log_tails(15));
        }
    }
}
