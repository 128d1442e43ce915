//! How long to wait before an object that failed is tried again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// First pause.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Counts failures in a row per object. Lost with the process, which then starts quickly again: wanted.
#[derive(Debug, Default)]
pub struct Retries(Mutex<HashMap<String, u32>>);

impl Retries {
    /// Notes a failure of the object `uid` and says how long to wait.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = map.entry(uid.to_owned()).or_insert(0);
        let pause = pause(*failures, uid);
        *failures = failures.saturating_add(1);
        pause
    }

    /// Notes a success of the object `uid`, or its end.
    pub fn succeeded(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// 1 s, 2 s, 4 s … 60 s after `failures` failures, each shortened by up to a quarter so that many objects that
/// failed at once do not come back at once. The part depends on the object and the count alone.
pub fn pause(failures: u32, uid: &str) -> Duration {
    let full = FIRST
        .saturating_mul(2_u32.saturating_pow(failures.min(10)))
        .min(LONGEST);
    spread(full, &(uid, failures))
}

/// `full` shortened by up to a quarter, by the hash of `seed`.
pub fn spread(full: Duration, seed: &impl Hash) -> Duration {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 251).unwrap_or(0);
    full.saturating_sub(full / 1000 * thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        for (failures, full) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (u32::MAX, 60)] {
            let pause = pause(failures, "uid");
            let full = Duration::from_secs(full);
            assert!(
                pause <= full && pause >= full * 3 / 4,
                "after {failures} failures: {pause:?} of {full:?}"
            );
        }
    }

    #[test]
    fn objects_that_failed_together_come_back_apart() {
        let pauses: std::collections::BTreeSet<Duration> =
            (0..100).map(|n| pause(6, &format!("uid-{n}"))).collect();
        assert!(
            pauses.len() > 50,
            "only {} different pauses for 100 objects",
            pauses.len()
        );
    }

    #[test]
    fn a_success_starts_the_count_anew() {
        let retries = Retries::default();
        for _ in 0..8 {
            retries.failed("a");
        }
        assert!(
            retries.failed("a") > Duration::from_secs(40),
            "the ninth pause is long"
        );
        retries.succeeded("a");
        assert!(
            retries.failed("a") <= FIRST,
            "the first pause after a success is short"
        );
        assert!(
            retries.failed("b") <= FIRST,
            "another object is counted by itself"
        );
    }
}
