//! Whether everything is there that the application waits for: each file exists. One of an earlier run counts, too: Vault
//! being away takes no application out of its Service.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::write;

/// All files that the configuration promises.
pub(crate) fn files(config: &Config) -> Vec<PathBuf> {
    let destinations = config.templates.iter().map(|template| &template.destination);
    let sinks = config.sinks.iter().map(|sink| &sink.path);
    destinations.chain(sinks).cloned().collect()
}

/// The first of these files that is not there.
pub(crate) fn missing(files: &[PathBuf]) -> Option<&Path> {
    files
        .iter()
        .map(PathBuf::as_path)
        .find(|file| !write::is_there(file))
}
