//! Whether the server is to be signalled. Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

use super::process::Server;

/// How long after a signal another one is sent, should the server show the old certificate still.
const REPEAT: Duration = Duration::from_secs(60);

/// What was found out so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// This process has shown this certificate.
    settled: Option<(Server, Vec<u8>)>,
    /// This process was signalled for this certificate.
    told: Option<(Server, Vec<u8>, Instant)>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It shows what lies on disk.
    Settled,
    /// It was told a moment ago.
    Wait,
    /// It is to be told.
    Signal {
        /// It was told before, and did not take it.
        again: bool,
    },
}

impl State {
    /// Whether nothing is to be asked: this process has shown this certificate, and only we make it show another.
    pub(super) fn is_settled(&self, server: Server, wanted: &[u8]) -> bool {
        matches!(&self.settled, Some((who, what)) if *who == server && what == wanted)
    }

    /// Whether this process has shown a certificate: its signal handler is in place, before which SIGHUP would end it.
    pub(super) fn has_started(&self, server: Server) -> bool {
        let settled = self.settled.as_ref().map(|(who, _)| *who);
        let told = self.told.as_ref().map(|(who, ..)| *who);
        settled == Some(server) || told == Some(server)
    }

    /// What follows from the certificate that the server shows. A server that shows one has started: its signal
    /// handler is in place, before which SIGHUP would end it.
    pub(super) fn judge(&mut self, server: Server, wanted: &[u8], shown: &[u8], now: Instant) -> Verdict {
        if shown == wanted {
            self.settled = Some((server, wanted.to_vec()));
            return Verdict::Settled;
        }
        let told = match &self.told {
            Some((who, what, at)) if *who == server && what == wanted => Some(*at),
            _ => None,
        };
        if told.is_some_and(|at| now.duration_since(at) < REPEAT) {
            return Verdict::Wait;
        }
        self.told = Some((server, wanted.to_vec(), now));
        // It is about to show another one: what it has shown before says nothing any more.
        self.settled = None;
        Verdict::Signal {
            again: told.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Server = Server { pid: 7, started: 1 };
    /// The same number, another process.
    const TWO: Server = Server { pid: 7, started: 2 };

    #[test]
    fn a_server_that_shows_what_lies_on_disk_is_left_alone() {
        let mut state = State::default();
        assert_eq!(state.judge(ONE, b"a", b"a", Instant::now()), Verdict::Settled);
        assert!(state.is_settled(ONE, b"a"), "nothing is to be asked any more");
        assert!(state.has_started(ONE) && !state.has_started(TWO));
        assert!(!state.is_settled(ONE, b"b"), "a new file");
        assert!(!state.is_settled(TWO, b"a"), "a new process");
    }

    #[test]
    fn a_new_file_is_told_once_and_again_only_after_a_minute() {
        let (mut state, start) = (State::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            state.judge(ONE, b"b", b"a", at(0)),
            Verdict::Signal { again: false }
        );
        assert!(state.has_started(ONE), "it has shown another certificate");
        assert_eq!(
            state.judge(ONE, b"b", b"a", at(3)),
            Verdict::Wait,
            "it may be at it"
        );
        assert_eq!(
            state.judge(ONE, b"b", b"a", at(60)),
            Verdict::Signal { again: true }
        );
        assert_eq!(
            state.judge(ONE, b"c", b"a", at(61)),
            Verdict::Signal { again: false },
            "another file"
        );
        assert_eq!(
            state.judge(TWO, b"c", b"a", at(62)),
            Verdict::Signal { again: false },
            "another process"
        );
        assert_eq!(state.judge(TWO, b"c", b"c", at(63)), Verdict::Settled);
    }

    #[test]
    fn a_file_that_went_back_after_the_signal_is_looked_at_again() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.judge(ONE, b"a", b"a", now), Verdict::Settled);
        assert_eq!(
            state.judge(ONE, b"b", b"a", now),
            Verdict::Signal { again: false }
        );
        assert!(
            !state.is_settled(ONE, b"a"),
            "the server may have taken the one in between"
        );
        assert_eq!(
            state.judge(ONE, b"a", b"b", now),
            Verdict::Signal { again: false }
        );
    }

    #[test]
    fn a_file_that_went_back_to_what_the_server_shows_needs_no_signal() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(
            state.judge(ONE, b"b", b"a", now),
            Verdict::Signal { again: false }
        );
        assert_eq!(state.judge(ONE, b"a", b"a", now), Verdict::Settled);
    }
}
