//! `exec`: starts the application with variables from files that the sidecar renders. It only reads them: the login and the
//! secrets are the sidecar's. Runs in the application's own container.

mod arguments;
mod variables;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::children::Children;
use crate::logging::{self, Chain};
use crate::supervise::{self, Variables};
use crate::work;
use variables::VariablesError;

/// How often files that are not there yet are looked for.
const SOON: Duration = Duration::from_millis(200);
/// How often files are looked at for changes. A look is one call of the system per file.
const PERIOD: Duration = Duration::from_secs(1);
/// `EX_USAGE` of sysexits.
const EXIT_USAGE: u8 = 64;
/// `EX_TEMPFAIL` of sysexits: the files did not come in time.
const EXIT_LATE: u8 = 75;
/// More than an environment can be on any system.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Why a file gives no variables.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("may not read {}: give this container the same runAsUser as the sidecar that renders it", path.display())]
    Denied { path: PathBuf },
    #[error("{} holds more than {MOST_BYTES} bytes", path.display())]
    Large { path: PathBuf },
    #[error("{} does not hold variables", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: VariablesError,
    },
}

impl FileError {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Runs `exec` with the arguments after the verb.
pub(crate) fn main(arguments: &[String], env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let refuse = |error: &(dyn std::error::Error + 'static), code: u8| {
        let _ = writeln!(std::io::stderr(), "vaultkeeper-agent: {}", Chain(error));
        ExitCode::from(code)
    };
    let settings = match arguments::read(arguments) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error, EXIT_USAGE),
    };
    // The application's own output is what people look for in this container.
    logging::start(
        env("VAULT_LOG_LEVEL")
            .or_else(|| Some("warn".to_owned()))
            .as_deref(),
        env("VAULT_LOG_FORMAT").as_deref(),
    );
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error, EXIT_USAGE),
    };
    let arguments::Settings { files, wait, program } = settings;
    work::close_memory();
    runtime.block_on(async {
        let (sender, receiver) = watch::channel(None);
        let children = Children::new();
        let result = tokio::select! {
            result = supervise::run(&program, &children, receiver) => result,
            () = late(wait, &sender) => {
                let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                tracing::error!(files = names.join(" "), "the files did not come in time");
                return ExitCode::from(EXIT_LATE);
            }
            () = follow(&files, &sender) => return ExitCode::FAILURE,
        };
        if let Err(error) = &result {
            tracing::error!(error = %Chain(error), "no program");
        }
        supervise::exit_code(&result)
    })
}

/// Returns when the time is over and there are no variables yet.
async fn late(wait: Option<Duration>, variables: &watch::Sender<Option<Variables>>) {
    if let Some(wait) = wait {
        tokio::time::sleep_until(Instant::now() + wait).await;
        if variables.borrow().is_none() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Gives the variables of the files whenever they differ from those before, for ever.
async fn follow(files: &[PathBuf], variables: &watch::Sender<Option<Variables>>) {
    let mut stamps = None;
    let mut texts: Option<Vec<SecretString>> = None;
    let mut said = String::new();
    let mut ticks = interval(SOON);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now: Vec<_> = files.iter().map(|file| stamp(file)).collect();
        if stamps.as_ref() == Some(&now) {
            continue;
        }
        stamps = Some(now);
        match read(files) {
            Ok((read, merged)) => {
                said.clear();
                if texts.as_ref().is_some_and(|texts| are_same(texts, &read)) {
                    continue;
                }
                if texts.is_none() {
                    warn_of_readers(files);
                    ticks = interval(PERIOD);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    ticks.reset();
                }
                texts = Some(read);
                variables.send_replace(Some(merged));
            }
            Err(error) => {
                // Each state once. While the program runs it keeps what it was started with.
                let text = Chain(&error).to_string();
                if text != said && !error.is_absent() {
                    tracing::error!(error = text, "no variables");
                } else if text != said {
                    tracing::info!(error = text, "waiting for the file");
                }
                said = text;
            }
        }
    }
}

/// What tells one content of a file from the next without reading it: the sidecar replaces files, it never changes them.
fn stamp(file: &Path) -> Option<(u64, u64, i64, i64, u64)> {
    let there = fs::metadata(file).ok()?;
    Some((
        there.dev(),
        there.ino(),
        there.mtime(),
        there.mtime_nsec(),
        there.size(),
    ))
}

fn are_same(old: &[SecretString], new: &[SecretString]) -> bool {
    let pairs = old.iter().zip(new);
    old.len() == new.len()
        && pairs
            .into_iter()
            .all(|(old, new)| old.expose_secret() == new.expose_secret())
}

fn read(files: &[PathBuf]) -> Result<(Vec<SecretString>, Variables), FileError> {
    let mut merged = BTreeMap::new();
    let mut texts = Vec::new();
    for path in files {
        let fault = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => FileError::Denied { path: path.clone() },
            _ => FileError::Read {
                path: path.clone(),
                source,
            },
        };
        let mut text = String::new();
        let file = File::open(path).map_err(fault)?;
        file.take(MOST_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(fault)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
            return Err(FileError::Large { path: path.clone() });
        }
        merged.extend(variables::parse(&text).map_err(|source| FileError::Parse {
            path: path.clone(),
            source,
        })?);
        texts.push(SecretString::from(text));
    }
    Ok((texts, Arc::new(merged.into_iter().collect())))
}

/// A file of secrets that others may read is a mistake somewhere, and no reason to keep the application down.
fn warn_of_readers(files: &[PathBuf]) {
    for file in files {
        if fs::metadata(file).is_ok_and(|there| there.mode() & 0o004 != 0) {
            tracing::warn!(file = %file.display(), "every user of this container may read the file: give it the mode 0400");
        }
    }
}
