//! One token from its login to the next: when to renew it, when to replace it. Time comes from the caller; no I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::token::{Lease, Next};

/// Why a token is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its end is near and renewing no longer moves it.
    Spent,
    /// The server refuses to renew it. It may serve a while yet, so the login is tried without delay.
    NotRenewed,
    /// A read was denied, and the server does not know the token any more or may not say.
    Denied,
    /// It has no use to spare.
    UsedUp,
    /// What the login proves itself with was replaced.
    NewCredentials,
}

impl End {
    /// For logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "the token nears its end",
            Self::NotRenewed => "the token cannot be renewed",
            Self::Denied => "the token is not valid any more",
            Self::UsedUp => "the token has no use to spare",
            Self::NewCredentials => "the credentials' file changed",
        }
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Renew the token.
    Renew,
    /// Log in again.
    LogIn(End),
}

/// A token in use.
#[derive(Debug)]
pub(crate) struct Tenure {
    lease: Lease,
    granted: Instant,
    next: Next,
    /// When `next` is due.
    at: Option<Instant>,
    /// When a denied token is replaced; renewing goes on until then.
    replace_at: Option<Instant>,
    backoff: Backoff,
}

impl Tenure {
    /// A token as the login granted it at `now`. Renewals that fail are repeated at most `max_backoff` apart.
    pub(crate) fn new(lease: Lease, now: Instant, max_backoff: Duration, chance: f64) -> Self {
        let next = lease.next(chance);
        Self {
            lease,
            granted: now,
            next,
            at: instant(now, next),
            replace_at: None,
            backoff: Backoff::new(Duration::from_secs(1), max_backoff),
        }
    }

    /// When the next act is due; `None` for never.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at.into_iter().chain(self.replace_at).min()
    }

    /// The act that is due at `now`.
    pub(crate) fn act(&self, now: Instant) -> Option<Act> {
        if self.replace_at.is_some_and(|at| at <= now) {
            return Some(Act::LogIn(End::Denied));
        }
        self.at.filter(|at| *at <= now)?;
        match self.next {
            Next::Keep => None,
            Next::Renew(_) => Some(Act::Renew),
            Next::LogIn(_) => Some(Act::LogIn(End::Spent)),
        }
    }

    /// A renewal was granted.
    pub(crate) fn renewed(&mut self, granted: Duration, renewable: bool, now: Instant, chance: f64) {
        self.lease.renewed(granted, renewable);
        self.granted = now;
        self.backoff.reset();
        self.next = self.lease.next(chance);
        self.at = instant(now, self.next);
    }

    /// A renewal failed and may succeed later. Returns the delay until it is tried again, or that the token ends before.
    pub(crate) fn not_renewed_yet(&mut self, now: Instant, chance: f64) -> Result<Duration, End> {
        let delay = self.backoff.next(chance);
        let retry = now + delay;
        let end = self.lease.end().and_then(|end| self.granted.checked_add(end));
        if end.is_some_and(|end| retry >= end) {
            return Err(End::Spent);
        }
        self.at = Some(retry);
        Ok(delay)
    }

    /// Whether the last renewal failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    /// Whether the token is to be replaced because a read was denied.
    pub(crate) fn is_doubted(&self) -> bool {
        self.replace_at.is_some()
    }

    /// A read was denied and the token may be why: it is replaced at this time, and kept alive until then.
    pub(crate) fn doubted(&mut self, replace_at: Instant) {
        self.replace_at = Some(replace_at);
    }
}

fn instant(granted: Instant, next: Next) -> Option<Instant> {
    match next {
        Next::Keep => None,
        // What no clock can add is never.
        Next::Renew(after) | Next::LogIn(after) => granted.checked_add(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn tenure(now: Instant) -> Tenure {
        Tenure::new(Lease::new(MINUTE, true), now, MINUTE, 0.0)
    }

    #[test]
    fn a_doubted_token_is_renewed_until_it_is_replaced() {
        let now = Instant::now();
        let mut tenure = tenure(now);
        tenure.doubted(now + 5 * MINUTE);
        let due = tenure.due().unwrap();
        assert_eq!(due, now + MINUTE * 2 / 3, "renewing comes before replacing");
        assert_eq!(
            tenure.act(due),
            Some(Act::Renew),
            "a token of a minute must not wait for minutes"
        );
        tenure.renewed(10 * MINUTE, true, due, 0.0);
        assert_eq!(tenure.due(), Some(now + 5 * MINUTE), "the replacement stands");
        assert_eq!(
            tenure.act(now + 5 * MINUTE),
            Some(Act::LogIn(End::Denied)),
            "and comes when it is due"
        );
    }

    #[test]
    fn nothing_is_done_before_it_is_due() {
        let now = Instant::now();
        assert_eq!(tenure(now).act(now), None, "a fresh token");
    }

    #[test]
    fn a_renewal_that_fails_is_repeated_only_while_the_token_lives() {
        let now = Instant::now();
        let mut tenure = tenure(now);
        let mut at = tenure.due().unwrap();
        let end = loop {
            assert!(at < now + MINUTE, "a try after the end is of no use");
            assert_eq!(tenure.act(at), Some(Act::Renew), "it is tried again");
            match tenure.not_renewed_yet(at, 1.0) {
                Ok(delay) => at += delay,
                Err(end) => break end,
            }
        };
        assert_eq!(end, End::Spent, "then a login is the only way");
    }

    #[test]
    fn a_lease_beyond_any_clock_never_ends() {
        let lease = Lease::new(Duration::MAX, true);
        assert_eq!(
            Tenure::new(lease, Instant::now(), MINUTE, 0.0).due(),
            None,
            "nothing ends"
        );
    }

    #[test]
    fn a_token_without_end_has_nothing_due() {
        let tenure = Tenure::new(Lease::new(Duration::ZERO, false), Instant::now(), MINUTE, 0.0);
        assert_eq!(tenure.due(), None, "nothing ends");
    }
}
