//! Does one thing: starts a program, signals processes, calls a URL. I/O.
//!
//! What a program prints goes nowhere: it could be a secret, and the agent's log has none.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getuid, kill_process, kill_process_group};
use tokio::time::timeout;

use super::hint::{Hint, Whom};
use super::plan::{Action, Call, Start};
use crate::children::{Children, Ending};
use crate::config::Environment;
use crate::processes;
use crate::signals;

/// Why a thing was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error(
        "it takes a shell, and this image has none: use the agent's image with a shell, or a command without shell syntax"
    )]
    NoShell,
    #[error("this image has no such program; those of the application are in another container")]
    NoProgram,
    #[error("no command")]
    NoCommand,
    #[error("cannot start it")]
    Start(#[source] io::Error),
    #[error("cannot wait for its end")]
    Wait(#[source] io::Error),
    #[error("it ended with {0}")]
    Failed(Ending),
    #[error("it took longer than {} s and was killed", .0.as_secs())]
    Late(Duration),
    #[error(
        "{0} of the agent's user cannot be seen: the pod needs shareProcessNamespace and the application the same user, or it does not run yet"
    )]
    Nobody(Whom),
    #[error("cannot read the processes")]
    Processes(#[source] io::Error),
    #[error("cannot read {path}")]
    PidFile {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot signal process {pid}")]
    Signal {
        pid: i32,
        #[source]
        source: io::Error,
    },
    #[error("no answer")]
    Call(#[source] reqwest::Error),
    #[error("the answer is {0}")]
    Answer(u16),
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The arguments could hold anything.
            Self::Start(start) => write!(
                f,
                "command {}",
                start.arguments.first().map_or("", String::as_str)
            ),
            Self::Signal(hint) => write!(f, "{} to {}", signals::name(hint.signal), hint.to),
            Self::Call(call) => {
                let bare = call.url.split(['?', '#']).next().unwrap_or("");
                write!(f, "{} {}", call.method, bare.rsplit('@').next().unwrap_or(""))
            }
        }
    }
}

/// Does it.
pub(super) async fn perform(children: &Children, action: &Action) -> Result<(), ActError> {
    match action {
        Action::Start(program) => start(children, program).await,
        Action::Signal(hint) => signal(hint),
        Action::Call(wanted) => call(wanted).await,
    }
}

/// Why a command cannot run in this image, known before it has to.
pub(crate) fn shell_problem(action: &Action, path: Option<&str>) -> Option<ActError> {
    match action {
        Action::Start(Start {
            arguments,
            by_shell: true,
            ..
        }) => {
            let program = arguments.first()?;
            (!is_in_path(program, path.unwrap_or(DEFAULT_PATH))).then_some(ActError::NoShell)
        }
        _ => None,
    }
}

/// Where the system looks without the variable `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

fn is_in_path(program: &str, path: &str) -> bool {
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    path.split(':')
        .any(|folder| is_program(&Path::new(folder).join(program)))
}

/// Kills a group of processes when the wait for it is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn start(children: &Children, start: &Start) -> Result<(), ActError> {
    let Start {
        arguments,
        by_shell,
        timeout: limit,
        environment,
    } = start;
    let [program, rest @ ..] = arguments.as_slice() else {
        return Err(ActError::NoCommand);
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    set_environment(&mut command, environment);
    let pid = children.start(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if *by_shell => ActError::NoShell,
        io::ErrorKind::NotFound => ActError::NoProgram,
        _ => ActError::Start(error),
    })?;
    let mut group = Group(Some(pid));
    let Ok(ending) = timeout(*limit, children.ended(pid)).await else {
        drop(group);
        children.ended(pid).await.map_err(ActError::Wait)?;
        return Err(ActError::Late(*limit));
    };
    // What it left running in the background was meant to stay.
    group.0 = None;
    match ending.map_err(ActError::Wait)? {
        Ending::Code(0) => Ok(()),
        ending => Err(ActError::Failed(ending)),
    }
}

fn set_environment(command: &mut Command, environment: &Environment) {
    let Environment {
        pristine,
        custom,
        allowlist,
        denylist,
    } = environment;
    let fits = |name: &str, patterns: &[String]| patterns.iter().any(|pattern| fits(name, pattern));
    let is_passed =
        |name: &str| !pristine && (allowlist.is_empty() || fits(name, allowlist)) && !fits(name, denylist);
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(is_passed) {
            command.env_remove(name);
        }
    }
    command.envs(custom.iter().filter_map(|pair| pair.split_once('=')));
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(position, _)| &rest[position..])
        .chain([""])
        .any(|tail| fits(tail, after))
}

fn signal(hint: &Hint) -> Result<(), ActError> {
    let Hint { signal, to, may_miss } = hint;
    match receivers(to) {
        Ok(pids) if pids.is_empty() => Err(ActError::Nobody(to.clone())),
        Ok(pids) => pids.into_iter().try_for_each(|pid| send(pid, *signal)),
        Err(error) => Err(error),
    }
    .or_else(|error| if *may_miss { Ok(()) } else { Err(error) })
}

fn receivers(to: &Whom) -> Result<Vec<i32>, ActError> {
    let seen = || {
        let own = getpid().as_raw_pid();
        processes::of_user(Path::new("/proc"), getuid().as_raw(), own).map_err(ActError::Processes)
    };
    let by_pid = |pid: i32| {
        Ok(seen()?
            .into_iter()
            .map(|there| there.pid)
            .filter(|there| *there == pid)
            .collect())
    };
    match to {
        Whom::Pid(pid) => by_pid(*pid),
        Whom::PidFile(path) => {
            let fault = |source| ActError::PidFile {
                path: path.display().to_string(),
                source,
            };
            let text = fs::read_to_string(path).map_err(fault)?;
            let pid = text
                .trim()
                .parse()
                .map_err(|_| fault(io::ErrorKind::InvalidData.into()))?;
            by_pid(pid)
        }
        Whom::Name(name) => {
            let named = seen()?.into_iter().filter(|there| there.is_called(name));
            Ok(named.map(|there| there.pid).collect())
        }
        Whom::Part(part) => {
            let named = seen()?.into_iter().filter(|there| there.is_called_like(part));
            Ok(named.map(|there| there.pid).collect())
        }
    }
}

fn send(pid: i32, signal: Signal) -> Result<(), ActError> {
    let Some(there) = Pid::from_raw(pid) else {
        return Ok(());
    };
    match kill_process(there, signal) {
        // It has ended since it was looked up.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(ActError::Signal {
            pid,
            source: error.into(),
        }),
    }
}

async fn call(call: &Call) -> Result<(), ActError> {
    let Call { method, url, timeout } = call;
    // Plain HTTP within the pod: no roots, and no proxy that the environment names.
    let client = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(*timeout)
        .build()
        .map_err(ActError::Call)?;
    let request = match method.as_str() {
        "GET" => client.get(url),
        "PUT" => client.put(url),
        _ => client.post(url),
    };
    // The URL could hold a secret.
    let answer = request
        .send()
        .await
        .map_err(|error| ActError::Call(error.without_url()))?;
    let status = answer.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(ActError::Answer(status.as_u16()))
    }
}

#[cfg(test)]
mod tests;
