//! The line in which the roles of one Vault wait to be compared with it. Pure: the time is given.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::RESYNC;
use super::pace::INTERVAL;
use crate::backoff::spread;

/// How many requests a comparison is taken for before one was counted.
const USUAL: u32 = 6;

/// When it is a role's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    In(Duration),
}

/// Who waits, and until when.
#[derive(Debug, Default)]
pub(super) struct Line {
    roles: HashMap<String, Place>,
    /// Where the next one joins.
    tail: Option<Instant>,
    /// Requests of the last comparison.
    requests: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// When the next comparison is due.
    due: Instant,
    /// Its turn, once it is due.
    turn: Option<Instant>,
    /// Fingerprint of the CA of its Vault at the last look.
    ca: Option<u64>,
}

impl Line {
    /// Whether it is the turn of this role. One that was not heard of before is due, and so are all when the CA of their Vault
    /// is another: some have it in their Secrets. None: it is not read yet.
    pub(super) fn ask(&mut self, role: &str, ca: Option<u64>, now: Instant) -> Turn {
        let place = self.roles.entry(role.to_owned()).or_insert(Place {
            due: now,
            turn: None,
            ca: None,
        });
        if let Some(ca) = ca
            && place.ca.replace(ca).is_some_and(|before| before != ca)
        {
            place.due = place.due.min(now);
        }
        if now < place.due {
            return Turn::In(place.due - now);
        }
        let turn = *place.turn.get_or_insert_with(|| {
            let turn = self.tail.map_or(now, |tail| tail.max(now));
            self.tail = Some(turn + INTERVAL * self.requests.unwrap_or(USUAL));
            turn
        });
        if now < turn {
            Turn::In(turn - now)
        } else {
            Turn::Now
        }
    }

    /// Notes that a role was compared, with so many requests, or written. Says when it is due again.
    pub(super) fn compared(&mut self, role: &str, requests: Option<u32>, now: Instant) -> Duration {
        self.requests = requests.map(|requests| requests.max(1)).or(self.requests);
        let wait = spread(RESYNC, &role);
        let ca = self.roles.get(role).and_then(|place| place.ca);
        self.roles.insert(
            role.to_owned(),
            Place {
                due: now + wait,
                turn: None,
                ca,
            },
        );
        wait
    }

    /// Forgets a role that is gone.
    pub(super) fn forget(&mut self, role: &str) {
        self.roles.remove(role);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as the controller does: when it was told to, and not before. Gives the moments of all comparisons in `span`.
    fn run(line: &mut Line, roles: usize, requests: u32, span: Duration) -> Vec<(usize, Duration)> {
        let start = Instant::now();
        let mut wakes: Vec<(Duration, usize)> = (0..roles).map(|role| (Duration::ZERO, role)).collect();
        let mut heap: std::collections::BinaryHeap<_> = wakes.drain(..).map(std::cmp::Reverse).collect();
        let mut done = Vec::new();
        while let Some(std::cmp::Reverse((at, role))) = heap.pop() {
            if at > span {
                break;
            }
            let name = format!("role-{role}");
            let wait = match line.ask(&name, None, start + at) {
                Turn::In(wait) => wait,
                Turn::Now => {
                    done.push((role, at));
                    line.compared(&name, Some(requests), start + at)
                }
            };
            heap.push(std::cmp::Reverse((at + wait, role)));
        }
        done
    }

    /// The most requests in any ten seconds.
    fn busiest(done: &[(usize, Duration)], requests: u32) -> u32 {
        let window = Duration::from_secs(10);
        let within = |from: Duration| {
            done.iter()
                .filter(|(_, at)| *at >= from && *at < from + window)
                .count()
        };
        let most = done
            .iter()
            .map(|(_, from)| within(*from))
            .max()
            .unwrap_or_default();
        u32::try_from(most).unwrap() * requests
    }

    #[test]
    fn ten_thousand_roles_at_a_start_make_five_requests_a_second_from_the_first_to_the_last() {
        let done = run(&mut Line::default(), 10_000, 5, Duration::from_secs(12_000));
        let first: std::collections::BTreeSet<usize> =
            done.iter().take(10_000).map(|(role, _)| *role).collect();
        assert_eq!(first.len(), 10_000, "each has its turn before one has a second");
        let (_, last) = done[9_999];
        assert!(
            last > Duration::from_secs(9_900) && last < Duration::from_secs(10_100),
            "the last one after {last:?}"
        );
        assert!(
            busiest(&done, 5) <= 55,
            "{} requests in ten seconds",
            busiest(&done, 5)
        );
    }

    #[test]
    fn few_roles_are_compared_soon_after_a_start_and_then_every_ten_minutes() {
        let done = run(&mut Line::default(), 10, 5, Duration::from_secs(3600));
        assert!(
            done[9].1 < Duration::from_secs(15),
            "all of them by {:?}",
            done[9].1
        );
        let of_one: Vec<Duration> = done
            .iter()
            .filter(|(role, _)| *role == 3)
            .map(|(_, at)| *at)
            .collect();
        for pair in of_one.windows(2) {
            let pause = pair[1].saturating_sub(pair[0]);
            assert!(
                pause >= RESYNC / 4 * 3 && pause <= RESYNC + Duration::from_secs(20),
                "again after {pause:?}"
            );
        }
        assert!(
            busiest(&done, 5) <= 55,
            "{} requests in ten seconds",
            busiest(&done, 5)
        );
    }

    #[test]
    fn roles_that_take_more_requests_are_compared_at_longer_intervals() {
        let mut line = Line::default();
        let done = run(&mut line, 500, 12, Duration::from_secs(1200));
        assert!(
            busiest(&done[5..], 12) <= 62,
            "{} requests in ten seconds",
            busiest(&done[5..], 12)
        );
    }

    #[test]
    fn a_role_that_is_woken_early_keeps_its_turn_and_one_that_was_just_written_is_not_due() {
        let mut line = Line::default();
        let now = Instant::now();
        assert_eq!(line.ask("a", None, now), Turn::Now);
        let Turn::In(first) = line.ask("b", None, now) else {
            panic!("b comes after a")
        };
        assert_eq!(
            line.ask("b", None, now),
            Turn::In(first),
            "asking again changes nothing"
        );
        assert_eq!(
            line.ask("b", None, now + first),
            Turn::Now,
            "when its time has come"
        );
        let wait = line.compared("c", None, now);
        assert_eq!(
            line.ask("c", None, now),
            Turn::In(wait),
            "it was written a moment ago"
        );
        line.forget("c");
        assert!(
            line.ask("c", None, now) != Turn::In(wait),
            "another one of this name is another role"
        );
    }

    #[test]
    fn another_ca_lets_every_role_be_compared_soon_and_in_turn() {
        let mut line = Line::default();
        let now = Instant::now();
        for role in ["a", "b"] {
            line.ask(role, Some(1), now);
            line.compared(role, Some(5), now);
            assert!(
                line.ask(role, Some(1), now) != Turn::Now,
                "{role} was compared a moment ago"
            );
        }
        let later = now + Duration::from_secs(30);
        assert!(
            line.ask("a", None, later) != Turn::Now,
            "a CA that is not read is no other"
        );
        assert_eq!(line.ask("a", Some(2), later), Turn::Now, "another CA");
        let Turn::In(wait) = line.ask("b", Some(2), later) else {
            panic!("b comes after a")
        };
        assert!(wait <= Duration::from_secs(2), "b after {wait:?}");
    }
}
