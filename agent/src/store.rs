//! What was fetched, when it has to be fetched again, and what failed. Time comes from the caller; no I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use vaultkeeper_template::{Answer, Query, Secrets};

use crate::backoff::Backoff;
use crate::fetch::{Fetched, Metadata};
use crate::refresh::{self, Next, Settings};

/// What is due.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Due {
    /// Ask. With an answer that may still be current: a look at its metadata may do.
    Read(Query, Option<Answer>),
    /// Renew this lease.
    Renew(Query, String),
    /// See whether this lease was revoked.
    Check(Query, String),
}

/// A lease that the answer came with.
struct Lease {
    id: String,
    /// As it was first granted.
    first: Duration,
    /// When it ends unless it is renewed; `None` further away than a clock can tell.
    ends: Option<Instant>,
    /// When to see whether it was revoked meanwhile; `None` when it is renewed soon enough to notice.
    check_at: Option<Instant>,
    /// When the secret is replaced whatever the lease: the token that it was made with ends.
    replace_at: Option<Instant>,
}

/// What is done when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Renew,
}

struct Entry {
    answer: Option<Answer>,
    /// The interval that the templates ask for.
    interval: Option<Duration>,
    lease: Option<Lease>,
    act: Act,
    at: Instant,
    /// It is being asked right now.
    is_asked: bool,
    /// Whether the metadata may be looked at first. A denial is remembered until there is a new token.
    metadata: Metadata,
    /// Whether leases may be looked up. A denial is remembered until there is a new token.
    may_check: bool,
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

    /// The user's settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a question up, which is due at `at`, or changes its interval. Returns whether it is new.
    pub(crate) fn want(&mut self, query: &Query, interval: Option<Duration>, at: Instant) -> bool {
        if let Some(entry) = self.entries.get_mut(query) {
            let shorter = interval.filter(|interval| entry.interval.is_none_or(|known| *interval < known));
            if let (Some(shorter), None, false) = (shorter, &entry.lease, entry.backoff.is_failing()) {
                entry.at = entry.at.min(at + shorter);
            }
            entry.interval = interval;
            return false;
        }
        let pause = interval.unwrap_or(self.settings.interval).min(MOST_DELAY);
        let entry = Entry {
            answer: None,
            interval,
            lease: None,
            act: Act::Read,
            at,
            is_asked: false,
            metadata: Metadata::Absent,
            may_check: true,
            // Asking for what is not there yet costs no more than the reads at the interval once it is there.
            backoff: Backoff::new(Duration::from_millis(250), pause),
        };
        self.entries.insert(query.clone(), entry);
        true
    }

    /// Forgets the questions that no template asks any more.
    pub(crate) fn retain(&mut self, is_asked: impl Fn(&Query) -> bool) {
        self.entries.retain(|query, _| is_asked(query));
    }

    /// Whatever is due now and not being asked, at most so many. They count as being asked from here on.
    pub(crate) fn take_due(&mut self, now: Instant, most: usize) -> Vec<Due> {
        let ready = self.entries.iter_mut();
        let ready = ready.filter(|(_, entry)| !entry.is_asked && entry.due_at() <= now);
        let taken = ready.take(most).map(|(query, entry)| {
            entry.is_asked = true;
            let is_check = now < entry.at;
            match &mut entry.lease {
                Some(lease) if lease.replace_at.is_some_and(|at| at <= now) => Due::Read(query.clone(), None),
                Some(lease) if is_check => {
                    lease.check_at = None;
                    Due::Check(query.clone(), lease.id.clone())
                }
                Some(lease) if entry.act == Act::Renew => Due::Renew(query.clone(), lease.id.clone()),
                _ => {
                    let held = entry.answer.as_ref().filter(|_| entry.metadata == Metadata::Open);
                    Due::Read(query.clone(), held.cloned())
                }
            }
        });
        taken.collect()
    }

    /// When the next thing is due; what is being asked does not count.
    pub(crate) fn next(&self) -> Option<Instant> {
        let waiting = self.entries.values().filter(|entry| !entry.is_asked);
        waiting.map(Entry::due_at).min()
    }

    /// An answer came. Returns whether it differs from the one before.
    pub(crate) fn fetched(&mut self, query: &Query, fetched: Fetched, now: Instant, chance: f64) -> bool {
        let Fetched {
            answer,
            facts,
            lease_id,
            metadata,
        } = fetched;
        let settings = &self.settings;
        let Some(entry) = self.entries.get_mut(query) else {
            return false;
        };
        entry.settled();
        // A denial is not forgotten because of the read that followed it.
        if !(entry.metadata == Metadata::Denied && metadata == Metadata::Open) {
            entry.metadata = metadata;
        }
        let next = refresh::next(&facts, settings, entry.interval, chance);
        entry.lease = facts.leased.then_some(Lease {
            id: lease_id,
            first: facts.duration,
            ends: now.checked_add(facts.duration),
            check_at: None,
            replace_at: None,
        });
        entry.plan(next, now, settings.interval);
        let changed = entry.answer.as_ref() != Some(&answer);
        entry.answer = Some(answer);
        changed
    }

    /// The answer that is there is still the current one.
    pub(crate) fn is_current(&mut self, query: &Query, now: Instant, chance: f64) {
        let settings = &self.settings;
        let Some(entry) = self.entries.get_mut(query) else {
            return;
        };
        entry.settled();
        let next = refresh::next(&refresh::Facts::none(), settings, entry.interval, chance);
        entry.plan(next, now, settings.interval);
    }

    /// No answer came: the last one stays. Returns when it will be asked again.
    pub(crate) fn failed(&mut self, query: &Query, now: Instant, chance: f64) -> Duration {
        let Some(entry) = self.entries.get_mut(query) else {
            return Duration::ZERO;
        };
        entry.is_asked = false;
        let delay = entry.backoff.next(chance);
        entry.at = now + delay;
        delay
    }

    /// Whether a question was answered before, does not fail, and may be asked twice: nothing is made by asking it.
    pub(crate) fn is_steady(&self, query: &Query) -> bool {
        let is_read = matches!(query, Query::Read { .. } | Query::List { .. });
        let steady =
            |entry: &Entry| entry.answer.is_some() && entry.lease.is_none() && !entry.backoff.is_failing();
        is_read && self.entries.get(query).is_some_and(steady)
    }

    /// Whether every question has an answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.entries.values().all(|entry| entry.answer.is_some())
    }

    /// A question that failed and was repeated so many times, and failed each time.
    pub(crate) fn failed_after(&self, retries: u32) -> Option<&Query> {
        let mut entries = self.entries.iter();
        let failed = entries.find(|(_, entry)| entry.backoff.failures() > retries);
        failed.map(|(query, _)| query)
    }

    /// The server was away: the question stays due.
    pub(crate) fn put_back(&mut self, query: &Query) {
        if let Some(entry) = self.entries.get_mut(query) {
            entry.is_asked = false;
        }
    }

    /// A lease was renewed for `granted`; at its maximum the secret is read again instead of renewed.
    pub(crate) fn renewed(
        &mut self,
        query: &Query,
        granted: Duration,
        renewable: bool,
        now: Instant,
        chance: f64,
    ) {
        let settings = &self.settings;
        let Some(entry) = self.entries.get_mut(query) else {
            return;
        };
        entry.settled();
        let Some(lease) = &mut entry.lease else { return };
        lease.ends = now.checked_add(granted);
        let next = refresh::lease(lease.first, granted, renewable, settings, chance);
        entry.plan(next, now, settings.interval);
    }

    /// How many leases are held, and when the first of them ends.
    pub(crate) fn leases(&self) -> (usize, Option<Instant>) {
        let leases = || self.entries.values().filter_map(|entry| entry.lease.as_ref());
        (leases().count(), leases().filter_map(|lease| lease.ends).min())
    }

    /// A lease is gone or cannot be renewed: the secret is read again at once.
    pub(crate) fn lease_ends(&mut self, query: &Query, now: Instant) {
        if let Some(entry) = self.entries.get_mut(query) {
            entry.settled();
            entry.act = Act::Read;
            entry.at = now;
        }
    }

    /// A lease was looked up: it lives (or the server did not say). `allowed`: whether it may be looked up again.
    pub(crate) fn checked(&mut self, query: &Query, allowed: bool, now: Instant) {
        let interval = self.settings.interval;
        if let Some(entry) = self.entries.get_mut(query) {
            entry.is_asked = false;
            entry.may_check = allowed;
            entry.plan_check(now, interval);
        }
    }

    /// There is a new token. What was leased with the old one is replaced at `replace_at` (`None`: those leases do not end
    /// with it); what failed may succeed now, and what was denied may be allowed. Whoever asks with the old token is to be
    /// stopped before this.
    pub(crate) fn new_token(&mut self, replace_at: Option<Instant>, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.is_asked = false;
            entry.may_check = true;
            if entry.metadata == Metadata::Denied {
                entry.metadata = Metadata::Open;
            }
            if let Some(lease) = &mut entry.lease {
                // Those of a token before the old one are due earlier.
                lease.replace_at = lease.replace_at.or(replace_at);
            }
            if entry.answer.is_none() || entry.backoff.is_failing() {
                entry.at = now;
            }
        }
    }
}

impl Entry {
    fn due_at(&self) -> Instant {
        let lease = self.lease.as_ref();
        let others = lease.map_or([None; 2], |lease| [lease.check_at, lease.replace_at]);
        // One that is due for its replacement and fails waits like any other.
        let others = others
            .into_iter()
            .flatten()
            .filter(|_| !self.backoff.is_failing());
        others.fold(self.at, Instant::min)
    }

    /// The server answered.
    fn settled(&mut self) {
        self.is_asked = false;
        self.backoff.reset();
    }

    fn plan(&mut self, next: Next, now: Instant, interval: Duration) {
        let (act, after) = match next {
            Next::Read(after) => (Act::Read, after),
            Next::Renew(after) => (Act::Renew, after),
        };
        self.act = act;
        self.at = now + after;
        self.plan_check(now, interval);
    }

    /// A long lease is looked at now and then: what was revoked is replaced long before its renewal would fail.
    fn plan_check(&mut self, now: Instant, interval: Duration) {
        let (at, allowed) = (self.at, self.may_check);
        if let Some(lease) = &mut self.lease {
            let check_at = now + interval;
            lease.check_at = (allowed && check_at < at).then_some(check_at);
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
