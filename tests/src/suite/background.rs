//! The build of missing servers, beside the steps that do not need them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process::{Process, ProcessSpec};
use crate::progress::say;
use crate::reaper::OwnedRun;
use crate::servers::Server;
use crate::wait;

/// `testbed build …` as a process of a run: if the suite fails or is interrupted, no compiler stays behind.
#[derive(Debug)]
pub(super) struct ServerBuild {
    process: Process,
    // After the process in the order of dropping.
    _run: OwnedRun,
    /// How much of its output was relayed.
    relayed: u64,
    start: Instant,
    took: Option<Duration>,
}

impl ServerBuild {
    /// Starts the build of these servers.
    pub(super) fn start(servers: &[Server]) -> anyhow::Result<Self> {
        let testbed = std::env::current_exe().context("cannot find this program")?;
        let run = OwnedRun::create("build", &testbed)?;
        let mut spec = ProcessSpec::new("servers", testbed, &run)
            .args(["build"])
            .args(servers.iter().map(|server| server.name()));
        // Go's proxy, caches and certificates are where the user's environment says.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        spec.env.extend(std::env::vars_os().filter_map(text));
        let process = Process::start(spec, &run)?;
        say("building the missing servers beside the first steps");
        Ok(Self {
            process,
            _run: run,
            relayed: 0,
            start: Instant::now(),
            took: None,
        })
    }

    /// Shows what it said since the last call.
    pub(super) fn relay(&mut self) {
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
            say(&format!("   [servers] {line}"));
        }
    }

    /// Waits for its end. An error says what failed.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        if self.took.is_some() {
            return Ok(());
        }
        let status = loop {
            self.relay();
            if let Some(status) = self.process.exit_status() {
                break status;
            }
            wait::pause();
        };
        self.relay();
        if !status.success() {
            bail!("building the servers failed ({status}); the reason is above, after [servers]");
        }
        self.took = Some(self.start.elapsed());
        Ok(())
    }

    /// How long it took, if it was waited for.
    pub(super) fn took(&self) -> Option<Duration> {
        self.took
    }
}
