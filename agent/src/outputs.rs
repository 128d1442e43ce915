//! Where renderings go: into files, and into variables of a program; and what is ordered after that. Writes files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::after::{Action, plan};
use crate::config;
use crate::logging::Chain;
use crate::quiet::Quiet;
use crate::seen::{self, Trouble};
use crate::supervise::Variables;
use crate::templates::{Goal, Loaded};
use crate::write::{self, Owner, Target, Written};

/// What became of a rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The file holds it.
    Done,
    /// It waits for further changes.
    Held,
    /// The file could not be written; the last good one stays.
    Failed,
}

/// The files and variables of all templates.
pub(crate) struct Outputs {
    quiet: Vec<Quiet>,
    /// What the files of this pass ask for, in the order of the templates.
    asked: Vec<Action>,
    orders: mpsc::UnboundedSender<Vec<Action>>,
    /// The variables of the program that the agent runs, as far as they are rendered.
    variables: BTreeMap<String, SecretString>,
    variables_changed: bool,
    /// How many there will be.
    variables_wanted: usize,
    program: watch::Sender<Option<Variables>>,
}

impl Outputs {
    /// For these templates. What is to be done after changes is ordered there; the program gets its variables there.
    pub(crate) fn new(
        templates: &[Loaded],
        orders: mpsc::UnboundedSender<Vec<Action>>,
        program: watch::Sender<Option<Variables>>,
    ) -> Self {
        let is_variable = |loaded: &&Loaded| matches!(loaded.goal, Goal::Variable(_));
        Self {
            quiet: templates.iter().map(|_| Quiet::default()).collect(),
            asked: Vec::new(),
            orders,
            variables: BTreeMap::new(),
            variables_changed: false,
            variables_wanted: templates.iter().filter(is_variable).count(),
            program,
        }
    }

    /// Takes the rendering of the template at this position.
    pub(crate) fn take(&mut self, position: usize, goal: &Goal, content: &[u8], now: Instant) -> Delivery {
        match goal {
            Goal::File(config) => self.file(position, config, content, now),
            Goal::Variable(config) => self.variable(&config.name, content),
        }
    }

    fn variable(&mut self, name: &str, content: &[u8]) -> Delivery {
        // As a system gives variables to programs: no zero byte, and what is no text stays out of the way of what is.
        let Some(text) = std::str::from_utf8(content)
            .ok()
            .filter(|text| !text.contains('\0'))
        else {
            seen::now().trouble(Trouble::Render);
            tracing::error!(variable = name, "not taken: the rendering is no text");
            return Delivery::Failed;
        };
        let is_same = self
            .variables
            .get(name)
            .is_some_and(|there| there.expose_secret() == text);
        if !is_same {
            self.variables.insert(name.to_owned(), SecretString::from(text));
            self.variables_changed = true;
        }
        Delivery::Done
    }

    fn file(&mut self, position: usize, config: &config::Template, content: &[u8], now: Instant) -> Delivery {
        let Some(quiet) = self.quiet.get_mut(position) else {
            return Delivery::Failed;
        };
        if !quiet.offer(content, config.wait, now) {
            return Delivery::Held;
        }
        let file: &Path = &config.destination;
        match write::atomically(&target(config), content) {
            Ok(written) => {
                quiet.written(content);
                let is_new = written != Written::Unchanged;
                seen::now().rendered(file, is_new, SystemTime::now());
                if is_new {
                    tracing::info!(file = %file.display(), bytes = content.len(), "rendered");
                    let is_first = written == Written::Created;
                    self.asked.extend(plan::actions(
                        config.run.as_ref(),
                        config.after_change.as_ref(),
                        is_first,
                    ));
                }
                Delivery::Done
            }
            Err(error) => {
                seen::now().trouble(Trouble::Write);
                tracing::error!(error = %Chain(&error), "not written");
                Delivery::Failed
            }
        }
    }

    /// The end of a pass over all templates: what their files asked for is ordered at once.
    pub(crate) fn finish(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if !asked.is_empty() {
            // Nobody acts any more when the agent ends.
            let _ = self.orders.send(asked);
        }
        if self.variables_changed && self.variables.len() == self.variables_wanted {
            self.variables_changed = false;
            tracing::info!(variables = self.variables.len(), "the variables have changed");
            let all = self
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()));
            self.program.send_replace(Some(Arc::new(all.collect())));
        }
    }

    /// When something that is held back is to be rendered again.
    pub(crate) fn due<'a>(&self, goals: impl Iterator<Item = &'a Goal>) -> Option<Instant> {
        let due = self
            .quiet
            .iter()
            .zip(goals)
            .filter_map(|(quiet, goal)| match goal {
                Goal::File(config) => quiet.due(config.wait),
                Goal::Variable(_) => None,
            });
        due.min()
    }
}

fn target(config: &config::Template) -> Target<'_> {
    Target {
        path: &config.destination,
        mode: config.mode,
        owner: Owner {
            user: config.user.as_ref(),
            group: config.group.as_ref(),
        },
        create_folders: config.create_folders,
        backup: config.backup,
    }
}
