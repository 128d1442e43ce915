//! The operator's program: crypto provider, settings, log, run.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vaultkeeper_operator::run::run;
use vaultkeeper_operator::settings::{LogFormat, Settings};

fn main() -> ExitCode {
    let settings = Settings::parse();
    start_log(&settings);
    // Fails only when one is installed already, which nobody but this line does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(settings));
    // What still runs after the deadline of a shutdown must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "ended");
            ExitCode::FAILURE
        }
    }
}

fn start_log(settings: &Settings) {
    let (filter, complaint) = match EnvFilter::try_new(&settings.log_filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    if let Some(error) = complaint {
        tracing::warn!(%error, "the log filter is not understood: info is used");
    }
}
