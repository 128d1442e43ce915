//! `exec {}`: the program that the agent starts and supervises, with what was rendered in its environment.

use rustix::process::Signal;

use super::command;
use super::reader::Object;

/// The program that gets the variables of `env_template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is started anew when a variable changed.
    pub restart_on_secret_changes: bool,
    /// How it is told to stop for that.
    pub restart_stop_signal: Signal,
}

/// Reads the block. `None` when it was reported as unusable.
pub(super) fn read(mut exec: Object<'_>) -> Option<Exec> {
    let command = exec.texts("command").unwrap_or_default();
    if command.iter().all(String::is_empty) {
        exec.missing("command");
        return None;
    }
    let restart = exec.word("restart_on_secret_changes", &["always", "never"]);
    let signal = command::signal(&mut exec, "restart_stop_signal");
    exec.finish();
    Some(Exec {
        command,
        restart_on_secret_changes: restart != Some("never"),
        restart_stop_signal: signal.unwrap_or(Signal::TERM),
    })
}
