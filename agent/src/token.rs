//! When to renew a token and when to log in again: decided from what the server said, without I/O.

use std::time::Duration;

use crate::backoff::Backoff;

/// A lease that came out shorter than before by more than this is near its end; servers round to seconds.
const SLACK: Duration = Duration::from_secs(2);

/// What the server granted, first and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    first: Duration,
    last: Duration,
    renewable: bool,
}

/// What to do, counted from the moment of the last grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The token has no end.
    Keep,
    /// Renew it.
    Renew(Duration),
    /// Log in again: it cannot be renewed, or its maximum is near.
    LogIn(Duration),
}

impl Lease {
    /// A lease as the login granted it; zero for a token without end.
    pub(crate) fn new(granted: Duration, renewable: bool) -> Self {
        Self {
            first: granted,
            last: granted,
            renewable,
        }
    }

    /// A renewal was granted.
    pub(crate) fn renewed(&mut self, granted: Duration, renewable: bool) {
        // A role whose ttl was raised: shrinking is measured against the longest grant.
        self.first = self.first.max(granted);
        self.last = granted;
        self.renewable = renewable;
    }

    /// When the token ends if nothing is done; `None` for never.
    pub(crate) fn end(&self) -> Option<Duration> {
        (!self.last.is_zero()).then_some(self.last)
    }

    /// At two thirds of the lease, up to a tenth earlier by `chance` (0..1) so that many agents do not call at once.
    pub(crate) fn next(&self, chance: f64) -> Next {
        if self.last.is_zero() {
            return Next::Keep;
        }
        let when = self
            .last
            .mul_f64((2.0 / 3.0) * (1.0 - 0.1 * chance.clamp(0.0, 1.0)));
        // A shrinking lease is the sign that max_ttl or explicit_max_ttl is near.
        let shrinks = self.last.saturating_add(SLACK) < self.first || self.last < self.first / 2;
        if self.renewable && !shrinks {
            Next::Renew(when)
        } else {
            Next::LogIn(when)
        }
    }
}

/// Spaces out the logins that a denial asked for: a server that says only "permission denied" cannot tell a dead
/// token from a missing policy, and a missing policy must not make a storm of logins.
#[derive(Debug)]
pub(crate) struct DenialGate {
    backoff: Backoff,
    last: Option<Duration>,
}

impl DenialGate {
    /// A token that served this long counts as one that had been good.
    const GOOD: Duration = Duration::from_secs(600);

    pub(crate) fn new() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(300)),
            last: None,
        }
    }

    /// How long to wait before the login, at time `now` (since the start of the process).
    pub(crate) fn delay(&mut self, now: Duration, chance: f64) -> Duration {
        let quiet = self.last.is_none_or(|last| now.saturating_sub(last) > Self::GOOD);
        self.last = Some(now);
        if quiet {
            self.backoff.reset();
            return Duration::ZERO;
        }
        self.backoff.next(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_service_token_is_renewed_at_two_thirds_of_its_lease() {
        let lease = Lease::new(HOUR, true);
        assert_eq!(lease.next(0.0), Next::Renew(Duration::from_secs(2400)));
        assert_eq!(
            lease.next(1.0),
            Next::Renew(Duration::from_secs(2160)),
            "jitter makes it earlier, never later"
        );
    }

    #[test]
    fn a_batch_token_is_replaced_before_it_ends() {
        assert_eq!(
            Lease::new(HOUR, false).next(0.0),
            Next::LogIn(Duration::from_secs(2400))
        );
    }

    #[test]
    fn a_shrinking_lease_means_a_new_login_before_the_end() {
        // As seen on a server: ttl 5 s, explicit_max_ttl 12 s, a renewal every 2 s grants 5, 5, 5, 4, 2.
        let mut lease = Lease::new(Duration::from_secs(5), true);
        for granted in [5, 5, 4] {
            lease.renewed(Duration::from_secs(granted), true);
            assert!(
                matches!(lease.next(0.0), Next::Renew(_)),
                "{granted} s are within the server's rounding"
            );
        }
        lease.renewed(Duration::from_secs(2), true);
        let Next::LogIn(when) = lease.next(0.0) else {
            panic!("2 s of 5 s must end in a login: {lease:?}")
        };
        assert!(
            when < Duration::from_secs(2),
            "the login must come before the end: {when:?}"
        );
    }

    #[test]
    fn a_periodic_token_is_renewed_for_ever() {
        let mut lease = Lease::new(HOUR, true);
        for _ in 0..1000 {
            lease.renewed(HOUR, true);
            assert!(
                matches!(lease.next(0.5), Next::Renew(_)),
                "a period does not shrink"
            );
        }
    }

    #[test]
    fn a_token_without_end_is_left_alone() {
        assert_eq!(Lease::new(Duration::ZERO, false).next(0.5), Next::Keep);
    }

    #[test]
    fn denials_in_a_row_make_logins_rare() {
        let mut gate = DenialGate::new();
        let mut now = Duration::from_secs(1000);
        assert_eq!(
            gate.delay(now, 0.5),
            Duration::ZERO,
            "the first denial is acted on at once"
        );
        let mut logins = 0;
        while now < Duration::from_secs(1000 + 3600) {
            now += gate.delay(now, 0.5) + Duration::from_millis(10);
            logins += 1;
        }
        assert!(logins < 30, "{logins} logins in an hour of denials");
        assert_eq!(
            gate.delay(now + Duration::from_secs(601), 0.5),
            Duration::ZERO,
            "a good while clears the record"
        );
    }
}
