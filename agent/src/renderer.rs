//! Fetches what the templates ask for, renders them, and writes what changed. Talks to Vault and writes files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use vaultkeeper_template::{Options, Query};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::Connection;
use crate::fetch::Fetcher;
use crate::gather::{self, Gatherer};
use crate::logging::Chain;
use crate::outputs::{Delivery, Outputs};
use crate::random::unit;
use crate::refresh::Settings;
use crate::seen::{self, Trouble};
use crate::session::{Identity, millis};
use crate::store::Store;
use crate::templates::{Loaded, Machine};
use crate::uses;

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
    outputs: Outputs,
) {
    let settings = Settings {
        interval: config.static_interval,
        threshold: config.renewal_threshold,
    };
    let mut renderer = Renderer {
        templates,
        standings: templates.iter().map(|_| Standing::new()).collect(),
        store: Store::new(settings),
        env,
        outputs,
        rounds: 0,
        writes: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        write_again: None,
    };
    let mut gatherer = Gatherer::new(Fetcher::new(connection.namespace()));
    // Everything is asked before the first login is over, so that one pass fetches it.
    renderer.pass();
    let mut render_at = None;
    loop {
        let current = loop {
            if let Some(current) = identity.borrow_and_update().clone() {
                break current;
            }
            if identity.changed().await.is_err() {
                return;
            }
        };
        if config.exit_after_auth && renderer.is_written() {
            tracing::info!("everything is rendered");
            return;
        }
        let ask_at = renderer.store.next().filter(|_| gatherer.has_room());
        let ask_at = ask_at.map(|at| gatherer.not_before().map_or(at, |quiet| at.max(quiet)));
        if ask_at.is_some_and(|at| at <= Instant::now()) {
            match connection.client() {
                Ok(client) => {
                    let client = uses::client(&client, &current, identity.clone());
                    gatherer.start(&mut renderer.store, &client, Instant::now());
                }
                Err(error) => {
                    let delay = gatherer.keep_quiet(Duration::ZERO, Instant::now());
                    tracing::warn!(error = %Chain(&error), retry_ms = millis(delay), "no connection");
                }
            }
            continue;
        }
        let wake = [ask_at, render_at, renderer.write_again, renderer.held_until()]
            .into_iter()
            .flatten()
            .min();
        tokio::select! {
            news = gatherer.answer(&mut renderer.store) => {
                let (leases, first_ends) = renderer.store.leases();
                seen::now().leases(leases, first_ends);
                if news.denied {
                    // A full queue already holds the same doubt.
                    let _ = doubts.try_send(current.generation);
                }
                if news.changed && render_at.is_none() {
                    render_at = Some(Instant::now() + GATHERING);
                }
            }
            () = reach(wake) => {}
            changed = identity.changed() => {
                if changed.is_err() {
                    return;
                }
                gatherer.stop();
                renderer.store.new_token(current.leases_end, Instant::now());
            }
        }
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // What is under way may belong to the same change; but nobody waits long for it.
        let is_late = is_due(render_at) || is_due(renderer.write_again) || is_due(renderer.held_until());
        if is_late || (render_at.is_some() && gatherer.is_idle()) {
            render_at = None;
            renderer.pass();
        }
    }
}

/// How long a changed secret waits for others that are being fetched.
const GATHERING: Duration = Duration::from_millis(50);

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How one template stands.
struct Standing {
    state: State,
    /// What the last complete rendering asked.
    used: BTreeSet<Query>,
    /// What a rendering since then asked that had no answer for everything yet.
    wanted: BTreeSet<Query>,
}

impl Standing {
    fn new() -> Self {
        Self {
            state: State::Waiting,
            used: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }
}

struct Renderer<'a> {
    templates: &'a [Loaded],
    standings: Vec<Standing>,
    store: Store,
    env: &'a dyn Fn(&str) -> Option<String>,
    outputs: Outputs,
    /// How many passes in a row brought up a new question.
    rounds: u32,
    writes: Backoff,
    write_again: Option<Instant>,
}

impl Renderer<'_> {
    fn is_written(&self) -> bool {
        self.standings
            .iter()
            .all(|standing| standing.state == State::Written)
    }

    /// When a change that is held back is to be looked at again.
    fn held_until(&self) -> Option<Instant> {
        self.outputs.due(self.templates.iter().map(|loaded| &loaded.goal))
    }

    /// Renders and writes once, and takes up the questions that came up.
    fn pass(&mut self) {
        let now = Instant::now();
        let host = Machine { env: self.env };
        let mut unwritten = false;
        let standings = self.templates.iter().zip(&mut self.standings);
        for (position, (loaded, standing)) in standings.enumerate() {
            let Loaded { template, goal } = loaded;
            let options = Options {
                error_on_missing_key: goal.error_on_missing_key(),
                denied: &[],
                destination: &goal.destination().to_string_lossy(),
                host: &host,
                now: SystemTime::now(),
            };
            let outcome = match template.render(&self.store, &options) {
                Ok(outcome) => outcome,
                Err(error) => {
                    // What it would have asked after the failure is not known: what it asked before is kept.
                    seen::now().trouble(Trouble::Render);
                    tracing::error!(file = %goal, error = %Chain(&error), "not rendered");
                    standing.state = State::Broken;
                    continue;
                }
            };
            if !outcome.missing.is_empty() || !outcome.missing_files.is_empty() {
                standing.wanted = outcome.used;
                if standing.state != State::Written {
                    standing.state = State::Waiting;
                }
                continue;
            }
            standing.used = outcome.used;
            standing.wanted.clear();
            let content = outcome.text.expose_secret();
            standing.state = match self.outputs.take(position, goal, content, now) {
                // What waits for further changes has been written before.
                Delivery::Done | Delivery::Held => State::Written,
                Delivery::Failed => {
                    unwritten = true;
                    State::Unwritten
                }
            };
        }
        self.outputs.finish();
        self.write_again = if unwritten {
            Some(now + self.writes.next(unit()))
        } else {
            self.writes.reset();
            None
        };
        self.take_up(now);
    }

    /// Brings the store up to what the templates ask, and forgets the rest.
    fn take_up(&mut self, now: Instant) {
        let mut asked = BTreeMap::new();
        for standing in &self.standings {
            for query in standing.used.iter().chain(&standing.wanted) {
                asked.insert(query, None);
            }
        }
        let at = now + gather::pause(self.rounds);
        let mut is_news = false;
        for (query, interval) in &asked {
            is_news |= self.store.want(query, *interval, at);
        }
        self.rounds = if is_news { self.rounds.saturating_add(1) } else { 0 };
        self.store.retain(|query| asked.contains_key(query));
    }
}
