//! Programs that a configuration names: what runs after a change, and signals by name.

use std::time::Duration;

use rustix::process::Signal;

use super::reader::Object;
use crate::signals;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// One text, as a shell would be given it.
    Line(String),
    /// The program and its arguments, started as they are.
    Arguments(Vec<String>),
}

/// What to run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program.
    pub command: Command,
    /// How long it may take.
    pub timeout: Duration,
    /// Its environment.
    pub environment: Environment,
}

/// Which variables a program gets. Names in the lists may hold `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// None of the agent's own, only those of `custom`.
    pub pristine: bool,
    /// Further ones, each as `NAME=value`.
    pub custom: Vec<String>,
    /// Only these of the agent's own; all of them when empty.
    pub allowlist: Vec<String>,
    /// Not these of the agent's own.
    pub denylist: Vec<String>,
}

/// The time limit of a command that has none of its own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command as text or list. A list of one is a text, as with consul-template; an empty one is none.
pub(super) fn command(object: &mut Object<'_>, key: &'static str) -> Option<Command> {
    let mut parts = object.texts(key)?;
    parts.retain(|part| !part.is_empty());
    match parts.len() {
        0 => None,
        1 => parts.pop().map(Command::Line),
        _ => Some(Command::Arguments(parts)),
    }
}

/// `command` with `command_timeout`, or `exec {}`, which wins.
pub(super) fn after_change(template: &mut Object<'_>) -> Option<Run> {
    let line = command(template, "command");
    let line_timeout = template.duration("command_timeout");
    let mut run = line.map(|command| Run {
        command,
        timeout: line_timeout.unwrap_or(TIMEOUT),
        environment: Environment::default(),
    });
    if let Some(mut exec) = template.object("exec") {
        let own = command(&mut exec, "command");
        let timeout = exec.duration("timeout");
        let environment = exec.object("env").map(environment).unwrap_or_default();
        let is_on = exec.flag("enabled").unwrap_or(true);
        for key in ["kill_signal", "kill_timeout", "reload_signal", "splay"] {
            exec.ignored(
                key,
                "the command after a change is run once and stopped at its time limit",
            );
        }
        if let Some(command) = own.filter(|_| is_on) {
            run = Some(Run {
                command,
                timeout: timeout.or(line_timeout).unwrap_or(TIMEOUT),
                environment,
            });
        }
        exec.finish();
    }
    run
}

fn environment(mut object: Object<'_>) -> Environment {
    let mut list = |key, deprecated| {
        let mut names = object.texts(key).unwrap_or_default();
        names.extend(object.texts(deprecated).unwrap_or_default());
        names
    };
    let allowlist = list("allowlist", "whitelist");
    let denylist = list("denylist", "blacklist");
    let read = Environment {
        pristine: object.flag("pristine").unwrap_or(false),
        custom: object.texts("custom").unwrap_or_default(),
        allowlist,
        denylist,
    };
    if read.custom.iter().any(|pair| !pair.contains('=')) {
        object.wrong("custom", "must be a list of NAME=value");
    }
    object.finish();
    read
}

/// A signal by its name, with or without `SIG`.
pub(super) fn signal(object: &mut Object<'_>, key: &'static str) -> Option<Signal> {
    let name = object.text(key)?;
    let known = signals::parse(&name);
    if known.is_none() {
        object.wrong(key, "must be the name of a signal such as \"SIGTERM\"");
    }
    known
}
