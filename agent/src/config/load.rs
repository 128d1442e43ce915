//! Reads the configuration's text from a file or from the environment.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Config, parse};

/// Why there is no configuration to work with. No value is repeated: one could be secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither a file nor the variable is given.
    #[error("no configuration: give -config=FILE or the variable VAULT_CONFIG (base64 of JSON)")]
    Absent,
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not base64.
    #[error("VAULT_CONFIG is not base64")]
    Base64,
    /// The text is not JSON.
    #[error("the configuration is not JSON: {reason} at line {line}, column {column}")]
    Json {
        /// What kind of mistake.
        reason: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A key that must be there is not.
    #[error("{path} is missing")]
    Missing {
        /// The key's path.
        path: String,
    },
    /// A key's value cannot be used.
    #[error("{path} {reason}")]
    Wrong {
        /// The key's path.
        path: String,
        /// What it must be.
        reason: String,
    },
}

/// Reads and checks the configuration. Returns it with warnings about keys that have no effect.
///
/// # Errors
/// There is none, it is not JSON, or a key is wrong; the error names the key's path.
pub fn load(
    file: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Vec<String>), ConfigError> {
    let text = if let Some(path) = file {
        std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: PathBuf::from(path),
            source,
        })?
    } else {
        let encoded = env("VAULT_CONFIG")
            .filter(|text| !text.is_empty())
            .ok_or(ConfigError::Absent)?;
        let bytes = STANDARD.decode(encoded.trim()).map_err(|_| ConfigError::Base64)?;
        String::from_utf8(bytes).map_err(|_| ConfigError::Base64)?
    };
    parse(&text, env)
}
