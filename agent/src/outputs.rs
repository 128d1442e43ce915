//! Where renderings go, and what is ordered after that. Writes files.

use std::path::Path;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::after::{Action, plan};
use crate::config;
use crate::logging::Chain;
use crate::quiet::Quiet;
use crate::seen::{self, Trouble};
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

/// The files of all templates.
pub(crate) struct Outputs {
    quiet: Vec<Quiet>,
    /// What the files of this pass ask for, in the order of the templates.
    asked: Vec<Action>,
    orders: mpsc::UnboundedSender<Vec<Action>>,
}

impl Outputs {
    /// For so many templates. What is to be done after changes is ordered there.
    pub(crate) fn new(templates: usize, orders: mpsc::UnboundedSender<Vec<Action>>) -> Self {
        Self {
            quiet: (0..templates).map(|_| Quiet::default()).collect(),
            asked: Vec::new(),
            orders,
        }
    }

    /// Takes the rendering of the template at this position.
    pub(crate) fn file(
        &mut self,
        position: usize,
        config: &config::Template,
        content: &[u8],
        now: Instant,
    ) -> Delivery {
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
    }

    /// When something that is held back is to be rendered again.
    pub(crate) fn due<'a>(&self, configs: impl Iterator<Item = &'a config::Template>) -> Option<Instant> {
        let quiet = self.quiet.iter().zip(configs);
        quiet.filter_map(|(quiet, config)| quiet.due(config.wait)).min()
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
