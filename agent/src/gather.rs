//! Asks Vault what is due, several questions at a time, so that one that hangs holds up no other. Talks to Vault.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use vaultkeeper_template::Query;
use vaultkeeper_vault::{Client, Error};

use crate::away;
use crate::backoff::Backoff;
use crate::fetch::{FetchError, Fetcher, Outcome};
use crate::logging::Chain;
use crate::random::unit;
use crate::seen::{self, Trouble};
use crate::session::millis;
use crate::store::{Due, Store};

/// How many questions are under way at a time. Each may hold a connection with its buffers.
const LANES: usize = 4;

/// How long a question may take that was answered before and can be repeated: a member that hangs is left for another.
/// After that it gets the time that any other question has.
const KNOWN: Duration = Duration::from_secs(5);

/// The longest that Vault, or a proxy before it, can silence the agent.
const MOST_QUIET: Duration = Duration::from_secs(300);

/// What came of one question.
enum Done {
    Read(Query, Result<Outcome, FetchError>),
    /// For how long, and whether it can be renewed again.
    Renewed(Query, Result<(Duration, bool), Error>),
    Checked(Query, Result<(), Error>),
}

/// What changed by an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// A secret differs from before.
    pub(crate) changed: bool,
    /// A read was denied: the token is in doubt.
    pub(crate) denied: bool,
}

/// Questions under way.
pub(crate) struct Gatherer {
    fetcher: Fetcher,
    tasks: JoinSet<Done>,
    /// While Vault is away one question at a time finds out when it is back; the others wait.
    away: Backoff,
    quiet_until: Option<Instant>,
    /// How many were under way when Vault was found away; they may hang.
    stuck: usize,
}

impl Gatherer {
    pub(crate) fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            tasks: JoinSet::new(),
            away: Backoff::new(Duration::from_millis(250), away::MOST),
            quiet_until: None,
            stuck: 0,
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether another question may be asked now.
    pub(crate) fn has_room(&self) -> bool {
        self.tasks.len() < self.lanes()
    }

    /// Nothing is to be asked before this.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// How often in a row Vault was found away.
    pub(crate) fn failures(&self) -> u32 {
        self.away.failures()
    }

    fn lanes(&self) -> usize {
        if self.away.is_failing() {
            LANES.min(self.stuck + 1)
        } else {
            LANES
        }
    }

    /// Asks what is due, as far as there is room.
    pub(crate) fn start(&mut self, store: &mut Store, client: &Client, now: Instant) {
        self.quiet_until = None;
        for due in store.take_due(now, self.lanes().saturating_sub(self.tasks.len())) {
            let (mut client, fetcher) = (client.clone(), self.fetcher.clone());
            match due {
                Due::Read(query, held) => self.tasks.spawn({
                    if store.is_steady(&query) {
                        client = client.with_timeout(KNOWN);
                    }
                    async move {
                        let outcome = fetcher.fetch(&client, &query, held.as_ref()).await;
                        Done::Read(query, outcome)
                    }
                }),
                Due::Renew(query, lease) => self.tasks.spawn(async move {
                    let renewed = client.renew_lease(&lease, None).await;
                    Done::Renewed(
                        query,
                        renewed.map(|lease| (lease.lease_duration, lease.renewable)),
                    )
                }),
                Due::Check(query, lease) => self
                    .tasks
                    .spawn(async move { Done::Checked(query, client.lookup_lease(&lease).await.map(drop)) }),
            };
        }
    }

    /// Gives up what is under way: it was asked with a token that is not used any more.
    pub(crate) fn stop(&mut self) {
        self.tasks = JoinSet::new();
        self.stuck = 0;
    }

    /// Waits for the next answer and puts it into the store; for ever while nothing is under way.
    pub(crate) async fn answer(&mut self, store: &mut Store) -> News {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => return self.settle(store, done, Instant::now()),
                // It was stopped.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Vault is away or wants to be left alone for `least`. Returns for how long nothing is asked.
    pub(crate) fn keep_quiet(&mut self, least: Duration, now: Instant) -> Duration {
        if !self.away.is_failing() {
            self.stuck = self.tasks.len();
        }
        self.stuck = self.stuck.min(self.tasks.len());
        let until = match self.quiet_until {
            // Said by several questions that were under way at the same time.
            Some(until) if until > now => until.max(now + least),
            _ => now + self.away.next(unit()).max(least),
        };
        self.quiet_until = Some(until);
        until.saturating_duration_since(now)
    }

    fn settle(&mut self, store: &mut Store, done: Done, now: Instant) -> News {
        let (query, fault) = match &done {
            Done::Read(query, result) => (query, result.as_ref().err().and_then(FetchError::vault)),
            Done::Renewed(query, result) => (query, result.as_ref().err()),
            Done::Checked(query, result) => (query, result.as_ref().err()),
        };
        if let Some(error) = fault
            && away::is_away(error)
        {
            let delay = self.keep_quiet(retry_after(error), now);
            seen::now().trouble(Trouble::Read);
            let error = Chain(error);
            tracing::warn!(%query, %error, retry_ms = millis(delay), "no answer: Vault is away");
            store.put_back(query);
            return News::default();
        }
        self.away.reset();
        settle(store, done, now)
    }
}

/// How long to wait for the server in the words of an error; zero where it does not say.
fn retry_after(error: &Error) -> Duration {
    match error {
        Error::RateLimited { retry_after, .. } => retry_after.unwrap_or_default().min(MOST_QUIET),
        _ => Duration::ZERO,
    }
}

/// Puts an answer into the store.
fn settle(store: &mut Store, done: Done, now: Instant) -> News {
    let mut news = News::default();
    match done {
        Done::Read(query, Ok(Outcome::New(fetched))) => {
            news.changed = store.fetched(&query, *fetched, now, unit());
        }
        Done::Read(query, Ok(Outcome::Current)) => store.is_current(&query, now, unit()),
        Done::Read(query, Err(error)) => {
            news.denied = error.vault().is_some_and(Error::is_denied);
            let kind = if news.denied {
                Trouble::Denied
            } else {
                Trouble::Read
            };
            seen::now().trouble(kind);
            let delay = store.failed(&query, now, unit());
            tracing::warn!(error = %Chain(&error), retry_ms = millis(delay), "no answer");
        }
        Done::Renewed(query, Ok((granted, renewable))) => {
            store.renewed(&query, granted, renewable, now, unit());
            tracing::debug!(%query, lease_seconds = granted.as_secs(), "renewed the lease");
        }
        Done::Renewed(query, Err(error)) if error.is_retryable() => {
            let delay = store.failed(&query, now, unit());
            seen::now().trouble(Trouble::Lease);
            tracing::warn!(%query, error = %Chain(&error), retry_ms = millis(delay), "the lease is not renewed yet");
        }
        Done::Renewed(query, Err(error)) => {
            tracing::info!(%query, error = %Chain(&error), "the lease ends: asking for a new secret");
            store.lease_ends(&query, now);
        }
        Done::Checked(query, Ok(())) => store.checked(&query, true, now),
        // "invalid lease": it was revoked.
        Done::Checked(query, Err(error @ Error::BadRequest { .. })) => {
            tracing::info!(%query, error = %Chain(&error), "the lease is gone: asking for a new secret");
            store.lease_ends(&query, now);
        }
        Done::Checked(query, Err(error)) => {
            tracing::debug!(%query, error = %Chain(&error), "the lease cannot be looked up");
            store.checked(&query, !error.is_denied(), now);
        }
    }
    news
}

/// How long to wait before a question that only came up after `rounds` others in a row had been answered. Few
/// templates ask for what an earlier answer names, and over a few steps; one that asks for something new each time (a
/// path with the time in it) must not keep Vault busy.
pub(crate) fn pause(rounds: u32) -> Duration {
    match rounds.checked_sub(10) {
        None => Duration::ZERO,
        Some(extra) => Duration::from_millis(250)
            .saturating_mul(2_u32.saturating_pow(extra))
            .min(Duration::from_secs(60)),
    }
}
