//! Opens a folder without following symbolic links, and makes what is missing on the way.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use super::WriteError;

/// The mode of folders that are made.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Opens the folder for steps relative to it. Each component is opened relative to the one before, so that none can be
/// exchanged for a link in between.
pub(super) fn open(path: &Path, create: bool) -> Result<OwnedFd, WriteError> {
    let fault = |path: &Path, source: Errno| WriteError::Io {
        step: "open the folder",
        path: path.to_owned(),
        source: source.into(),
    };
    let start = if path.is_absolute() { "/" } else { "." };
    let mut here = step(CWD, OsStr::new(start)).map_err(|error| fault(Path::new(start), error))?;
    let mut so_far = PathBuf::new();
    for component in path.components() {
        so_far.push(component);
        let name = match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => OsStr::new(".."),
            Component::Normal(name) => name,
        };
        let mut next = step(&here, name);
        if create && next.as_ref().err() == Some(&Errno::NOENT) {
            match mkdirat(&here, name, FOLDER_MODE) {
                // Somebody else may make it at the same time.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => {
                    return Err(WriteError::Io {
                        step: "make the folder",
                        path: so_far,
                        source: io::Error::from(error),
                    });
                }
            }
            next = step(&here, name);
        }
        here = match next {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) if is_link(&here, name) => {
                return Err(WriteError::Symlink { path: so_far });
            }
            Err(error) => return Err(fault(&so_far, error)),
        };
    }
    Ok(here)
}

fn step(folder: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

fn is_link(folder: &OwnedFd, name: &OsStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| FileType::from_raw_mode(there.st_mode) == FileType::Symlink)
}
