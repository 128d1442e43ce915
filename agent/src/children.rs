//! Processes that we start: how they end is learned here. As process 1 of a container also those are reaped whose parent
//! has ended. Talks to the system.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, wait, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
    /// Somebody else has waited for it.
    Lost,
}

impl Ending {
    /// The code as a shell tells it: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => 128_u8.saturating_add(u8::try_from(number).unwrap_or(127)),
            Self::Lost => 1,
        }
    }

    fn of(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(number)) => Self::Signal(number),
            (None, None) => Self::Lost,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::Lost => f.write_str("an unknown end"),
        }
    }
}

/// All processes that we started and have not been asked about since they ended.
pub(crate) struct Children {
    known: RefCell<BTreeMap<i32, Option<Ending>>>,
    /// As process 1 we are the parent of every process whose own has ended.
    all: bool,
}

impl Children {
    pub(crate) fn new() -> Self {
        Self {
            known: RefCell::default(),
            all: getpid().is_init(),
        }
    }

    /// Starts a process.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Pid> {
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        self.known.borrow_mut().insert(pid.as_raw_pid(), None);
        Ok(pid)
    }

    /// Waits until this process has ended. May be dropped and asked again.
    pub(crate) async fn ended(&self, pid: Pid) -> io::Result<Ending> {
        // Before the first look: an end in between would not be seen.
        let mut ends = signal(SignalKind::child())?;
        loop {
            self.reap();
            let there = self.known.borrow().get(&pid.as_raw_pid()).copied();
            match there {
                Some(None) => {}
                Some(Some(ending)) => {
                    self.known.borrow_mut().remove(&pid.as_raw_pid());
                    return Ok(ending);
                }
                None => return Ok(Ending::Lost),
            }
            if ends.recv().await.is_none() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    /// Reaps for ever. Without it processes that lost their parent would stay as zombies in a container of ours.
    pub(crate) async fn tend(&self) {
        let Ok(mut ends) = signal(SignalKind::child()) else {
            return std::future::pending().await;
        };
        loop {
            self.reap();
            if ends.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }

    fn reap(&self) {
        let mut known = self.known.borrow_mut();
        if self.all {
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if let Some(ending) = known.get_mut(&pid.as_raw_pid()) {
                    *ending = Some(Ending::of(status));
                }
            }
            return;
        }
        for (pid, ending) in known.iter_mut().filter(|(_, ending)| ending.is_none()) {
            match Pid::from_raw(*pid).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG)) {
                Some(Ok(Some((_, status)))) => *ending = Some(Ending::of(status)),
                Some(Err(Errno::CHILD)) => *ending = Some(Ending::Lost),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        command
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_told_as_a_shell_tells_it() {
        let children = Children::new();
        for (text, wanted) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("kill -KILL $$", 137),
            ("kill $$", 143),
        ] {
            let pid = children.start(&mut shell(text)).unwrap();
            let ending = children.ended(pid).await.unwrap();
            assert_eq!(ending.exit_code(), wanted, "{text}: {ending}");
        }
    }

    #[tokio::test]
    async fn an_end_that_came_before_the_question_is_not_lost() {
        let children = Children::new();
        let first = children.start(&mut shell("exit 3")).unwrap();
        let second = children.start(&mut shell("exit 4")).unwrap();
        // Both have ended when the first is asked about.
        assert_eq!(children.ended(second).await.unwrap(), Ending::Code(4));
        assert_eq!(children.ended(first).await.unwrap(), Ending::Code(3));
        assert!(
            children.known.borrow().is_empty(),
            "nothing is remembered of processes that were asked about"
        );
    }
}
