//! Which backups go. Pure. The newest good one never does, and nothing goes that has another form of name.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// How long an unfinished backup is left alone: another operator, which has just lost the lead, might be writing it.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// How many backups are kept and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many.
    pub keep: usize,
    /// None is older than this.
    pub age: Option<Duration>,
}

/// One object of this cluster's in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub object: String,
    /// When it was made, by its name.
    pub at: Timestamp,
    /// Bytes.
    pub size: u64,
    /// Whether it is described, and so finished.
    pub finished: bool,
}

/// What is to be deleted.
pub fn doomed(found: &[Found], retention: Retention, now: Timestamp) -> Vec<&Found> {
    let Retention { keep, age } = retention;
    let is_older = |found: &Found, than: Duration| {
        Duration::try_from(now.duration_since(found.at)).is_ok_and(|is| is > than)
    };
    let mut good: Vec<&Found> = found.iter().filter(|found| found.finished).collect();
    good.sort_by_key(|found| std::cmp::Reverse(found.at));
    let old = good.into_iter().enumerate().skip(1).filter_map(|(place, found)| {
        let goes = place >= keep || age.is_some_and(|age| is_older(found, age));
        goes.then_some(found)
    });
    let left = found
        .iter()
        .filter(|found| !found.finished && is_older(found, UNFINISHED));
    old.chain(left).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3600;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * HOUR).unwrap()
    }

    fn found(hour: i64, finished: bool) -> Found {
        Found {
            object: format!("o{hour}"),
            at: at(hour),
            size: 1,
            finished,
        }
    }

    fn gone(found: &[Found], keep: usize, days: Option<u64>, now: i64) -> Vec<String> {
        let age = days.map(|days| Duration::from_secs(days * 24 * 3600));
        let doomed = doomed(found, Retention { keep, age }, at(now));
        doomed.into_iter().map(|found| found.object.clone()).collect()
    }

    #[test]
    fn what_exceeds_the_number_or_the_age_goes_oldest_first_to_be_left_out() {
        let all = [
            found(100, true),
            found(124, true),
            found(148, true),
            found(172, true),
        ];
        assert_eq!(gone(&all, 3, None, 173), ["o100"]);
        assert_eq!(
            gone(&all, 9, Some(2), 173),
            ["o124", "o100"],
            "older than two days"
        );
        assert_eq!(gone(&all, 9, None, 9999), [""; 0], "no limit of age");
    }

    #[test]
    fn the_newest_good_one_stays_however_old_it_is() {
        let all = [found(1, true), found(100, true), found(200, false)];
        assert_eq!(gone(&all, 1, Some(1), 99_999), ["o1", "o200"]);
        assert_eq!(
            gone(&all, 0, Some(0), 200),
            ["o1"],
            "an unfinished one may still be written"
        );
        assert_eq!(
            gone(&[found(100, false)], 1, None, 99_999),
            ["o100"],
            "unfinished for long"
        );
    }

    proptest! {
        #[test]
        fn one_good_backup_always_remains(
            hours in proptest::collection::btree_map(0i64..500, any::<bool>(), 0..20),
            keep in 0usize..5, days in proptest::option::of(0u64..10), now in 0i64..600,
        ) {
            let all: Vec<Found> = hours.iter().map(|(hour, finished)| found(*hour, *finished)).collect();
            let gone = gone(&all, keep, days, now);
            let newest = all.iter().rev().find(|found| found.finished);
            if let Some(newest) = newest {
                prop_assert!(!gone.contains(&newest.object), "the newest good one, {}", newest.object);
            }
        }
    }
}
