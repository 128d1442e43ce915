//! Runs a program with variables from elsewhere: passes signals on, restarts or signals it when they change, and ends with
//! its code. Starts processes.

mod decide;

use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::children::{Children, Ending};
use crate::signals::{self, FORWARDED};
use decide::{Act, Supervisor};

pub(crate) use decide::OnChange;

/// Variables for the program, all of them at once.
pub(crate) type Variables = Arc<Vec<(String, SecretString)>>;

/// What is run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its path or name, and its arguments.
    pub(crate) command: Vec<String>,
    /// What happens when its variables change.
    pub(crate) on_change: OnChange,
    /// How it is told to stop before a restart.
    pub(crate) stop_signal: Signal,
    /// How long it may take to stop before it is killed.
    pub(crate) stop_timeout: Duration,
}

/// Why there is no program to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    #[error("no command to run")]
    NoCommand,
    #[error("cannot start {command}")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error("cannot wait for the program")]
    Wait(#[source] io::Error),
}

impl SuperviseError {
    /// The code that a shell would end with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            Self::NoCommand | Self::Signals(_) | Self::Wait(_) => 1,
        }
    }
}

/// Runs the program from the first variables on until it ends by itself. Returns its exit code.
pub(crate) async fn run(
    program: &Program,
    children: &Children,
    mut variables: watch::Receiver<Option<Variables>>,
) -> Result<u8, SuperviseError> {
    let mut signals = listen().map_err(SuperviseError::Signals)?;
    let mut current = loop {
        let there = variables.borrow_and_update().clone();
        if let Some(there) = there {
            break there;
        }
        tokio::select! {
            Some(signal) = signals.recv() => {
                if signals::asks_to_end(signal) {
                    return Ok(Ending::Signal(signal.as_raw()).exit_code());
                }
            }
            changed = variables.changed() => {
                if changed.is_err() {
                    return Ok(NEVER_STARTED);
                }
            }
        }
    };
    let mut supervisor = Supervisor::new(program.on_change, program.stop_signal, program.stop_timeout);
    let mut running = Running(Some(start(program, children, &current)?));
    let mut are_more = true;
    while let Some(pid) = running.0 {
        let act = tokio::select! {
            biased;
            ending = children.ended(pid) => {
                let ending = ending.map_err(SuperviseError::Wait)?;
                running.0 = None;
                tracing::info!(%ending, "the program has ended");
                match supervisor.ended() {
                    Act::Start => {
                        current = variables.borrow_and_update().clone().unwrap_or(current);
                        running.0 = Some(start(program, children, &current)?);
                        continue;
                    }
                    _ => return Ok(ending.exit_code()),
                }
            }
            Some(signal) = signals.recv() => supervisor.signalled(signal),
            changed = variables.changed(), if are_more => {
                // The program outlives whoever gives it variables.
                are_more = changed.is_ok();
                if are_more { supervisor.changed(Instant::now()) } else { Act::Nothing }
            }
            () = reach(supervisor.due()) => supervisor.late(),
        };
        if let Act::Send(signal) = act {
            tracing::debug!(signal = %signals::name(signal), "signal to the program");
            // It may have ended meanwhile, which the next turn sees.
            let _ = kill_process(pid, signal);
        }
    }
    Ok(NEVER_STARTED)
}

/// The program while it runs. Whoever gives up waiting for it has it told to stop.
struct Running(Option<Pid>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The exit code when nobody will ever give variables: what would have given them has said why.
const NEVER_STARTED: u8 = 1;

fn start(program: &Program, children: &Children, variables: &Variables) -> Result<Pid, SuperviseError> {
    let [name, arguments @ ..] = program.command.as_slice() else {
        return Err(SuperviseError::NoCommand);
    };
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::inherit());
    for (name, value) in variables.iter() {
        command.env(name, value.expose_secret());
    }
    let pid = children
        .start(&mut command)
        .map_err(|source| SuperviseError::Start {
            command: name.clone(),
            source,
        })?;
    tracing::info!(
        pid = pid.as_raw_pid(),
        variables = variables.len(),
        "started the program"
    );
    Ok(pid)
}

/// Everything that is to be passed on, in one stream.
fn listen() -> io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(16);
    for number in FORWARDED {
        let mut stream = signal(SignalKind::from_raw(number.as_raw()))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(number).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The exit code of the agent that ran a program.
pub(crate) fn exit_code(result: &Result<u8, SuperviseError>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(*code),
        Err(error) => ExitCode::from(error.exit_code()),
    }
}
