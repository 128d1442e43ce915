//! How long to wait after a failure: doubling, with jitter, within the process so that no restart loop is needed.

use std::time::Duration;

/// A growing delay. Time and chance come from the caller.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays from `least` up to `most`.
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most: most.max(least),
            failures: 0,
        }
    }

    /// The delay after one more failure. `chance` is in 0..1: between half of the full delay and all of it.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let full = self
            .least
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(self.most);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How many attempts in a row failed.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let delays: Vec<u64> = (0..9).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(
            backoff.next(0.0),
            Duration::from_millis(500),
            "half of the full delay at least"
        );
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let last = (0..1000).map(|_| backoff.next(1.0)).last();
        assert_eq!(last, Some(Duration::from_secs(60)), "the limit holds for ever");
    }
}
