//! Starting and stopping one server process, recorded in the [`RunDir`] it belongs to.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::proc_table::ProcessId;
use crate::run_dir::{RUN_VARIABLE, Record, RunDir};
use crate::wait;

/// How long a process that is dropped may take to end by itself.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// As much of a log's end as is looked at for its last lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// What to start. The process gets PATH, HOME and `env`, nothing else of the caller's environment.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// What people call it, unique in its run: `etcd`, `vault-0`.
    pub name: String,
    /// The program, as a path or a name to find in PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Its working folder; the run's folder when `None`.
    pub cwd: Option<PathBuf>,
    /// The network namespace (a name under /run/netns) that it runs in.
    pub netns: Option<String>,
    /// The file that gets its output; appended to.
    pub log: PathBuf,
}

impl ProcessSpec {
    /// A program that runs in the run's folder with no arguments and logs to `logs/<name>.log`.
    pub fn new(name: &str, program: impl Into<PathBuf>, run: &RunDir) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            netns: None,
            log: run.log(name),
        }
    }

    /// Adds arguments.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Puts it into a network namespace.
    pub fn netns(mut self, name: Option<&str>) -> Self {
        self.netns = name.map(str::to_owned);
        self
    }
}

/// A running process. Dropping it stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    id: ProcessId,
    record: Record,
    child: Mutex<Child>,
    detached: bool,
}

impl Process {
    /// Starts a process and records it before returning.
    ///
    /// It leads a process group of its own, so that a Ctrl-C reaches only the owner.
    pub fn start(spec: ProcessSpec, run: &RunDir) -> anyhow::Result<Self> {
        let ProcessSpec {
            name,
            program,
            args,
            env,
            cwd,
            netns,
            log,
        } = spec;
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open the log {} of {name}", log.display()))?;
        let mut command = match netns {
            // nsenter becomes the program: the pid stays the same.
            Some(netns) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net=/run/netns/{netns}"))
                    .arg("--")
                    .arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command
            .args(args)
            .env_clear()
            .envs(
                ["PATH", "HOME"]
                    .into_iter()
                    .filter_map(|key| Some((key, std::env::var_os(key)?))),
            )
            .envs(env)
            .env(RUN_VARIABLE, run.path())
            .current_dir(cwd.as_deref().unwrap_or(run.path()))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        let Some(id) = ProcessId::living(child.id()) else {
            let status = child.wait()?;
            bail!("{name} ended at once ({status}){}", tail_note(&log));
        };
        let record = run.record_process(&name, id)?;
        Ok(Self {
            name,
            log,
            id,
            record,
            child: Mutex::new(child),
            detached: false,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.id.pid
    }

    /// Where it logs to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// An error with the end of its log if it no longer runs: what every wait for it looks at first.
    pub fn check_running(&self) -> anyhow::Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status}){}", self.name, tail_note(&self.log)),
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// Sends SIGTERM, waits for `grace`, then SIGKILL, and waits until it is gone.
    pub fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        self.end(grace)
    }

    /// Sends SIGKILL at once, as a power cut would, and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.end(Duration::ZERO)
    }

    /// Sends a signal, such as the SIGHUP that makes a server read its files again.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.id.signal(signal)
    }

    /// Lets it run on after this program has ended, until [`RunDir::destroy`].
    pub fn detach(mut self) {
        self.detached = true;
    }

    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()
            .ok()
            .flatten()
    }

    fn end(&mut self, grace: Duration) -> anyhow::Result<()> {
        if !grace.is_zero() && self.is_running() {
            self.id.signal(Signal::TERM)?;
            let start = Instant::now();
            while self.is_running() && start.elapsed() < grace {
                wait::pause();
            }
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            child
                .kill()
                .with_context(|| format!("cannot kill {}", self.name))?;
            child
                .wait()
                .with_context(|| format!("cannot wait for the end of {}", self.name))?;
        }
        self.record.forget();
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached {
            // Nothing to report to from here; the run's destruction looks at the record again.
            let _ = self.end(DROP_GRACE);
        }
    }
}

/// The last lines of a log file, or a note why there are none.
pub fn tail(log: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = fs::metadata(log)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => {
            let text = String::from_utf8_lossy(&end);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", log.display()),
    }
}

/// `tail` as the end of an error message.
pub(crate) fn tail_note(log: &Path) -> String {
    format!("; the end of {}:\n{}", log.display(), tail(log, 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in a folder of its own, and a shell in it.
    fn shell(script: &str) -> (tempfile::TempDir, RunDir, Process) {
        let home = tempfile::tempdir().unwrap();
        let run = RunDir::create_in(home.path(), "unit").unwrap();
        let process =
            Process::start(ProcessSpec::new("shell", "sh", &run).args(["-c", script]), &run).unwrap();
        (home, run, process)
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed_after_its_grace() {
        let (_home, run, process) = shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
        let heard = || {
            (process.log_tail(1) == "deaf")
                .then_some(())
                .context("it has not said so")
        };
        wait::until("a deaf shell", Duration::from_secs(60), heard).unwrap();
        let pid = process.pid();
        process.stop(Duration::from_millis(200)).unwrap();
        assert_eq!(ProcessId::living(pid), None, "the process should be gone");
        assert_eq!(run.processes().unwrap(), [], "its record should be gone, too");
        run.destroy().unwrap();
    }

    #[test]
    fn a_process_that_has_ended_shows_the_end_of_its_log() {
        let (_home, run, process) = shell("echo first; echo last words >&2; sleep 0.05; exit 3");
        let ended = || process.exit_status().context("it runs");
        wait::until("the end of the shell", Duration::from_secs(60), ended).unwrap();
        let error = process.check_running().unwrap_err().to_string();
        for wanted in ["shell has ended", "exit status: 3", "last words"] {
            assert!(
                error.contains(wanted),
                "the error should hold {wanted:?}, got: {error}"
            );
        }
        run.destroy().unwrap();
    }

    #[test]
    fn a_process_gets_nothing_of_its_callers_environment() {
        assert!(
            std::env::var_os("CARGO_PKG_NAME").is_some(),
            "Cargo gives its tests this variable"
        );
        let (_home, run, process) = shell("env; echo end; sleep 0.05");
        let complete = || {
            process
                .log_tail(1)
                .ends_with("end")
                .then_some(())
                .context("no end yet")
        };
        wait::until("the environment", Duration::from_secs(60), complete).unwrap();
        let environment = process.log_tail(100);
        assert!(
            !environment.contains("CARGO_PKG_NAME"),
            "only PATH, HOME and its own, got:\n{environment}"
        );
        assert!(
            environment.contains(RUN_VARIABLE),
            "the run's variable marks it, got:\n{environment}"
        );
        run.destroy().unwrap();
    }
}
