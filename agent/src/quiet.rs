//! Gathers changes of one file: it is written once nothing has changed for a while, or once it has waited long enough. The
//! first rendering waits for nothing. Time comes from the caller; no I/O.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::time::Instant;

use crate::config::Wait;

/// What tells one content from another, without keeping it.
type Mark = u64;

/// One file's changes.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    written: Option<Mark>,
    pending: Option<Pending>,
    /// It was to be written and could not be: whoever tries again need not wait.
    is_overdue: bool,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    mark: Mark,
    first: Instant,
    last: Instant,
}

impl Quiet {
    /// A content was rendered. Returns whether it is to be written now.
    pub(crate) fn offer(&mut self, content: &[u8], wait: Option<Wait>, now: Instant) -> bool {
        let mark = mark(content);
        // The first one, one that could not be written, and all of those who do not wait.
        let (Some(wait), Some(written), false) = (wait, self.written, self.is_overdue) else {
            self.pending = None;
            return true;
        };
        if mark == written {
            self.pending = None;
            return true;
        }
        let pending = match self.pending {
            Some(pending) if pending.mark == mark => pending,
            Some(pending) => Pending {
                mark,
                last: now,
                ..pending
            },
            None => Pending {
                mark,
                first: now,
                last: now,
            },
        };
        self.pending = Some(pending);
        now >= due(&pending, wait)
    }

    /// The content was written.
    pub(crate) fn written(&mut self, content: &[u8]) {
        self.written = Some(mark(content));
        self.pending = None;
        self.is_overdue = false;
    }

    /// It could not be written. When it is tried again is not decided here.
    pub(crate) fn not_written(&mut self) {
        self.pending = None;
        self.is_overdue = true;
    }

    /// When what is held back is to be rendered again and offered.
    pub(crate) fn due(&self, wait: Option<Wait>) -> Option<Instant> {
        Some(due(self.pending.as_ref()?, wait?))
    }
}

fn due(pending: &Pending, wait: Wait) -> Instant {
    let Wait { min, max } = wait;
    (pending.last + min).min(pending.first + max)
}

fn mark(content: &[u8]) -> Mark {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WAIT: Option<Wait> = Some(Wait {
        min: Duration::from_secs(5),
        max: Duration::from_secs(20),
    });

    fn after(seconds: u64, start: Instant) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn written(content: &[u8]) -> Quiet {
        let mut quiet = Quiet::default();
        quiet.written(content);
        quiet
    }

    #[test]
    fn the_first_rendering_and_one_without_a_wait_are_written_at_once() {
        let now = Instant::now();
        assert!(Quiet::default().offer(b"one", WAIT, now), "the app waits for it");
        assert!(
            written(b"one").offer(b"two", None, now),
            "nobody asked for a wait"
        );
        assert!(
            written(b"one").offer(b"one", WAIT, now),
            "the file may have been lost"
        );
    }

    #[test]
    fn a_change_waits_until_nothing_has_changed_for_the_minimum() {
        let start = Instant::now();
        let mut quiet = written(b"one");
        assert!(!quiet.offer(b"two", WAIT, start));
        assert!(
            !quiet.offer(b"three", WAIT, after(4, start)),
            "another one begins the wait anew"
        );
        assert_eq!(quiet.due(WAIT), Some(after(9, start)));
        assert!(
            !quiet.offer(b"three", WAIT, after(8, start)),
            "the same one does not"
        );
        assert!(quiet.offer(b"three", WAIT, after(9, start)));
        quiet.written(b"three");
        assert_eq!(quiet.due(WAIT), None, "nothing is held back");
    }

    #[test]
    fn changes_without_end_are_written_after_the_maximum() {
        let start = Instant::now();
        let mut quiet = written(b"start");
        let mut at = 0;
        while !quiet.offer(format!("{at}").as_bytes(), WAIT, after(at, start)) {
            at += 1;
            assert!(at <= 20, "the maximum has passed");
        }
        assert_eq!(at, 20);
    }

    #[test]
    fn what_could_not_be_written_is_due_to_nobody_and_held_from_nobody() {
        let start = Instant::now();
        let mut quiet = written(b"one");
        quiet.offer(b"two", WAIT, start);
        assert!(quiet.offer(b"two", WAIT, after(5, start)));
        quiet.not_written();
        assert_eq!(
            quiet.due(WAIT),
            None,
            "a due time in the past would make a busy loop"
        );
        assert!(
            quiet.offer(b"two", WAIT, after(6, start)),
            "it has waited long enough"
        );
    }

    #[test]
    fn a_change_that_was_taken_back_needs_no_writing() {
        let start = Instant::now();
        let mut quiet = written(b"one");
        quiet.offer(b"two", WAIT, start);
        assert!(quiet.offer(b"one", WAIT, after(1, start)));
        assert_eq!(quiet.due(WAIT), None, "nothing is held back");
    }

    mod any_changes {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(1000))]

            /// Whatever changes when: what is rendered is in the file after the maximum, and nothing is written that was not.
            #[test]
            fn no_change_waits_longer_than_the_maximum(changes in prop::collection::vec((0_u64..12, 0_u8..4), 1..40)) {
                let start = Instant::now();
                let mut quiet = written(&[0]);
                let (mut time, mut rendered, mut in_file, mut differs_since) = (0, 0_u8, 0_u8, None);
                let last = (100, rendered);
                for (pause, content) in changes.into_iter().chain([last]) {
                    let next = time + pause;
                    // The renderer comes back whenever something is due.
                    while let Some(due) = quiet.due(WAIT).filter(|due| *due <= after(next, start)) {
                        prop_assert!(quiet.offer(&[rendered], WAIT, due), "due and held back");
                        quiet.written(&[rendered]);
                        in_file = rendered;
                        differs_since = None;
                    }
                    time = next;
                    if let Some(since) = differs_since {
                        prop_assert!(time < since + 20, "held back for {} s", time - since);
                    }
                    rendered = content;
                    if quiet.offer(&[rendered], WAIT, after(time, start)) {
                        quiet.written(&[rendered]);
                        in_file = rendered;
                    }
                    differs_since = if rendered == in_file { None } else { differs_since.or(Some(time)) };
                }
            }
        }
    }
}
