//! The command line: a verb and the configuration's file, as `vault agent` takes it.

use std::time::Duration;

use crate::config::duration;

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Log in and render until told to stop (the default).
    Run,
    /// Log in, render everything once, do what is to be done after that, and end.
    RenderOnce {
        /// How long that may take; `None` for ever.
        timeout: Option<Duration>,
    },
    /// List what is wrong with the configuration.
    Check,
    /// Exit with 0 when every destination exists: an exec probe.
    Ready,
    /// Print the version.
    Version,
}

/// The command line, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) verb: Verb,
    /// The configuration's files and folders; without any it comes from the variable `VAULT_CONFIG`.
    pub(crate) config: Vec<String>,
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    #[error(
        "unknown argument {0:?}; usage: vaultkeeper-agent run|ready|version [-config=FILE], render -once [-timeout=DURATION] [-config=FILE], check [FILE…], or vaultkeeper-agent exec|install|reload …"
    )]
    Unknown(String),
    #[error("-config needs a file: -config=FILE")]
    NoFile,
    #[error("render needs -once; without it the verb is run")]
    NotOnce,
    #[error("-timeout needs a duration such as 90s, and belongs to render -once")]
    Timeout,
}

/// Reads the arguments after the program's name.
pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Arguments, ArgumentError> {
    let mut verb = Verb::Run;
    let mut config = Vec::new();
    let (mut once, mut timeout) = (false, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let option = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let Some(option) = option else {
            match argument.as_str() {
                "run" => verb = Verb::Run,
                "render" => verb = Verb::RenderOnce { timeout: None },
                "ready" => verb = Verb::Ready,
                "check" => verb = Verb::Check,
                "version" => verb = Verb::Version,
                _ if verb == Verb::Check => config.push(argument),
                _ => return Err(ArgumentError::Unknown(argument)),
            }
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let mut value = || {
            value
                .clone()
                .or_else(|| arguments.next())
                .filter(|value| !value.is_empty())
        };
        match name {
            "version" => verb = Verb::Version,
            "config" => config.push(value().ok_or(ArgumentError::NoFile)?),
            "once" if option == name => once = true,
            "timeout" => {
                let read = value().and_then(|value| duration::parse(&value));
                timeout = Some(read.ok_or(ArgumentError::Timeout)?);
            }
            _ => return Err(ArgumentError::Unknown(argument)),
        }
    }
    match &mut verb {
        Verb::RenderOnce { .. } if !once => return Err(ArgumentError::NotOnce),
        Verb::RenderOnce { timeout: of_verb } => *of_verb = timeout,
        _ if once => return Err(ArgumentError::NotOnce),
        _ if timeout.is_some() => return Err(ArgumentError::Timeout),
        _ => {}
    }
    Ok(Arguments { verb, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Arguments, ArgumentError> {
        read(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_verb_and_the_file_are_read_in_any_order() {
        let expected = Arguments {
            verb: Verb::Ready,
            config: vec!["/a".to_owned()],
        };
        for text in ["ready -config=/a", "--config /a ready", "-config /a ready"] {
            assert_eq!(of(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(
            of(""),
            Ok(Arguments {
                verb: Verb::Run,
                config: Vec::new()
            }),
            "run is the default"
        );
    }

    #[test]
    fn several_files_are_taken_in_their_order() {
        let read = of("-config=/b -config /a").map(|read| read.config);
        assert_eq!(read, Ok(vec!["/b".to_owned(), "/a".to_owned()]));
    }

    #[test]
    fn a_typing_error_is_refused() {
        assert!(
            matches!(of("redy"), Err(ArgumentError::Unknown(_))),
            "a wrong verb must be refused"
        );
        assert_eq!(of("-config"), Err(ArgumentError::NoFile));
    }

    #[test]
    fn rendering_once_may_have_a_limit() {
        let once = |seconds: Option<u64>| {
            Ok(Verb::RenderOnce {
                timeout: seconds.map(Duration::from_secs),
            })
        };
        let verb = |text| of(text).map(|read| read.verb);
        assert_eq!(verb("render -once"), once(None));
        assert_eq!(verb("render --once -timeout=90s -config=/a"), once(Some(90)));
        assert_eq!(verb("-timeout 2m render -once"), once(Some(120)));
        assert_eq!(verb("render"), Err(ArgumentError::NotOnce));
        assert_eq!(verb("run -once"), Err(ArgumentError::NotOnce));
        assert_eq!(verb("run -timeout=1s"), Err(ArgumentError::Timeout));
        assert_eq!(verb("render -once -timeout=soon"), Err(ArgumentError::Timeout));
    }

    #[test]
    fn check_takes_files_by_their_names() {
        let wanted = Arguments {
            verb: Verb::Check,
            config: vec!["/a".to_owned(), "/b".to_owned()],
        };
        assert_eq!(of("check /a -config=/b"), Ok(wanted));
    }
}
