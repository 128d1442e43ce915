//! Reads the configuration's text from files or from the environment.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::document::{Node, merge};
use super::hcl::HclError;
use super::report::Problem;
use super::{Config, parse};

/// Why there is no configuration to work with. No value is repeated: one could be secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither a file nor the variable is given.
    #[error("no configuration: give -config=FILE or the variable VAULT_CONFIG (base64 of JSON or HCL)")]
    Absent,
    /// A file or folder cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A folder holds no configuration.
    #[error("the folder {} holds no file that ends in .hcl or .json", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file's text is no configuration.
    #[error("cannot use {}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<ConfigError>,
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
    /// The text is not HCL.
    #[error("the configuration is not HCL: {0}")]
    Hcl(HclError),
    /// Keys are wrong.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Reads and checks the configuration: these files and folders put together, or the variable `VAULT_CONFIG` without any.
/// Returns it with warnings about keys that have no effect.
///
/// # Errors
/// There is none, it is neither JSON nor HCL, or keys are wrong; the error names the path of each.
pub fn load(
    paths: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Vec<String>), ConfigError> {
    if paths.is_empty() {
        let encoded = env("VAULT_CONFIG")
            .filter(|text| !text.is_empty())
            .ok_or(ConfigError::Absent)?;
        let bytes = STANDARD.decode(encoded.trim()).map_err(|_| ConfigError::Base64)?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::Base64)?;
        return parse::check(&parse::document(&text)?, env);
    }
    let mut documents = Vec::new();
    for path in paths {
        documents.extend(read(Path::new(path))?);
    }
    parse::check(&merge(documents), env)
}

/// A file, or what a folder holds in the order of the names.
fn read(path: &Path) -> Result<Vec<Node>, ConfigError> {
    let fault = |source| ConfigError::File {
        path: path.to_owned(),
        source,
    };
    if !path.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if is_configuration(&file) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(ConfigError::Empty {
            path: path.to_owned(),
        });
    }
    files.iter().map(|path| file(path)).collect()
}

/// By its name; not what an editor leaves beside it.
fn is_configuration(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let name = path.file_name().and_then(|name| name.to_str());
    matches!(ending, Some("hcl" | "json")) && name.is_some_and(|name| !name.starts_with(".#"))
}

fn file(path: &Path) -> Result<Node, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source,
    })?;
    parse::document(&text).map_err(|source| ConfigError::In {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH: &str =
        r#"{"auto_auth": {"method": {"type": "token_file", "config": {"token_file_path": "/t"}}}}"#;

    #[test]
    fn the_files_of_a_folder_are_put_together_and_what_an_editor_left_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let vault = r#"{"vault": {"address": "https://vault:8200"}}"#;
        for (name, text) in [
            ("auth.json", AUTH),
            ("vault.json", vault),
            ("notes.txt", "no configuration"),
            (".#vault.json", "half a "),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (config, warnings) = load(&[folder.path().display().to_string()], &|_| None).unwrap();
        assert_eq!(config.vault.address, "https://vault:8200");
        assert_eq!(config.login.method.name(), "token_file");
        assert!(warnings.is_empty(), "nothing is unknown: {warnings:?}");
    }

    #[test]
    fn a_file_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.json");
        std::fs::write(&path, "{").unwrap();
        let error = load(&[path.display().to_string()], &|_| None).expect_err("it ends early");
        assert!(
            error.to_string().contains("broken.json"),
            "the file is not named: {error}"
        );
        let error = load(&[folder.path().join("none").display().to_string()], &|_| None);
        assert!(
            matches!(error, Err(ConfigError::File { .. })),
            "an absent file is an error"
        );
    }
}
