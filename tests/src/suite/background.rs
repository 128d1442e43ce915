//! Builds beside the steps that do not need them: missing servers first, the images of the pods later.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process::{Process, ProcessSpec};
use crate::progress::say;
use crate::reaper::OwnedRun;
use crate::servers::Server;
use crate::wait;

/// `testbed build …` as a process of a run: if the suite fails or is interrupted, no compiler stays behind.
#[derive(Debug)]
pub(super) struct Build {
    /// What it builds.
    what: &'static str,
    process: Process,
    // After the process in the order of dropping.
    _run: OwnedRun,
    /// How much of its output was relayed.
    relayed: u64,
    start: Instant,
    took: Option<Duration>,
}

impl Build {
    /// Starts the build of these servers.
    pub(super) fn of_servers(testbed: &Path, servers: &[Server]) -> anyhow::Result<Self> {
        say("building the missing servers beside the first steps");
        let names = servers.iter().map(|server| server.name().to_owned());
        Self::start(
            testbed,
            "servers",
            std::iter::once("build".to_owned()).chain(names),
        )
    }

    /// Starts the build of the images that the testbed's pods run.
    pub(super) fn of_images(testbed: &Path) -> anyhow::Result<Self> {
        Self::start(testbed, "images", std::iter::once("images".to_owned()))
    }

    /// Lets this program build something.
    fn start(testbed: &Path, what: &'static str, args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let program = testbed
            .to_str()
            .context("the path of this program is not UTF-8")?;
        let run = OwnedRun::create("build", testbed)?;
        // The steps beside it go first: some of them wait for an answer.
        let mut spec = ProcessSpec::new(what, "nice", &run)
            .args(["-n", "19", program])
            .args(args);
        // Cargo and Go find what the user's environment names, also where it is relative to here.
        spec.cwd = Some(std::env::current_dir().context("cannot tell the working folder")?);
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        spec.env.extend(std::env::vars_os().filter_map(text));
        let process = Process::start(spec, &run)?;
        Ok(Self {
            what,
            process,
            _run: run,
            relayed: 0,
            start: Instant::now(),
            took: None,
        })
    }

    /// Shows what it said since the last call, and notes when it has ended.
    pub(super) fn relay(&mut self) {
        if self.took.is_none() && self.process.exit_status().is_some() {
            self.took = Some(self.start.elapsed());
        }
        let mut fresh = Vec::new();
        let read = File::open(self.process.log()).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.relayed))?;
            log.read_to_end(&mut fresh)
        });
        let end = fresh
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        if read.is_err() || end == 0 {
            return;
        }
        self.relayed += end as u64;
        for line in String::from_utf8_lossy(&fresh[..end]).lines() {
            say(&format!("   [{}] {line}", self.what));
        }
    }

    /// Waits for its end. An error says what failed.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        let status = loop {
            self.relay();
            if let Some(status) = self.process.exit_status() {
                break status;
            }
            wait::pause();
        };
        self.relay();
        if !status.success() {
            let what = self.what;
            bail!("building the {what} failed ({status}); the reason is above, after [{what}]");
        }
        Ok(())
    }

    /// What it builds.
    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    /// How long it took, once it has ended.
    pub(super) fn took(&self) -> Option<Duration> {
        self.took
    }
}
