//! The command line of `exec`.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::config::duration;
use crate::signals;
use crate::supervise::{OnChange, Program};

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error("{0:?} is not an option of exec; {USAGE}")]
    Unknown(String),
    #[error("{0} needs a value; {USAGE}")]
    NoValue(&'static str),
    #[error("{option} is {value:?}, which is not {wanted}")]
    Wrong {
        option: &'static str,
        value: String,
        wanted: &'static str,
    },
    #[error("-env-file is missing; {USAGE}")]
    NoFile,
    #[error("there is no command after --; {USAGE}")]
    NoCommand,
}

const USAGE: &str = "usage: vaultkeeper-agent exec -env-file=FILE [-on-change=restart|nothing|SIGNAL] \
    [-stop-signal=SIGTERM] [-stop-timeout=30s] [-wait=DURATION] -- COMMAND [ARGUMENT…]";

/// What `exec` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Files with variables; of one name in several the last counts.
    pub(super) files: Vec<PathBuf>,
    /// How long to wait for the files; `None` for ever.
    pub(super) wait: Option<Duration>,
    /// The program.
    pub(super) program: Program,
}

/// Reads the arguments after `exec`.
pub(super) fn read(arguments: &[String]) -> Result<Settings, ArgumentError> {
    let mut settings = Settings {
        files: Vec::new(),
        wait: None,
        program: Program {
            command: Vec::new(),
            on_change: OnChange::Restart,
            stop_signal: Signal::TERM,
            stop_timeout: Duration::from_secs(30),
        },
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            settings.program.command = rest.cloned().collect();
            break;
        }
        let unknown = || ArgumentError::Unknown(argument.clone());
        let option = argument.trim_start_matches('-');
        if option.len() == argument.len() {
            return Err(unknown());
        }
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let name = NAMES
            .into_iter()
            .find(|known| known[1..] == *name)
            .ok_or_else(unknown)?;
        let value = value.or_else(|| rest.next().map(String::as_str));
        let value = value
            .filter(|value| !value.is_empty())
            .ok_or(ArgumentError::NoValue(name))?;
        set(&mut settings, name, value)?;
    }
    if settings.files.is_empty() {
        return Err(ArgumentError::NoFile);
    }
    if settings.program.command.is_empty() {
        return Err(ArgumentError::NoCommand);
    }
    Ok(settings)
}

const NAMES: [&str; 5] = [
    "-env-file",
    "-on-change",
    "-stop-signal",
    "-stop-timeout",
    "-wait",
];

fn set(settings: &mut Settings, option: &'static str, value: &str) -> Result<(), ArgumentError> {
    let wrong = |wanted| ArgumentError::Wrong {
        option,
        value: value.to_owned(),
        wanted,
    };
    let signal = || signals::parse(value).ok_or(wrong("a signal such as SIGHUP"));
    let time = || duration::parse(value).ok_or(wrong("a duration such as 30s"));
    match option {
        "-env-file" => settings.files.push(value.into()),
        "-on-change" => {
            settings.program.on_change = match value {
                "restart" => OnChange::Restart,
                "nothing" => OnChange::Nothing,
                _ => OnChange::Signal(signals::parse(value).ok_or(wrong("restart, nothing or a signal"))?),
            }
        }
        "-stop-signal" => settings.program.stop_signal = signal()?,
        "-stop-timeout" => settings.program.stop_timeout = time()?,
        _ => settings.wait = Some(time()?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Settings, ArgumentError> {
        read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_end_at_two_dashes_and_the_rest_is_the_command() {
        let settings =
            of("-env-file /a --env-file=/b -on-change=HUP -stop-timeout=5s -wait 1m -- app -env-file=x --")
                .unwrap();
        assert_eq!(settings.files, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(settings.program.command, ["app", "-env-file=x", "--"]);
        assert_eq!(settings.program.on_change, OnChange::Signal(Signal::HUP));
        assert_eq!(settings.program.stop_timeout, Duration::from_secs(5));
        assert_eq!(settings.wait, Some(Duration::from_secs(60)));
        assert_eq!(settings.program.stop_signal, Signal::TERM, "the default");
    }

    #[test]
    fn a_typing_error_is_refused_before_anything_is_started() {
        for text in [
            "-- app",
            "-env-file=/a",
            "-env-file=/a --",
            "-env-file= -- app",
            "-env-file=/a app",
            "-env-file=/a -on-change=later -- app",
            "-env-file=/a -stop-signal=SIGNOTHING -- app",
            "-env-file=/a -stop-timeout=soon -- app",
            "-env-file=/a -envfile=/b -- app",
        ] {
            of(text).expect_err(text);
        }
    }
}
