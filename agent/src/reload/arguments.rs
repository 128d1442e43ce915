//! The command line of the helper.

use std::path::PathBuf;

use super::files::Files;

/// What the helper is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The file with the certificate, in PEM, the server's own first.
    pub(super) certificate: PathBuf,
    /// `host:port` at which the server listens.
    pub(super) address: String,
    /// The audit logs that are to be rotated, if there are any.
    pub(super) audit: Option<Files>,
    /// The server's whole command line; of its program only the file's name counts.
    pub(super) command: Vec<String>,
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error("unknown argument {0:?}; {USAGE}")]
    Unknown(String),
    #[error("{0} is missing; {USAGE}")]
    Missing(&'static str),
    #[error("{0:?} is no Vault server: only `vault server` and `bao server` are ever signalled; {USAGE}")]
    NoServer(String),
}

const USAGE: &str = "usage: vaultkeeper-agent reload -certificate=FILE -address=HOST:PORT [-audit=FOLDER -rotation=FILE] -- vault server [ARGUMENT...]";

/// Reads the arguments after `reload`.
pub(super) fn read(arguments: &[String]) -> Result<Settings, ArgumentError> {
    let mut halves = arguments.splitn(2, |argument| argument == "--");
    let options = halves.next().unwrap_or_default();
    let command = halves.next().unwrap_or_default().to_vec();
    let (mut certificate, mut address) = (None, None);
    let (mut audit, mut rotation) = (None, None);
    for option in options {
        match option.split_once('=') {
            Some(("-certificate", file)) if !file.is_empty() => certificate = Some(PathBuf::from(file)),
            Some(("-address", place)) if !place.is_empty() => address = Some(place.to_owned()),
            Some(("-audit", folder)) if !folder.is_empty() => audit = Some(PathBuf::from(folder)),
            Some(("-rotation", file)) if !file.is_empty() => rotation = Some(PathBuf::from(file)),
            _ => return Err(ArgumentError::Unknown(option.clone())),
        }
    }
    let [program, verb, ..] = command.as_slice() else {
        return Err(ArgumentError::Missing("the server's command line"));
    };
    if !matches!(file_name(program), "vault" | "bao") || verb != "server" {
        return Err(ArgumentError::NoServer(command.join(" ")));
    }
    let audit = match (audit, rotation) {
        (Some(folder), Some(rules)) => Some(Files { folder, rules }),
        (None, None) => None,
        (Some(_), None) => return Err(ArgumentError::Missing("-rotation")),
        (None, Some(_)) => return Err(ArgumentError::Missing("-audit")),
    };
    Ok(Settings {
        audit,
        certificate: certificate.ok_or(ArgumentError::Missing("-certificate"))?,
        address: address.ok_or(ArgumentError::Missing("-address"))?,
        command,
    })
}

/// The part of a path after its last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Settings, ArgumentError> {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&arguments)
    }

    #[test]
    fn the_whole_command_line_is_read() {
        let settings =
            of("-certificate=/tls/tls.crt -address=localhost:8200 -- vault server -config=/c").unwrap();
        assert_eq!(
            settings,
            Settings {
                certificate: PathBuf::from("/tls/tls.crt"),
                address: "localhost:8200".to_owned(),
                audit: None,
                command: ["vault", "server", "-config=/c"].map(str::to_owned).to_vec(),
            }
        );
        assert!(
            of("-certificate=/c -address=a:1 -- /bin/bao server").is_ok(),
            "OpenBao too"
        );
    }

    #[test]
    fn what_is_missing_or_misspelt_is_refused() {
        assert_eq!(
            of("-address=a:1 -- vault server"),
            Err(ArgumentError::Missing("-certificate"))
        );
        assert_eq!(
            of("-certificate=/c -- vault server"),
            Err(ArgumentError::Missing("-address"))
        );
        assert_eq!(
            of("-certificate=/c -address=a:1"),
            Err(ArgumentError::Missing("the server's command line"))
        );
        for wrong in ["-cert=/c", "-certificate", "-certificate="] {
            assert_eq!(
                of(wrong),
                Err(ArgumentError::Unknown(wrong.to_owned())),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_folder_of_audit_logs_comes_with_the_file_of_their_rules() {
        let with = |more: &str| of(&format!("-certificate=/c -address=a:1 {more} -- vault server"));
        let audit = with("-audit=/a -rotation=/r.json").unwrap().audit.unwrap();
        assert_eq!(
            audit,
            Files {
                folder: PathBuf::from("/a"),
                rules: PathBuf::from("/r.json"),
            }
        );
        assert_eq!(with("-audit=/a"), Err(ArgumentError::Missing("-rotation")));
        assert_eq!(with("-rotation=/r"), Err(ArgumentError::Missing("-audit")));
    }

    #[test]
    fn only_a_vault_server_can_be_named() {
        for other in ["nginx -g", "vault agent", "vaulted server", "/vault/nginx server"] {
            let error = of(&format!("-certificate=/c -address=a:1 -- {other}")).unwrap_err();
            assert_eq!(error, ArgumentError::NoServer(other.to_owned()));
        }
    }
}
