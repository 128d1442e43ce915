//! The helper beside a Vault server: when the certificate on disk is not the one that the server shows, it sends that
//! server SIGHUP, so that it reads its files again. It ends nothing, starts nothing and holds no secret.
//!
//! `arguments` and `decide` are pure; `process` reads the table of processes and sends the signal.

mod arguments;
mod decide;
mod process;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use vaultkeeper_vault::{CertificateDer, shown_certificate};

use crate::logging::{self, Chain};
use arguments::Settings;
use decide::{State, Verdict};
use process::{Servers, Table};

/// How often file and process are looked at. The kubelet needs up to 90 s to bring a new file: a few more do not matter.
const PERIOD: Duration = Duration::from_secs(3);
/// How long the server may take to show its certificate.
const SHOW_LIMIT: Duration = Duration::from_secs(3);
/// `EX_USAGE` of sysexits.
const EXIT_USAGE: u8 = 64;

/// Runs the helper with the arguments after `reload`.
pub(crate) fn main(arguments: &[String], env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let settings = match arguments::read(arguments) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    logging::start(
        env("VAULT_LOG_LEVEL").as_deref(),
        env("VAULT_LOG_FORMAT").as_deref(),
    );
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    match runtime.block_on(run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "vaultkeeper-agent: {}", Chain(error));
    ExitCode::from(EXIT_USAGE)
}

async fn run(settings: &Settings) -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        certificate = %settings.certificate.display(),
        server = settings.command.join(" "),
        "started"
    );
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = watch(settings) => {}
    }
    tracing::info!("told to stop");
    Ok(())
}

async fn watch(settings: &Settings) {
    let table = Table::of_this_system(settings.command.clone());
    let mut state = State::default();
    let mut said = String::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let news = look(settings, &table, &mut state).await;
        // Each state once: what lasts for hours must not fill a log.
        if let Some(news) = news.filter(|news| *news != said) {
            tracing::info!("{news}");
            said = news;
        }
    }
}

/// One look. Returns what a person should know of it.
async fn look(settings: &Settings, table: &Table, state: &mut State) -> Option<String> {
    let wanted = match read_certificate(&settings.certificate) {
        Ok(wanted) => wanted,
        Err(why) => return Some(format!("no certificate on disk yet: {why}")),
    };
    let server = match table.servers() {
        Ok(Servers::One(server)) => server,
        Ok(Servers::None) => return Some("the server does not run yet".to_owned()),
        Ok(Servers::Several(pids)) => {
            return Some(format!(
                "several processes look like the server ({pids:?}): none is signalled"
            ));
        }
        Err(error) => return Some(format!("the processes cannot be read: {error}")),
    };
    if state.is_settled(server, &wanted) {
        return None;
    }
    let shown = match shown(&settings.address).await {
        Ok(shown) => shown,
        Err(why) => return Some(format!("the server shows no certificate yet: {why}")),
    };
    match state.judge(server, &wanted, &shown, Instant::now()) {
        Verdict::Settled => Some("the server shows the certificate on disk".to_owned()),
        Verdict::Wait => None,
        Verdict::Signal { again } => {
            // Looked for again right before: the signal is for this process and no other.
            if let Err(error) = table.hang_up(server) {
                return Some(format!("the server could not be signalled: {error}"));
            }
            Some(if again {
                "the server shows another certificate than the one on disk, also after SIGHUP: its log says why it does not take it".to_owned()
            } else {
                format!(
                    "the certificate on disk is new: SIGHUP sent to process {}",
                    server.pid
                )
            })
        }
    }
}

fn read_certificate(file: &Path) -> Result<CertificateDer<'static>, String> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// What the server shows at the first address of `host:port` that takes a connection.
async fn shown(address: &str) -> Result<CertificateDer<'static>, String> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| format!("{address}: {error}"))?
        .collect();
    let mut why = format!("{address} has no address");
    for one in found {
        match shown_certificate(one, SHOW_LIMIT).await {
            Ok(certificate) => return Ok(certificate),
            Err(error) => why = Chain(&error).to_string(),
        }
    }
    Err(why)
}
