//! What was fetched, when it has to be fetched again, and what failed. Time comes from the caller; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_template::{Answer, Query, Secrets};

use crate::backoff::Backoff;
use crate::fetch::Fetched;
use crate::refresh::{self, Next, Settings};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask.
    Read(Query),
    /// Renew this lease.
    Renew(Query, String),
}

struct Entry {
    answer: Option<Answer>,
    lease_id: String,
    /// The lease as it was first granted.
    first_lease: Duration,
    renew: bool,
    at: Instant,
    backoff: Backoff,
}

/// All questions of all templates with their answers.
pub(crate) struct Store {
    entries: BTreeMap<Query, Entry>,
    settings: Settings,
}

impl Secrets for Store {
    fn answer(&self, query: &Query) -> Option<Answer> {
        self.entries.get(query)?.answer.clone()
    }
}

/// The longest delay after a failed read.
const MOST_DELAY: Duration = Duration::from_secs(60);

impl Store {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            entries: BTreeMap::new(),
            settings,
        }
    }

    /// Takes a question up; due at once. Returns whether it is new.
    pub(crate) fn want(&mut self, query: &Query, now: Instant) -> bool {
        if self.entries.contains_key(query) {
            return false;
        }
        let entry = Entry {
            answer: None,
            lease_id: String::new(),
            first_lease: Duration::ZERO,
            renew: false,
            at: now,
            // Asking for what is not there yet costs no more than the reads at the interval once it is there.
            backoff: Backoff::new(Duration::from_millis(250), self.settings.interval.min(MOST_DELAY)),
        };
        self.entries.insert(query.clone(), entry);
        true
    }

    /// Forgets the questions that no template asks any more.
    pub(crate) fn retain(&mut self, used: &BTreeSet<Query>) {
        self.entries.retain(|query, _| used.contains(query));
    }

    /// Whatever is due now.
    pub(crate) fn due(&self, now: Instant) -> Vec<Due> {
        let due = self.entries.iter().filter(|(_, entry)| entry.at <= now);
        let due = due.map(|(query, entry)| {
            if entry.renew {
                Due::Renew(query.clone(), entry.lease_id.clone())
            } else {
                Due::Read(query.clone())
            }
        });
        due.collect()
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.values().map(|entry| entry.at).min()
    }

    /// An answer came. Returns whether it differs from the one before.
    pub(crate) fn fetched(&mut self, query: &Query, fetched: Fetched, now: Instant, chance: f64) -> bool {
        let Fetched {
            answer,
            facts,
            lease_id,
        } = fetched;
        let Some(entry) = self.entries.get_mut(query) else {
            return false;
        };
        let (renew, after) = match refresh::next(&facts, &self.settings, chance) {
            Next::Read(after) => (false, after),
            Next::Renew(after) => (true, after),
        };
        entry.backoff.reset();
        entry.lease_id = lease_id;
        entry.first_lease = facts.duration;
        entry.renew = renew;
        entry.at = now + after;
        let changed = entry.answer.as_ref() != Some(&answer);
        entry.answer = Some(answer);
        changed
    }

    /// No answer came: the last one stays. Returns when it will be asked again.
    pub(crate) fn failed(&mut self, query: &Query, now: Instant, chance: f64) -> Duration {
        let Some(entry) = self.entries.get_mut(query) else {
            return Duration::ZERO;
        };
        let delay = entry.backoff.next(chance);
        entry.at = now + delay;
        delay
    }

    /// A lease was renewed for `granted`; at its maximum the secret is read again instead of renewed.
    pub(crate) fn renewed(&mut self, query: &Query, granted: Duration, now: Instant) {
        let Some(entry) = self.entries.get_mut(query) else {
            return;
        };
        entry.renew = !refresh::is_spent(entry.first_lease, granted);
        entry.at = now + granted.mul_f64(2.0 / 3.0);
        entry.backoff.reset();
    }

    /// A lease can not be renewed: the secret is read again at once.
    pub(crate) fn not_renewed(&mut self, query: &Query, now: Instant) {
        let Some(entry) = self.entries.get_mut(query) else {
            return;
        };
        entry.renew = false;
        entry.at = now;
    }

    /// There is a new token. The leases of the old one end with it; what failed may succeed now.
    pub(crate) fn new_token(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            if !entry.lease_id.is_empty() || entry.answer.is_none() || entry.backoff.is_failing() {
                entry.renew = false;
                entry.at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::Facts;
    use vaultkeeper_template::Value;

    fn query(path: &str) -> Query {
        Query::List {
            path: path.to_owned(),
        }
    }

    fn fetched(name: &str, lease_seconds: u64) -> Fetched {
        let leased = lease_seconds > 0;
        let facts = Facts::of(
            leased,
            leased,
            Duration::from_secs(lease_seconds),
            &Value::Null,
            0,
        );
        let lease_id = if leased { "lease".to_owned() } else { String::new() };
        Fetched {
            answer: Answer::List(vec![name.to_owned()]),
            facts,
            lease_id,
        }
    }

    fn store() -> Store {
        Store::new(Settings {
            interval: Duration::from_secs(100),
            threshold: 0.9,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_keeps_the_last_answer_and_asks_again_later() {
        let (mut store, now, query) = (store(), Instant::now(), query("a"));
        store.want(&query, now);
        assert_eq!(store.due(now), [Due::Read(query.clone())]);
        assert!(
            store.fetched(&query, fetched("x", 0), now, 0.5),
            "the first answer is a change"
        );
        assert!(store.due(now).is_empty(), "nothing is due right after an answer");
        tokio::time::advance(Duration::from_secs(91)).await;
        let now = Instant::now();
        assert_eq!(
            store.due(now),
            [Due::Read(query.clone())],
            "the interval has passed"
        );
        store.failed(&query, now, 1.0);
        assert_eq!(
            store.answer(&query),
            Some(Answer::List(vec!["x".to_owned()])),
            "the last answer must stay"
        );
        assert!(store.due(now).is_empty(), "a failure is not repeated at once");
        assert!(
            store
                .next()
                .is_some_and(|at| at <= now + Duration::from_millis(250)),
            "but soon"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_answer_is_no_change() {
        let (mut store, now, query) = (store(), Instant::now(), query("a"));
        store.want(&query, now);
        store.fetched(&query, fetched("x", 0), now, 0.5);
        assert!(
            !store.fetched(&query, fetched("x", 0), now, 0.5),
            "nothing changed"
        );
        assert!(
            store.fetched(&query, fetched("y", 0), now, 0.5),
            "something changed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_until_it_is_spent_and_read_again_with_a_new_token() {
        let (mut store, now, query) = (store(), Instant::now(), query("a"));
        store.want(&query, now);
        store.fetched(&query, fetched("x", 90), now, 0.5);
        let later = now + Duration::from_secs(60);
        assert_eq!(store.due(later), [Due::Renew(query.clone(), "lease".to_owned())]);
        store.renewed(&query, Duration::from_secs(90), later);
        assert!(store.due(later).is_empty());
        store.renewed(&query, Duration::from_secs(20), later);
        assert_eq!(
            store.due(later + Duration::from_secs(14)),
            [Due::Read(query.clone())],
            "at its maximum it is read again"
        );
        store.renewed(&query, Duration::from_secs(90), later);
        store.new_token(later);
        assert_eq!(
            store.due(later),
            [Due::Read(query.clone())],
            "a new token has no leases yet"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_token_does_not_read_everything_again() {
        let (mut store, now, query) = (store(), Instant::now(), query("a"));
        store.want(&query, now);
        store.fetched(&query, fetched("x", 0), now, 0.5);
        store.new_token(now);
        assert!(
            store.due(now).is_empty(),
            "a secret without a lease outlives a token"
        );
    }
}
