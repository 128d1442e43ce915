//! What a rendering takes and gives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::SecretSlice;

use crate::eval;
use crate::parse::Template;
use crate::secrets::{Query, Secrets};

/// What a template asks of the machine it is rendered on. Rendering itself does no I/O.
pub trait Host {
    /// A variable of the environment, for `env`, `mustEnv` and `envOrDefault`; `None` when it is not set.
    fn env(&self, name: &str) -> Option<String>;

    /// The content of a file, for `file`; `None` when it is not there yet, and the template then waits for it.
    ///
    /// # Errors
    /// The file may not be read by a template. The words must not hold a secret.
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, String>;
}

/// What a rendering depends on beside Vault.
pub struct Options<'a> {
    /// A missing key of a map is an error instead of `<no value>`.
    pub error_on_missing_key: bool,
    /// Functions that this template may not call; `*` stands for any number of letters (`sprig_*`).
    pub denied: &'a [String],
    /// The file that the template is for; `pkiCert` keeps its certificate there.
    pub destination: &'a str,
    /// The environment and the files.
    pub host: &'a dyn Host,
    /// The time, for `timestamp`.
    pub now: SystemTime,
}

/// One call of `writeToFile`, in the order of the calls.
#[derive(Clone, PartialEq)]
pub struct FileWrite {
    /// Where to.
    pub path: String,
    /// The owner by name or number; empty for the agent's own.
    pub user: String,
    /// The group by name or number; empty for the agent's own.
    pub group: String,
    /// The permission bits.
    pub mode: u32,
    /// Behind what is in the file already, instead of in its place.
    pub append: bool,
    /// What to write, the line break of the flag `newline` included.
    pub content: Arc<[u8]>,
}

impl std::fmt::Debug for FileWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWrite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
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
    /// Every file read by `file`: render again when one of them changes.
    pub files: BTreeSet<String>,
    /// The files that are not there yet. While there are any, the text is not to be written.
    pub missing_files: BTreeSet<String>,
    /// What `writeToFile` asks for. Not to be done while something is missing.
    pub writes: Vec<FileWrite>,
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
