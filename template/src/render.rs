//! What a rendering takes and gives.

use std::collections::BTreeSet;
use std::time::SystemTime;

use secrecy::SecretSlice;

use crate::eval;
use crate::parse::Template;
use crate::secrets::{Query, Secrets};

/// What a rendering depends on beside Vault.
pub struct Options<'a> {
    /// A missing key of a map is an error instead of `<no value>`.
    pub error_on_missing_key: bool,
    /// The environment, for `env`, `mustEnv` and `envOrDefault`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The time, for `timestamp`.
    pub now: SystemTime,
}

/// What came out of one rendering.
#[derive(Debug)]
pub struct Outcome {
    /// The text. Not to be written anywhere while something is missing.
    pub text: SecretSlice<u8>,
    /// Every question asked.
    pub used: BTreeSet<Query>,
    /// The questions that had no answer yet: fetch them and render again.
    pub missing: BTreeSet<Query>,
}

/// Why rendering failed. Holds names of fields, functions and types; never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: at <{at}>: {message}")]
pub struct RenderError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The expression that failed.
    pub at: String,
    /// What went wrong.
    pub message: String,
}

impl Template {
    /// Renders once with the answers there are. What fails on an answer that is not there yet is no error: the text is
    /// empty then, and the answer is among the missing.
    ///
    /// # Errors
    /// A function failed, a field does not exist, or a limit was passed.
    pub fn render(&self, secrets: &dyn Secrets, options: &Options<'_>) -> Result<Outcome, RenderError> {
        eval::run(self, secrets, options)
    }
}
