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
                quiet.not_written();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::templates;

    struct Rig {
        outputs: Outputs,
        templates: Vec<Loaded>,
        orders: mpsc::UnboundedReceiver<Vec<Action>>,
        program: watch::Receiver<Option<Variables>>,
    }

    /// Outputs for what stands in a configuration beside its login.
    fn rig(keys: serde_json::Value) -> Rig {
        let mut config = serde_json::json!({
            "vault": {"address": "https://v:8200"},
            "auto_auth": {"method": {"type": "kubernetes", "config": {"role": "app"}}},
        });
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        let (config, _) = crate::config::parse(&config.to_string(), &|_| None).unwrap();
        let templates = templates::load(&config).unwrap();
        let (order, orders) = mpsc::unbounded_channel();
        let (variable, program) = watch::channel(None);
        Rig {
            outputs: Outputs::new(&templates, order, variable),
            templates,
            orders,
            program,
        }
    }

    impl Rig {
        fn take(&mut self, position: usize, content: &str, now: Instant) -> Delivery {
            let goal = &self.templates[position].goal;
            self.outputs.take(position, goal, content.as_bytes(), now)
        }

        /// How many things were ordered by this pass.
        fn finish(&mut self) -> usize {
            self.outputs.finish();
            self.orders.try_recv().map_or(0, |actions| actions.len())
        }
    }

    #[test]
    fn only_files_that_changed_ask_for_something() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let now = Instant::now();
        let mut rig = rig(serde_json::json!({"template": [
            {"contents": "-", "destination": file("a"), "command": "reload a",
                "after_change": {"url": "http://127.0.0.1/", "method": "GET"}},
            {"contents": "-", "destination": file("b")},
        ]}));
        assert_eq!(rig.take(0, "one", now), Delivery::Done);
        assert_eq!(rig.take(1, "one", now), Delivery::Done);
        assert_eq!(rig.finish(), 1, "the first rendering runs the command alone");
        rig.take(0, "one", now);
        rig.take(1, "two", now);
        assert_eq!(rig.finish(), 0, "the file with the command has not changed");
        rig.take(0, "two", now);
        assert_eq!(rig.finish(), 2, "a change asks for everything");
    }

    #[test]
    fn what_is_held_back_is_neither_written_nor_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let now = Instant::now();
        let mut rig = rig(serde_json::json!({"template": [
            {"contents": "-", "destination": path, "command": "reload", "wait": "5s:20s"},
        ]}));
        rig.take(0, "one", now);
        assert_eq!(rig.finish(), 1);
        assert_eq!(rig.take(0, "two", now), Delivery::Held);
        assert_eq!(rig.finish(), 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        let due = rig.outputs.due(rig.templates.iter().map(|loaded| &loaded.goal));
        assert_eq!(due, Some(now + Duration::from_secs(5)));
        assert_eq!(rig.take(0, "two", now + Duration::from_secs(5)), Delivery::Done);
        assert_eq!(rig.finish(), 1);
    }

    #[test]
    fn a_file_that_could_not_be_written_is_taken_at_the_next_try() {
        let folder = tempfile::tempdir().unwrap();
        let obstacle = folder.path().join(".a.vaultkeeper");
        fs::create_dir(&obstacle).unwrap();
        let now = Instant::now();
        let mut rig = rig(serde_json::json!({"template": [
            {"contents": "-", "destination": folder.path().join("a"), "command": "reload", "wait": "5s:20s"},
        ]}));
        assert_eq!(rig.take(0, "one", now), Delivery::Failed);
        assert_eq!(rig.finish(), 0, "nothing has changed");
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(
            rig.take(0, "one", now),
            Delivery::Done,
            "the first one waits for nothing"
        );
        assert_eq!(rig.finish(), 1);
    }

    #[test]
    fn a_program_gets_its_variables_once_all_are_there_and_again_when_one_differs() {
        let now = Instant::now();
        let mut rig = rig(serde_json::json!({
            "exec": {"command": ["app"]},
            "env_template": [{"A": {"contents": "-"}}, {"B": {"contents": "-"}}],
        }));
        let has_changed = |rig: &mut Rig| {
            rig.outputs.finish();
            rig.program.has_changed().unwrap() && rig.program.borrow_and_update().is_some()
        };
        rig.take(0, "one", now);
        assert!(!has_changed(&mut rig), "half of the variables are none");
        rig.take(1, "two", now);
        assert!(has_changed(&mut rig), "all are there");
        rig.take(0, "one", now);
        rig.take(1, "two", now);
        assert!(!has_changed(&mut rig), "the same ones are no change");
        assert_eq!(rig.take(1, "nul\0", now), Delivery::Failed, "no system takes it");
        assert!(!has_changed(&mut rig), "the last good value stays");
        rig.take(1, "three", now);
        assert!(has_changed(&mut rig), "one differs");
    }
}
