//! What to do with the program when something happens. Pure; time comes from the caller.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::signals;

/// What a change of the variables means for the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnChange {
    /// It is stopped and started with the new ones.
    Restart,
    /// It gets a signal, and reads what it wants itself.
    Signal(Signal),
    /// Nothing: it keeps the old ones until it is started anew.
    Nothing,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Send(Signal),
    /// Start it again.
    Start,
    /// End with its code.
    Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It runs.
    Running,
    /// It was told to stop so that it can be started again.
    Restarting { kill_at: Instant },
    /// Somebody wants it to end: nothing starts it again.
    Ending,
}

/// One program over its restarts.
#[derive(Debug)]
pub(super) struct Supervisor {
    on_change: OnChange,
    stop_signal: Signal,
    stop_timeout: Duration,
    state: State,
}

impl Supervisor {
    pub(super) fn new(on_change: OnChange, stop_signal: Signal, stop_timeout: Duration) -> Self {
        Self {
            on_change,
            stop_signal,
            stop_timeout,
            state: State::Running,
        }
    }

    /// The variables are others.
    pub(super) fn changed(&mut self, now: Instant) -> Act {
        match (self.state, self.on_change) {
            (State::Running, OnChange::Restart) => {
                self.state = State::Restarting {
                    kill_at: now + self.stop_timeout,
                };
                Act::Send(self.stop_signal)
            }
            (State::Running, OnChange::Signal(signal)) => Act::Send(signal),
            // While it restarts: it is started with the newest ones anyway.
            (State::Restarting { .. } | State::Ending, _) | (State::Running, OnChange::Nothing) => {
                Act::Nothing
            }
        }
    }

    /// We got a signal, which is meant for the program.
    pub(super) fn signalled(&mut self, signal: Signal) -> Act {
        if signals::asks_to_end(signal) {
            self.state = State::Ending;
        }
        Act::Send(signal)
    }

    /// The program has ended.
    pub(super) fn ended(&mut self) -> Act {
        match self.state {
            State::Restarting { .. } => {
                self.state = State::Running;
                Act::Start
            }
            State::Running | State::Ending => Act::Exit,
        }
    }

    /// When [`Self::late`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Restarting { kill_at } => Some(kill_at),
            State::Running | State::Ending => None,
        }
    }

    /// It took too long to stop.
    pub(super) fn late(&mut self) -> Act {
        if let State::Restarting { kill_at } = &mut self.state {
            // Nothing survives SIGKILL; a process that cannot be scheduled may take a while to go.
            *kill_at += self.stop_timeout.max(Duration::from_secs(1));
            return Act::Send(Signal::KILL);
        }
        Act::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn supervisor(on_change: OnChange) -> Supervisor {
        Supervisor::new(on_change, Signal::TERM, GRACE)
    }

    #[test]
    fn a_change_restarts_the_program_once_however_many_follow() {
        let now = Instant::now();
        let mut supervisor = supervisor(OnChange::Restart);
        assert_eq!(supervisor.changed(now), Act::Send(Signal::TERM));
        assert_eq!(supervisor.changed(now), Act::Nothing, "it is stopping already");
        assert_eq!(supervisor.ended(), Act::Start);
        assert_eq!(supervisor.due(), None, "nothing is to be killed any more");
        assert_eq!(supervisor.ended(), Act::Exit, "its own end is the end");
    }

    #[test]
    fn a_program_that_does_not_stop_is_killed_and_started_again() {
        let now = Instant::now();
        let mut supervisor = supervisor(OnChange::Restart);
        supervisor.changed(now);
        assert_eq!(supervisor.due(), Some(now + GRACE));
        assert_eq!(supervisor.late(), Act::Send(Signal::KILL));
        assert!(
            supervisor.due() > Some(now + GRACE),
            "it must not be killed in a busy loop"
        );
        assert_eq!(supervisor.ended(), Act::Start);
    }

    #[test]
    fn a_program_that_was_told_to_end_is_never_started_again() {
        let now = Instant::now();
        let mut asked = supervisor(OnChange::Restart);
        assert_eq!(asked.signalled(Signal::TERM), Act::Send(Signal::TERM));
        assert_eq!(asked.changed(now), Act::Nothing, "a pod that ends is left to end");
        assert_eq!(asked.ended(), Act::Exit);

        let mut restarting = supervisor(OnChange::Restart);
        restarting.changed(now);
        restarting.signalled(Signal::TERM);
        assert_eq!(restarting.ended(), Act::Exit, "also in the middle of a restart");
    }

    #[test]
    fn other_signals_are_passed_on_and_change_nothing() {
        let mut supervisor = supervisor(OnChange::Restart);
        for signal in [Signal::HUP, Signal::USR1, Signal::WINCH] {
            assert_eq!(supervisor.signalled(signal), Act::Send(signal));
        }
        assert_eq!(supervisor.changed(Instant::now()), Act::Send(Signal::TERM));
    }

    #[test]
    fn a_change_signals_the_program_or_does_nothing_as_asked() {
        let now = Instant::now();
        assert_eq!(
            supervisor(OnChange::Signal(Signal::HUP)).changed(now),
            Act::Send(Signal::HUP)
        );
        assert_eq!(supervisor(OnChange::Nothing).changed(now), Act::Nothing);
    }
}
