//! Reading the process table (/proc), and ending a process without ever hitting a stranger that got its pid.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::wait;

/// How long the kernel may take to end a process after SIGKILL (it may hang in disk I/O).
const KILL_DEADLINE: Duration = Duration::from_secs(60);

/// One process in the history of this boot: a pid alone is used again, with its start time it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// Field 22 of /proc/PID/stat: clock ticks since boot.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now. `None` when there is none, or only its zombie.
    pub fn living(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = parse_stat(&stat)?;
        (state != 'Z' && state != 'X').then_some(Self { pid, start })
    }

    /// Whether this very process still runs.
    pub fn is_running(self) -> bool {
        Self::living(self.pid) == Some(self)
    }

    /// Sends SIGKILL and waits until the process is gone. A process that is gone already is no error.
    pub fn kill(self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        wait::until(&format!("the end of process {}", self.pid), KILL_DEADLINE, || {
            if self.is_running() {
                bail!("it is still there");
            }
            Ok(())
        })
    }

    /// Sends a signal, if this very process still runs.
    pub fn signal(self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        // The handle first, then the check: from here on the kernel cannot give the pid to somebody else unnoticed.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot open process {}", self.pid)),
        };
        if !self.is_running() {
            return Ok(());
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal process {}", self.pid)),
        }
    }
}

/// Every living process whose environment holds exactly `NAME=value`, this one excepted.
///
/// Processes of other users cannot be read and are left out.
pub fn with_environment(name: &str, value: &str) -> io::Result<Vec<ProcessId>> {
    let wanted = format!("{name}={value}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Identity before environment: if the pid changes hands in between, the identity no longer runs.
        let Some(id) = ProcessId::living(pid) else {
            continue;
        };
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
            continue;
        };
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes());
        if marked && pid != std::process::id() {
            found.push(id);
        }
    }
    Ok(found)
}

/// State and start time out of the text of /proc/PID/stat. The command name may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        assert_eq!(
            parse_stat(stat),
            Some(('S', 777)),
            "state and start time of {stat}"
        );
    }

    #[test]
    fn a_pid_with_another_start_time_is_somebody_else() {
        let me = ProcessId::living(std::process::id()).unwrap();
        let stranger = ProcessId {
            start: me.start + 1,
            ..me
        };
        assert!(me.is_running(), "this process runs");
        assert!(
            !stranger.is_running(),
            "the start time tells a recycled pid apart"
        );
        stranger.kill().unwrap();
    }
}
