//! Which logs go sooner than declared, so that the audit volume is never full: a device that cannot write fails, and
//! Vault refuses every request when no other is left. Pure.

use std::collections::BTreeMap;
use std::time::SystemTime;

/// A log that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    /// Name of the file that is written.
    pub(super) base: String,
    /// Its number: the lowest is the newest.
    pub(super) number: u32,
    /// Bytes that go with it.
    pub(super) size: u64,
    /// When it was written last.
    pub(super) modified: SystemTime,
}

/// Bytes of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// All that it has.
    pub(super) total: u64,
    /// Those that we may still write.
    pub(super) free: u64,
}

/// Of the volume, the part that stays free.
const PART: u64 = 16;
/// More than this, in bytes, is written by no server between two looks.
const ENOUGH: u64 = 256 << 20;

impl Space {
    /// How many bytes are too few. Zero: there is room.
    pub(super) fn missing(self) -> u64 {
        let Self { total, free } = self;
        (total / PART).min(ENOUGH).saturating_sub(free)
    }
}

/// Those that are to go, the oldest first, until so many bytes are gained. Of each file the newest stays: into it Vault may
/// be writing still, and what fills the volume may be none of ours.
pub(super) fn sooner(mut lots: Vec<Lot>, missing: u64) -> Vec<Lot> {
    let mut newest: BTreeMap<String, u32> = BTreeMap::new();
    for Lot { base, number, .. } in &lots {
        let lowest = newest.entry(base.clone()).or_insert(*number);
        *lowest = (*lowest).min(*number);
    }
    lots.retain(|lot| newest.get(&lot.base) != Some(&lot.number));
    lots.sort_by(|a, b| (a.modified, b.number).cmp(&(b.modified, a.number)));
    let mut gained = 0_u64;
    lots.into_iter()
        .take_while(|lot| {
            let go = gained < missing;
            gained = gained.saturating_add(lot.size);
            go
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lot(base: &str, number: u32, written_at: u64) -> Lot {
        Lot {
            base: base.to_owned(),
            number,
            size: 100,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(written_at),
        }
    }

    fn gone(lots: &[Lot], missing: u64) -> Vec<String> {
        let gone = sooner(lots.to_vec(), missing).into_iter();
        gone.map(|lot| format!("{}.{}", lot.base, lot.number)).collect()
    }

    #[test]
    fn a_sixteenth_of_the_volume_stays_free_and_of_a_large_one_no_more_than_is_written_at_once() {
        let missing = |total, free| Space { total, free }.missing();
        assert_eq!(missing(1600, 100), 0);
        assert_eq!(missing(1600, 99), 1);
        assert_eq!(missing(1 << 40, 256 << 20), 0);
        assert_eq!(missing(1 << 40, 0), 256 << 20);
        assert_eq!(missing(0, 0), 0, "a file system that does not tell its size");
    }

    #[test]
    fn the_oldest_go_first_whichever_file_they_are_of_and_no_more_than_needed() {
        let lots = [
            lot("a", 1, 9),
            lot("a", 2, 5),
            lot("b", 1, 4),
            lot("b", 2, 3),
            lot("a", 3, 2),
        ];
        assert!(gone(&lots, 0).is_empty(), "there is room");
        assert_eq!(gone(&lots, 1), ["a.3"]);
        assert_eq!(gone(&lots, 100), ["a.3"]);
        assert_eq!(gone(&lots, 101), ["a.3", "b.2"]);
    }

    #[test]
    fn of_each_file_the_newest_stays() {
        let lots = [lot("a", 1, 1), lot("b", 7, 2), lot("b", 9, 1)];
        assert_eq!(gone(&lots, u64::MAX), ["b.9"]);
    }

    #[test]
    fn of_two_of_the_same_time_the_higher_number_goes_first() {
        let lots = [lot("a", 1, 1), lot("a", 2, 1), lot("a", 3, 1)];
        assert_eq!(gone(&lots, 1), ["a.3"]);
    }
}
