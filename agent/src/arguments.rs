//! The command line: a verb and the configuration's file, as `vault agent` takes it.

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Log in and render until told to stop (the default).
    Run,
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
        "unknown argument {0:?}; usage: vaultkeeper-agent [run|ready|version] [-config=FILE], or vaultkeeper-agent exec|reload …"
    )]
    Unknown(String),
    #[error("-config needs a file: -config=FILE")]
    NoFile,
}

/// Reads the arguments after the program's name.
pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Arguments, ArgumentError> {
    let mut verb = Verb::Run;
    let mut config = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "run" => verb = Verb::Run,
            "ready" => verb = Verb::Ready,
            "version" | "-version" | "--version" => verb = Verb::Version,
            "-config" | "--config" => config.push(arguments.next().ok_or(ArgumentError::NoFile)?),
            other => match other
                .strip_prefix("-config=")
                .or_else(|| other.strip_prefix("--config="))
            {
                Some("") => return Err(ArgumentError::NoFile),
                Some(file) => config.push(file.to_owned()),
                None => return Err(ArgumentError::Unknown(argument)),
            },
        }
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
}
