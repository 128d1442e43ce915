//! Fetches what the templates ask for, renders them, and writes what changed. Talks to Vault and writes files.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use vaultkeeper_template::{Options, Query};
use vaultkeeper_vault::Client;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::Connection;
use crate::fetch::{FetchError, Fetcher};
use crate::logging::Chain;
use crate::random::unit;
use crate::refresh::Settings;
use crate::session::{Identity, millis};
use crate::store::{Due, Store};
use crate::templates::{Loaded, Machine};
use crate::uses;
use crate::write::{self, Owner, Target, Written};

/// How a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for answers.
    Waiting,
    /// Its file has the content of the last rendering.
    Written,
    /// It cannot be rendered with these answers; its file stays as it was.
    Broken,
    /// Its file cannot be written.
    Unwritten,
}

/// Renders for ever, or until everything is written once when the configuration says so.
pub(crate) async fn render(
    connection: &Connection,
    config: &Config,
    templates: &[Loaded],
    env: &dyn Fn(&str) -> Option<String>,
    mut identity: watch::Receiver<Option<Identity>>,
    doubts: mpsc::Sender<u64>,
) {
    let settings = Settings {
        interval: config.static_interval,
        threshold: config.renewal_threshold,
    };
    let mut renderer = Renderer {
        templates,
        states: vec![State::Waiting; templates.len()],
        store: Store::new(settings),
        fetcher: Fetcher::new(connection.namespace()),
        env,
        writes: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        write_again: None,
    };
    // Everything is asked before the first login is over, so that one pass fetches it.
    renderer.pass();
    loop {
        let current = loop {
            if let Some(current) = identity.borrow_and_update().clone() {
                break current;
            }
            if identity.changed().await.is_err() {
                return;
            }
        };
        match connection.client() {
            Ok(client) => {
                let client = uses::client(&client, &current, identity.clone());
                renderer.settle(&client, &current, &doubts).await;
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "no connection");
                renderer.postpone();
            }
        }
        if config.exit_after_auth && renderer.states.iter().all(|state| *state == State::Written) {
            tracing::info!("everything is rendered");
            return;
        }
        let wake = renderer
            .store
            .next()
            .into_iter()
            .chain(renderer.write_again)
            .min();
        tokio::select! {
            () = reach(wake) => {}
            changed = identity.changed() => {
                if changed.is_err() {
                    return;
                }
                renderer.store.new_token(Instant::now());
            }
        }
    }
}

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Renderer<'a> {
    templates: &'a [Loaded],
    states: Vec<State>,
    store: Store,
    fetcher: Fetcher,
    env: &'a dyn Fn(&str) -> Option<String>,
    writes: Backoff,
    write_again: Option<Instant>,
}

impl Renderer<'_> {
    /// Fetches what is due and renders, until no rendering asks for something new.
    async fn settle(&mut self, client: &Client, identity: &Identity, doubts: &mpsc::Sender<u64>) {
        loop {
            let mut changed = self.write_again.is_some_and(|at| at <= Instant::now());
            let mut denied = false;
            for due in self.store.due(Instant::now()) {
                match due {
                    Due::Read(query) => changed |= self.read(client, &query, &mut denied).await,
                    Due::Renew(query, lease) => self.renew(client, &query, &lease).await,
                }
            }
            if denied {
                // A full queue already holds the same doubt.
                let _ = doubts.try_send(identity.generation);
            }
            if !(changed && self.pass()) {
                return;
            }
        }
    }

    async fn read(&mut self, client: &Client, query: &Query, denied: &mut bool) -> bool {
        match self.fetcher.fetch(client, query).await {
            Ok(fetched) => self.store.fetched(query, fetched, Instant::now(), unit()),
            Err(error) => {
                *denied |= error.is_denied();
                let delay = self.store.failed(query, Instant::now(), unit());
                log_failure(&error, delay);
                false
            }
        }
    }

    async fn renew(&mut self, client: &Client, query: &Query, lease: &str) {
        match client.renew_lease(lease, None).await {
            Ok(renewed) => self.store.renewed(query, renewed.lease_duration, Instant::now()),
            Err(error) if error.is_retryable() => {
                let delay = self.store.failed(query, Instant::now(), unit());
                tracing::warn!(%query, error = %Chain(&error), retry_ms = millis(delay), "the lease is not renewed yet");
            }
            Err(error) => {
                tracing::info!(%query, error = %Chain(&error), "the lease ends: asking for a new secret");
                self.store.not_renewed(query, Instant::now());
            }
        }
    }

    /// Asks everything due a little later.
    fn postpone(&mut self) {
        let now = Instant::now();
        for due in self.store.due(now) {
            let (Due::Read(query) | Due::Renew(query, _)) = due;
            self.store.failed(&query, now, unit());
        }
    }

    /// Renders and writes once. Returns whether a question came up that was not asked before, or a lease is due at once.
    fn pass(&mut self) -> bool {
        let now = Instant::now();
        let host = Machine { env: self.env };
        let mut used = BTreeSet::new();
        let mut complete = true;
        let mut unwritten = false;
        let mut states = Vec::with_capacity(self.templates.len());
        for (loaded, before) in self.templates.iter().zip(&self.states) {
            let Loaded { template, config } = loaded;
            let outcome = match template.render(
                &self.store,
                &Options {
                    error_on_missing_key: config.error_on_missing_key,
                    denied: &[],
                    destination: &config.destination.to_string_lossy(),
                    host: &host,
                    now: SystemTime::now(),
                },
            ) {
                Ok(outcome) => outcome,
                Err(error) => {
                    // What it would have asked after the failure is not known.
                    complete = false;
                    tracing::error!(file = %config.destination.display(), error = %Chain(&error), "not rendered");
                    states.push(State::Broken);
                    continue;
                }
            };
            used.extend(outcome.used);
            if !outcome.missing.is_empty() || !outcome.missing_files.is_empty() {
                complete = false;
                states.push(if *before == State::Written {
                    State::Written
                } else {
                    State::Waiting
                });
                continue;
            }
            let content = outcome.text.expose_secret();
            let target = Target {
                path: &config.destination,
                mode: config.mode,
                owner: Owner {
                    user: config.user.as_ref(),
                    group: config.group.as_ref(),
                },
                create_folders: config.create_folders,
                backup: config.backup,
            };
            match write::atomically(&target, content) {
                Ok(Written::Created | Written::Changed) => {
                    tracing::info!(file = %config.destination.display(), bytes = content.len(), "rendered");
                    states.push(State::Written);
                }
                Ok(Written::Unchanged) => states.push(State::Written),
                Err(error) => {
                    unwritten = true;
                    tracing::error!(error = %Chain(&error), "not written");
                    states.push(State::Unwritten);
                }
            }
        }
        self.states = states;
        self.write_again = if unwritten {
            Some(now + self.writes.next(unit()))
        } else {
            self.writes.reset();
            None
        };
        let mut news = false;
        for query in &used {
            news |= self.store.want(query, now);
        }
        if complete {
            self.store.retain(&used);
        }
        news
    }
}

fn log_failure(error: &FetchError, delay: Duration) {
    tracing::warn!(error = %Chain(error), retry_ms = millis(delay), "no answer");
}
