//! The agent at work: all its parts beside each other until somebody tells it to stop, or there is nothing left to do.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::{DumpableBehavior, getpid, kill_process, set_dumpable_behavior};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use crate::after;
use crate::children::Children;
use crate::config::{Config, Exec};
use crate::connection::Connection;
use crate::listen::{self, Served};
use crate::login::LoginError;
use crate::outputs::Outputs;
use crate::ready;
use crate::renderer::GaveUp;
use crate::revoke::revoke;
use crate::seen::{self, Trouble};
use crate::supervise::{self, OnChange, Program, SuperviseError};
use crate::templates::Loaded;
use crate::{renderer, session};

/// Why the agent ended although nobody told it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("cannot wait for signals")]
    Signals(#[from] std::io::Error),
    #[error("gave up, as auto_auth.method.exit_on_err asks for")]
    Login(#[source] LoginError),
    #[error("gave up, as template_config.exit_on_retry_failure asks for")]
    Rendering(#[source] GaveUp),
    #[error("no program to run")]
    Program(#[source] SuperviseError),
    #[error("{0} things that are to be done after a change failed")]
    Actions(u32),
    #[error("not everything is done after {} s; not rendered: {missing}", limit.as_secs())]
    Late { limit: Duration, missing: String },
}

impl WorkError {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // `EX_TEMPFAIL` of sysexits.
            Self::Late { .. } => 75,
            Self::Program(error) => error.exit_code(),
            Self::Signals(_) | Self::Login(_) | Self::Rendering(_) | Self::Actions(_) => 1,
        }
    }
}

/// Both ways to tell a process to stop. As process 1 of a container there is no default action for these: without a handler
/// they would be ignored.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Why the work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a signal.
    Stop,
    /// Through `/agent/v1/quit`.
    Quit,
    /// The program that the agent runs has ended with this code.
    Program(u8),
}

/// Works, at most for `limit` where everything is to be rendered once.
pub(crate) async fn work(
    config: &Config,
    templates: &[Loaded],
    env: &dyn Fn(&str) -> Option<String>,
    limit: Option<Duration>,
) -> Result<ExitCode, WorkError> {
    close_memory();
    let mut stop = Stop::listen()?;
    let connection = Connection::new(config.vault.clone());
    let children = Children::new();
    let served = Arc::new(Served {
        files: ready::files(config),
        quit: Notify::new(),
        started: SystemTime::now(),
    });
    let (identity, identities) = watch::channel(None);
    let (doubt, doubts) = mpsc::channel(1);
    let (order, orders) = mpsc::unbounded_channel();
    let (variable, variables) = watch::channel(None);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        templates = templates.len(),
        "started"
    );
    serve(config, &served);
    let held = identities.clone();
    let rendering = async {
        let outputs = Outputs::new(templates, order, variable);
        tokio::select! {
            error = session::keep(&connection, config, identity, doubts) => Err(WorkError::Login(error)),
            done = renderer::render(&connection, config, templates, env, identities, doubt, outputs) => {
                done.map_err(WorkError::Rendering)
            }
        }
    };
    let failed = || seen::now().trouble(Trouble::Action);
    let working = async {
        // Orders end with the rendering; what was ordered before is done to its end.
        let (rendered, given_up) = tokio::join!(rendering, after::work(&children, orders, &failed));
        rendered?;
        if given_up > 0 {
            Err(WorkError::Actions(given_up))
        } else {
            Ok(())
        }
    };
    let mut working = Box::pin(working);
    // A program gets the signals, and its end is ours.
    let program = config.exec.as_ref().map(program);
    let runs_program = program.is_some();
    let program = async {
        match &program {
            Some(program) => supervise::run(program, &children, variables).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        biased;
        ended = program => End::Program(ended.map_err(WorkError::Program)?),
        () = stop.told(), if !runs_program => End::Stop,
        () = told_to_quit(&served, runs_program) => End::Quit,
        done = &mut working => return done.map(|()| ExitCode::SUCCESS),
        limit = late(limit) => {
            return Err(WorkError::Late { limit, missing: unrendered(config) });
        }
        () = children.tend() => End::Stop,
    };
    match end {
        End::Stop => tracing::info!("told to stop"),
        End::Quit => tracing::info!("told to quit"),
        End::Program(code) => tracing::info!(code, "ends as its program has ended"),
    }
    if let Some(grace) = config.login.revoke_on_shutdown {
        // The app may need its secrets for its own end; one that has told us to quit does not.
        let grace = if end == End::Stop { grace } else { Duration::ZERO };
        tokio::select! {
            biased;
            () = stop.told() => {}
            () = sleep(grace) => {}
            _ = &mut working => {}
        }
        let identity = held.borrow().clone();
        revoke(&connection, identity.as_ref()).await;
    }
    drop(working);
    seen::now().logged_out();
    if end == End::Quit && is_native_sidecar(env) {
        // Its container would be started again.
        tracing::info!("idle until the pod ends");
        tokio::select! {
            () = stop.told() => {}
            () = children.tend() => {}
        }
    }
    Ok(match end {
        End::Program(code) => ExitCode::from(code),
        End::Stop | End::Quit => ExitCode::SUCCESS,
    })
}

/// What `exec {}` asks for.
fn program(exec: &Exec) -> Program {
    let Exec {
        command,
        restart_on_secret_changes,
        restart_stop_signal,
    } = exec;
    Program {
        command: command.clone(),
        on_change: if *restart_on_secret_changes {
            OnChange::Restart
        } else {
            OnChange::Nothing
        },
        stop_signal: *restart_stop_signal,
        // As long as Vault Agent waits.
        stop_timeout: Duration::from_secs(30),
    }
}

/// The files that this process has not rendered, whether one of an earlier run is there or not.
fn unrendered(config: &Config) -> String {
    let seen = seen::now();
    let destinations = config.templates.iter().map(|template| &template.destination);
    let left: Vec<String> = destinations
        .filter(|file| !seen.has_rendered(file))
        .map(|file| file.display().to_string())
        .collect();
    if left.is_empty() {
        "nothing".to_owned()
    } else {
        left.join(", ")
    }
}

/// Serves beside the work, and also when that has ended.
fn serve(config: &Config, served: &Arc<Served>) {
    if config.listeners.is_empty() {
        return;
    }
    let (listeners, served) = (config.listeners.clone(), Arc::clone(served));
    tokio::spawn(async move { listen::serve(&listeners, &served).await });
}

/// Keeps our memory and variables from other programs of the same user, who may share our namespace of processes: the token
/// and secrets are there.
pub(crate) fn close_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other programs of this user may read the agent's memory");
    }
}

/// Returns when somebody asks for the end through `/agent/v1/quit`. A program that the agent runs is told to end first, and
/// its end is the agent's.
async fn told_to_quit(served: &Served, runs_program: bool) {
    served.quit.notified().await;
    if runs_program {
        // It goes to the program, as any signal that we get.
        let _ = kill_process(getpid(), rustix::process::Signal::TERM);
        std::future::pending::<()>().await;
    }
}

/// Returns the limit once it is over.
async fn late(limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    sleep(limit).await;
    limit
}

/// Whether the kubelet starts our container again whenever it ends: an init container with `restartPolicy: Always`. The
/// injector says so; nothing in the container tells.
fn is_native_sidecar(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("VAULTKEEPER_NATIVE_SIDECAR").is_some_and(|value| value == "true")
}
