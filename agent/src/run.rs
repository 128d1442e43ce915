//! The program: reads the command line and the configuration, and starts what they ask for.

use std::io::Write as _;
use std::process::ExitCode;

use crate::arguments::{self, Verb};
use crate::config::{self, Config};
use crate::logging::{self, Chain};
use crate::{check, exec, install, ready, reload, templates, work};

/// `EX_USAGE` of sysexits: a configuration that no retry will mend.
const EXIT_USAGE: u8 = 64;

/// Runs the program with these arguments and this environment.
pub fn main(arguments: impl IntoIterator<Item = String>, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    // Programs of their own, with options of their own.
    match arguments.split_first() {
        Some((verb, rest)) if verb == "reload" => return reload::main(rest, env),
        Some((verb, rest)) if verb == "exec" => return exec::main(rest, env),
        Some((verb, rest)) if verb == "install" => return install::main(rest),
        _ => {}
    }
    let read = match arguments::read(arguments) {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    let once = match read.verb {
        Verb::Version => {
            // Nothing to do about a closed stdout.
            let _ = writeln!(
                std::io::stdout(),
                "vaultkeeper-agent {}",
                env!("CARGO_PKG_VERSION")
            );
            return ExitCode::SUCCESS;
        }
        Verb::Check => return check::main(&read.config, env),
        Verb::Run | Verb::Ready => None,
        Verb::RenderOnce { timeout } => Some(timeout),
    };
    let (mut config, warnings) = match config::load(&read.config, env) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if read.verb == Verb::Ready {
        return ready(&config);
    }
    let of = |name: &str, own: &Option<String>| env(name).or_else(|| own.clone());
    logging::start(
        of("VAULT_LOG_LEVEL", &config.log.level).as_deref(),
        of("VAULT_LOG_FORMAT", &config.log.format).as_deref(),
    );
    let odd = check::warnings(&config, env("PATH").as_deref());
    for warning in warnings.into_iter().chain(odd) {
        tracing::warn!("{warning}");
    }
    let templates = match templates::load(&config) {
        Ok(templates) => templates,
        Err(error) => return refuse(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    config.exit_after_auth |= once.is_some();
    if config.exec.is_some() && std::mem::take(&mut config.exit_after_auth) {
        // Its end is the program's.
        tracing::warn!("exec runs until its program ends: rendering once is ignored");
    }
    match runtime.block_on(work::work(&config, &templates, env, once.flatten())) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "ends");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Says on stderr what is wrong with what the user gave.
fn refuse(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "vaultkeeper-agent: {}", Chain(error));
    ExitCode::from(EXIT_USAGE)
}

/// The probe.
fn ready(config: &Config) -> ExitCode {
    match ready::missing(&ready::files(config)) {
        None => ExitCode::SUCCESS,
        Some(file) => {
            let _ = writeln!(std::io::stderr(), "{} is not there yet", file.display());
            ExitCode::FAILURE
        }
    }
}
