//! What is still to be done, in the order in which it was asked for. Time and chance come from the caller; no I/O.

use std::time::Duration;

use tokio::time::Instant;

use super::plan::Action;
use crate::backoff::Backoff;

/// How often a thing is tried: over about 15 seconds, in which an application comes up that is just starting.
const TRIES: u32 = 5;

struct Item {
    action: Action,
    tries: u32,
    backoff: Backoff,
    at: Instant,
}

/// Things to do.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Item>,
    /// Taken out to be tried.
    trying: Option<Item>,
}

impl Queue {
    /// Takes more in. What is there already is due now, with all its tries, and keeps its place.
    pub(super) fn push(&mut self, actions: Vec<Action>, now: Instant) {
        for action in actions {
            let item = Item {
                action,
                tries: 0,
                backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(8)),
                at: now,
            };
            match self.waiting.iter_mut().find(|there| there.action == item.action) {
                Some(there) => *there = item,
                None => self.waiting.push(item),
            }
        }
    }

    /// The next thing that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Action> {
        let position = self.waiting.iter().position(|item| item.at <= now)?;
        let item = self.waiting.remove(position);
        let action = item.action.clone();
        self.trying = Some(item);
        Some(action)
    }

    /// It worked.
    pub(super) fn done(&mut self, action: &Action) {
        self.trying.take_if(|item| item.action == *action);
    }

    /// It did not work. Returns when it is tried again, `None` for never.
    pub(super) fn failed(&mut self, action: Action, now: Instant, chance: f64) -> Option<Duration> {
        let mut item = self.trying.take().filter(|item| item.action == action)?;
        if let Some(newer) = self.waiting.iter().find(|there| there.action == action) {
            return Some(newer.at.saturating_duration_since(now));
        }
        item.tries += 1;
        if item.tries >= TRIES {
            return None;
        }
        let delay = item.backoff.next(chance);
        item.at = now + delay;
        self.waiting.insert(0, item);
        Some(delay)
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.iter().map(|item| item.at).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::after::plan::Call;

    fn call(url: &str) -> Action {
        Action::Call(Call {
            method: "POST".to_owned(),
            url: url.to_owned(),
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn equal_things_are_done_once_and_in_the_order_of_the_asking() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(vec![call("a"), call("b"), call("a")], now);
        queue.push(vec![call("b"), call("c")], now);
        let mut done = Vec::new();
        while let Some(action) = queue.take(now) {
            queue.done(&action);
            done.push(action);
        }
        assert_eq!(done, [call("a"), call("b"), call("c")]);
        assert!(queue.is_empty(), "nothing is left");
    }

    #[test]
    fn what_fails_is_tried_a_few_times_and_given_up() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        queue.push(vec![call("a")], now);
        let mut tries = 0;
        while let Some(at) = queue.next() {
            now = now.max(at);
            let action = queue.take(now).unwrap();
            assert!(queue.take(now).is_none(), "a thing is not done twice at a time");
            queue.failed(action, now, 1.0);
            tries += 1;
        }
        assert_eq!(tries, TRIES, "then the next change tries it again");
    }

    #[test]
    fn a_change_in_the_middle_asks_once_more() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(vec![call("a")], now);
        let action = queue.take(now).unwrap();
        queue.push(vec![call("a")], now);
        queue.done(&action);
        assert_eq!(
            queue.take(now),
            Some(call("a")),
            "what began before the change does not count for it"
        );
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn a_failure_with_a_newer_order_behind_it_leaves_one() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(vec![call("a")], now);
        let action = queue.take(now).unwrap();
        queue.push(vec![call("a")], now);
        queue.failed(action, now, 1.0);
        let mut at = now;
        let mut count = 0;
        while let Some(next) = queue.next() {
            at = at.max(next);
            let action = queue.take(at).unwrap();
            queue.done(&action);
            count += 1;
        }
        assert_eq!(
            count, 1,
            "the newer order has all its tries, and the older one is gone"
        );
    }
}
