//! The program: reads the configuration, starts the parts, ends on a signal.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::arguments::{self, Verb};
use crate::config::{self, Config};
use crate::connection::Connection;
use crate::logging::{self, Chain};
use crate::login::LoginError;
use crate::renderer::GaveUp;
use crate::revoke::revoke;
use crate::templates::{self, Loaded};
use crate::{exec, reload, renderer, session, write};

/// `EX_USAGE` of sysexits: a configuration that no retry will mend.
const EXIT_USAGE: u8 = 64;

/// Runs the program with these arguments and this environment.
pub fn main(arguments: impl IntoIterator<Item = String>, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    // Programs of their own, with options of their own.
    match arguments.split_first() {
        Some((verb, rest)) if verb == "reload" => return reload::main(rest, env),
        Some((verb, rest)) if verb == "exec" => return exec::main(rest, env),
        _ => {}
    }
    let read = match arguments::read(arguments) {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    if read.verb == Verb::Version {
        // Nothing to do about a closed stdout.
        let _ = writeln!(
            std::io::stdout(),
            "vaultkeeper-agent {}",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    let (config, warnings) = match config::load(&read.config, env) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if read.verb == Verb::Ready {
        return ready(&config);
    }
    logging::start(
        env("VAULT_LOG_LEVEL")
            .or_else(|| config.log.level.clone())
            .as_deref(),
        env("VAULT_LOG_FORMAT")
            .or_else(|| config.log.format.clone())
            .as_deref(),
    );
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let templates = match templates::load(&config.templates) {
        Ok(templates) => templates,
        Err(error) => return refuse(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    match runtime.block_on(run(&config, &templates, env)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "ends");
            ExitCode::FAILURE
        }
    }
}

/// Why the agent ended although nobody told it to.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot wait for signals")]
    Signals(#[from] std::io::Error),
    #[error("gave up, as auto_auth.method.exit_on_err asks for")]
    Login(#[source] LoginError),
    #[error("gave up, as template_config.exit_on_retry_failure asks for")]
    Rendering(#[source] GaveUp),
}

/// Says on stderr what is wrong with what the user gave.
fn refuse(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "vaultkeeper-agent: {}", Chain(error));
    ExitCode::from(EXIT_USAGE)
}

/// The probe: every destination and every sink exists. A file of an earlier run counts too: Vault being away takes no app down.
fn ready(config: &Config) -> ExitCode {
    let destinations = config.templates.iter().map(|template| &template.destination);
    let mut files = destinations.chain(config.sinks.iter().map(|sink| &sink.path));
    match files.find(|file| !write::is_there(file)) {
        None => ExitCode::SUCCESS,
        Some(file) => {
            let _ = writeln!(std::io::stderr(), "{} is not there yet", file.display());
            ExitCode::FAILURE
        }
    }
}

async fn run(
    config: &Config,
    templates: &[Loaded],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(), RunError> {
    // As process 1 of a container there is no default action for these: without a handler they would be ignored.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let connection = Connection::new(config.vault.clone());
    let (identity, identities) = watch::channel(None);
    let (doubt, doubts) = mpsc::channel(1);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        templates = templates.len(),
        "started"
    );
    let held = identities.clone();
    let work = async {
        tokio::select! {
            error = session::keep(&connection, config, identity, doubts) => Err(RunError::Login(error)),
            done = renderer::render(&connection, config, templates, env, identities, doubt) => {
                done.map_err(RunError::Rendering)
            }
        }
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        done = &mut work => return done,
    }
    tracing::info!("told to stop");
    if let Some(grace) = config.login.revoke_on_shutdown {
        // The app may need its secrets for its own end.
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = sleep(grace) => {}
            _ = &mut work => {}
        }
        let identity = held.borrow().clone();
        revoke(&connection, identity.as_ref()).await;
    }
    Ok(())
}
