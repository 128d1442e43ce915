//! `install`: puts the program itself into a volume, from where another container can start it (`exec`). Our image holds
//! nothing else that could copy. Does file I/O.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::logging::Chain;
use crate::write::{self, Target, WriteError};

/// `EX_USAGE` of sysexits.
const EXIT_USAGE: u8 = 64;

/// Why it is not there.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("usage: vaultkeeper-agent install FILE")]
    Usage,
    #[error("cannot read the program itself")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Runs `install` with the arguments after the verb.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match install(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "vaultkeeper-agent: {}", Chain(&error));
            match error {
                InstallError::Usage => ExitCode::from(EXIT_USAGE),
                InstallError::Read(_) | InstallError::Write(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn install(arguments: &[String]) -> Result<(), InstallError> {
    let [file] = arguments else {
        return Err(InstallError::Usage);
    };
    if file.starts_with('-') {
        return Err(InstallError::Usage);
    }
    let program = fs::read("/proc/self/exe").map_err(InstallError::Read)?;
    // Others than the writer start it: readable and executable for everybody, as in the image.
    write::atomically(&Target::plain(Path::new(file), Some(0o755)), &program)?;
    Ok(())
}
