//! Fetches what the templates ask for, renders them, and writes what changed. Talks to Vault and writes files.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use vaultkeeper_template::{FileWrite, Options, Query};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::Connection;
use crate::fetch::Fetcher;
use crate::gather::{self, Gatherer};
use crate::logging::Chain;
use crate::outputs::{Delivery, Outputs};
use crate::random::unit;
use crate::refresh::{self, Settings};
use crate::seen::{self, Trouble};
use crate::session::{Identity, millis};
use crate::side_files::{self, SideError};
use crate::store::Store;
use crate::templates::{Loaded, Machine, Stamp};
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

/// Why rendering ended although it was to go on. Only where `template_config.exit_on_retry_failure` asks for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GaveUp {
    /// A question was not answered.
    #[error("cannot {query}: all {attempts} attempts failed")]
    Question { query: Query, attempts: u32 },
    /// Nothing was answered.
    #[error("Vault was away at {attempts} attempts")]
    Away { attempts: u32 },
    /// A template does not fit its answers.
    #[error("{goal} cannot be rendered")]
    Template { goal: String },
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
) -> Result<(), GaveUp> {
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
        look_at: None,
    };
    let mut gatherer = Gatherer::new(Fetcher::new(connection.namespace()));
    // Everything is asked before the first login is over, so that one pass fetches it.
    renderer.pass();
    let mut render_at = None;
    let mut is_doubted = false;
    let mut former: Option<Identity> = None;
    loop {
        let current = loop {
            if let Some(current) = identity.borrow_and_update().clone() {
                break current;
            }
            if identity.changed().await.is_err() {
                return Ok(());
            }
        };
        // Here and not where the change is waited for: another event may come at the same moment.
        if let Some(former) = former.replace(current.clone())
            && former.generation != current.generation
        {
            gatherer.stop();
            let now = Instant::now();
            // A denied token may be dead, and its leases with it.
            let replace_at = former.replace_leases_at;
            let replace_at = replace_at.map(|at| if is_doubted { now } else { at.max(now) });
            is_doubted = false;
            renderer.store.new_token(replace_at, now);
        }
        if config.exit_after_auth && renderer.is_written() {
            // The token's own files are part of everything.
            if current.in_sinks.clone().wait_for(|all| *all).await.is_ok() {
                tracing::info!("everything is rendered");
                return Ok(());
            }
            // The token was replaced meanwhile.
            if identity.changed().await.is_err() {
                return Ok(());
            }
            continue;
        }
        if let Some(retries) = config.retries {
            renderer.give_up(retries, gatherer.failures())?;
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
        let wakes = [
            ask_at,
            render_at,
            renderer.write_again,
            renderer.look_at,
            renderer.held_until(),
        ];
        let wake = wakes.into_iter().flatten().min();
        tokio::select! {
            news = gatherer.answer(&mut renderer.store) => {
                let (leases, first_ends) = renderer.store.leases();
                seen::now().leases(leases, first_ends);
                if news.denied {
                    // A full queue already holds the same doubt.
                    let _ = doubts.try_send(current.generation);
                    is_doubted = true;
                }
                if news.changed && render_at.is_none() {
                    render_at = Some(Instant::now() + GATHERING);
                }
            }
            () = reach(wake) => {}
            changed = identity.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(renderer.look_at) {
            renderer.look_at = Some(now + LOOK_AT_FILES);
            if renderer.sees_change() {
                render_at = Some(now);
            }
        }
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

/// How often the files that templates read are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

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
    /// The files that the last rendering read, as they were then.
    files: BTreeMap<String, Option<Stamp>>,
    /// What the last complete rendering wrote beside its own file.
    beside: Vec<FileWrite>,
}

impl Standing {
    fn new() -> Self {
        Self {
            state: State::Waiting,
            used: BTreeSet::new(),
            wanted: BTreeSet::new(),
            files: BTreeMap::new(),
            beside: Vec::new(),
        }
    }

    /// Does what a template asked for with `writeToFile`. What is appended is appended once for each different rendering.
    fn write_beside(&mut self, writes: Vec<FileWrite>, sandbox: Option<&Path>) -> Result<(), SideError> {
        let is_new = self.beside != writes;
        for file in side_files::plan(&writes) {
            if is_new || !file.appends() {
                file.write(sandbox)?;
            }
        }
        self.beside = writes;
        Ok(())
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
    /// When the files that templates read are looked at.
    look_at: Option<Instant>,
}

impl Renderer<'_> {
    /// Whether a file that a template read has changed since.
    fn sees_change(&self) -> bool {
        let mut files = self.standings.iter().flat_map(|standing| &standing.files);
        files.any(|(path, before)| Stamp::of(path) != *before)
    }

    /// An error when a question failed too often, Vault was away too often, or a template can not be rendered whose failure
    /// counts.
    fn give_up(&self, retries: u32, away: u32) -> Result<(), GaveUp> {
        if away > retries {
            return Err(GaveUp::Away { attempts: away });
        }
        if let Some(query) = self.store.failed_after(retries) {
            return Err(GaveUp::Question {
                query: query.clone(),
                attempts: retries.saturating_add(1),
            });
        }
        // What does not fit yet may do so with the next answer.
        if !self.store.is_answered() {
            return Ok(());
        }
        let mut templates = self.templates.iter().zip(&self.standings);
        let broken =
            templates.find(|(loaded, standing)| standing.state == State::Broken && loaded.goal.error_fatal());
        match broken {
            Some((loaded, _)) => Err(GaveUp::Template {
                goal: loaded.goal.to_string(),
            }),
            None => Ok(()),
        }
    }

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
        let mut unwritten = false;
        let standings = self.templates.iter().zip(&mut self.standings);
        for (position, (loaded, standing)) in standings.enumerate() {
            let Loaded { template, goal } = loaded;
            let limits = goal.limits();
            let sandbox = limits.sandbox_path.as_deref();
            let host = Machine {
                env: self.env,
                sandbox,
                seen: RefCell::default(),
            };
            let options = Options {
                error_on_missing_key: goal.error_on_missing_key(),
                denied: &limits.function_denylist,
                destination: &goal.destination().to_string_lossy(),
                host: &host,
                now: SystemTime::now(),
            };
            let result = template.render(&self.store, &options);
            standing.files = host.seen.take();
            let outcome = match result {
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
            if let Err(error) = standing.write_beside(outcome.writes, sandbox) {
                unwritten = true;
                seen::now().trouble(Trouble::Write);
                tracing::error!(file = %goal, error = %Chain(&error), "not written");
                standing.state = State::Unwritten;
                continue;
            }
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
        let reads_files = self.standings.iter().any(|standing| !standing.files.is_empty());
        self.look_at = reads_files.then(|| now + LOOK_AT_FILES);
        self.take_up(now);
    }

    /// Brings the store up to what the templates ask, and forgets the rest.
    fn take_up(&mut self, now: Instant) {
        let mut asked = BTreeMap::new();
        for (loaded, standing) in self.templates.iter().zip(&self.standings) {
            let interval = loaded.goal.interval();
            for query in standing.used.iter().chain(&standing.wanted) {
                let known = asked.entry(query).or_insert(interval);
                *known = refresh::shorter(*known, interval, self.store.settings());
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

#[cfg(test)]
#[path = "renderer_tests.rs"]
mod tests;
