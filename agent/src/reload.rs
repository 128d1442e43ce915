//! The helper beside a Vault server: when the certificate on disk is not the one that the server shows, it sends that
//! server SIGHUP, so that it reads its files again. Where audit logs are written to a volume it rotates them, with the
//! same signal. It ends nothing, starts nothing and holds no secret.
//!
//! `arguments`, `decide`, `relief` and `rotate` are pure; `process` reads the table of processes and sends the signal, `files`
//! moves logs.

mod arguments;
mod decide;
mod files;
mod process;
mod relief;
mod rotate;

use std::collections::BTreeMap;
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
use files::Files;
use process::{Servers, Table};
use relief::Lot;
use rotate::{Step, Waiting};

/// How often file and process are looked at. The kubelet needs up to 90 s to bring a new file: a few more do not matter.
const PERIOD: Duration = Duration::from_secs(3);
/// How often audit logs are looked at: what is written in between comes on top of their size.
const ROTATION_PERIOD: Duration = Duration::from_secs(1);
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
    let mut waiting = Waiting::default();
    let (mut said, mut said_of_logs) = (String::new(), String::new());
    let mut ticks = interval(PERIOD);
    let mut turns = interval(ROTATION_PERIOD);
    for timer in [&mut ticks, &mut turns] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let (news, said) = tokio::select! {
            _ = ticks.tick() => (look(settings, &table, &mut state).await, &mut said),
            _ = turns.tick(), if settings.audit.is_some() => {
                let files = settings.audit.as_ref();
                (files.and_then(|files| turn(files, &table, &state, &mut waiting)), &mut said_of_logs)
            }
        };
        // Each state once: what lasts for hours must not fill a log.
        if let Some(news) = news.filter(|news| news != said) {
            tracing::info!("{news}");
            *said = news;
        }
    }
}

/// Removes logs that were put aside while the volume is nearly full. Returns what a person should know.
fn relieve(files: &Files) -> Option<String> {
    let folder = files.folder.display();
    let missing = match files.space() {
        Ok(space) => space.missing(),
        Err(error) => return Some(format!("the room in {folder} is not known: {error}")),
    };
    if missing == 0 {
        return None;
    }
    let lots = match files.lots() {
        Ok(lots) => relief::sooner(lots, missing),
        Err(error) => return Some(format!("{folder} cannot be read: {error}")),
    };
    if lots.is_empty() {
        return Some(format!(
            "{folder} is nearly full, and not by logs that were put aside: remove what else lies there, or let each file have a lower rotate.maxSize"
        ));
    }
    for Lot { base, number, .. } in lots {
        let log = rotate::aside(&base, number);
        match files.perform(&base, Step::Remove(number)) {
            Ok(()) => {
                tracing::warn!(%log, "removed sooner than declared: the volume for audit logs is nearly full");
            }
            Err(error) => {
                return Some(format!(
                    "{log} could not be removed from a volume that is nearly full: {error}"
                ));
            }
        }
    }
    None
}

/// One look at the audit logs. Returns what a person should know.
fn turn(files: &Files, table: &Table, state: &State, waiting: &mut Waiting) -> Option<String> {
    let relieved = relieve(files);
    rotate_large(files, table, state, waiting).or(relieved)
}

/// Puts aside the audit logs that are large enough, and has the server open them anew. Returns what a person should know.
fn rotate_large(files: &Files, table: &Table, state: &State, waiting: &mut Waiting) -> Option<String> {
    let found = match files.found() {
        Ok(found) => found,
        Err(error) => return Some(format!("{} cannot be read: {error}", files.folder.display())),
    };
    let mut reopen = waiting.still_written(&found);
    let mut problem = None;
    let rules = files.rules().unwrap_or_else(|why| {
        problem = Some(format!("the defaults hold for all logs: {why}"));
        // They are better than a volume that fills up.
        BTreeMap::new()
    });
    let plans = found.iter().map(|(base, found)| {
        let steps = rotate::steps(found, rules.get(base).copied());
        (base, found.current.unwrap_or_default(), steps)
    });
    let plans: Vec<_> = plans.filter(|(_, _, steps)| !steps.is_empty()).collect();
    if plans.is_empty() && reopen.is_empty() {
        return problem;
    }
    // What cannot be told to open its logs anew keeps them.
    let Ok(Servers::One(server)) = table.servers() else {
        return None;
    };
    if !state.has_started(server) {
        return None;
    }
    for (base, size, steps) in plans {
        match steps
            .iter()
            .try_for_each(|step: &Step| files.perform(base, *step))
        {
            Ok(()) => {
                waiting.put_aside(base, size);
                reopen.push(base.clone());
            }
            Err(error) => problem = Some(format!("{base} could not be put aside: {error}")),
        }
    }
    if reopen.is_empty() {
        return problem;
    }
    if let Err(error) = table.hang_up(server) {
        return Some(format!("the server could not be signalled: {error}"));
    }
    tracing::info!(files = %reopen.join(" "), "put aside: SIGHUP sent, so that the server opens them anew");
    problem
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
