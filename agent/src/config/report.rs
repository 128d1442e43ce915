//! What is found while a configuration is read: everything at once, so that nobody mends one mistake at a time.

use std::cell::RefCell;
use std::fmt;

/// Where in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The key's path, as `template[0].perms`.
    pub path: String,
    /// From 1, where the configuration's form tells it.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line } = self;
        match line {
            Some(line) => write!(f, "{path} (line {line})"),
            None => f.write_str(path),
        }
    }
}

/// A key that keeps a configuration from being used. No value is repeated: one could be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A key that must be there is not.
    #[error("{0} is missing")]
    Missing(Place),
    /// A key's value cannot be used.
    #[error("{place} {reason}")]
    Wrong {
        /// The key.
        place: Place,
        /// What it must be.
        reason: String,
    },
}

/// Collects what is found.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Report {
    pub(super) fn missing(&self, place: Place) {
        self.problems.borrow_mut().push(Problem::Missing(place));
    }

    pub(super) fn wrong(&self, place: Place, reason: impl Into<String>) {
        let reason = reason.into();
        self.problems.borrow_mut().push(Problem::Wrong { place, reason });
    }

    pub(super) fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// The problems and the warnings.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }
}
