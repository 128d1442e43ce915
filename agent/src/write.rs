//! Writes files so that a reader sees the old or the new content and never a part. Does file I/O.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file was not written. The file that was there stays.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
pub(crate) struct WriteError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// New content or mode.
    Changed,
    /// The same bytes and mode were there.
    Unchanged,
}

/// Writes a file through a temporary one in the same folder: written, synced, given its mode, renamed. `mode` is that of
/// the file that is there when it is not given, else 0644.
pub(crate) fn atomically(
    path: &Path,
    content: &[u8],
    mode: Option<u32>,
    create_folders: bool,
) -> Result<Written, WriteError> {
    let fault = |step, path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { step, path, source }
    };
    let there = fs::metadata(path).ok().filter(fs::Metadata::is_file);
    let there_mode = there.as_ref().map(|there| there.mode() & 0o7777);
    let mode = mode.or(there_mode).unwrap_or(0o644);
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if there_mode == Some(mode)
        && there.is_some_and(|there| there.len() == size)
        && fs::read(path).is_ok_and(|old| old == content)
    {
        return Ok(Written::Unchanged);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(WriteError {
            step: "write to",
            path: path.to_owned(),
            source,
        });
    };
    if create_folders {
        fs::create_dir_all(folder).map_err(fault("make the folder", folder))?;
    }
    // One fixed name: what a crash leaves behind is removed by the next attempt.
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".vaultkeeper");
    let temporary = folder.join(temporary_name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(WriteError {
                step: "remove",
                path: temporary,
                source: error,
            });
        }
        _ => {}
    }
    let result = fill(&temporary, content, mode)
        .map_err(fault("write", &temporary))
        .and_then(|()| fs::rename(&temporary, path).map_err(fault("replace", path)));
    if let Err(error) = result {
        // A half file holds a part of a secret and room on a full volume.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    // So that the new name outlives a power cut; tmpfs and some network volumes do not know how.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(Written::Changed)
}

/// `create_new` follows no symlink that somebody put there.
fn fill(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    // The mode given at creation is cut by the umask; this one is not.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_gets_its_content_and_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/app.conf");
        assert_eq!(
            atomically(&path, b"one", Some(0o440), true).unwrap(),
            Written::Changed
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o440);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "a temporary file was left: {names:?}");
    }

    #[test]
    fn the_same_bytes_are_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.conf");
        atomically(&path, b"one", None, true).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(atomically(&path, b"one", None, true).unwrap(), Written::Unchanged);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "the file was replaced");
        assert_eq!(
            atomically(&path, b"one", Some(0o600), true).unwrap(),
            Written::Changed,
            "a new mode is a change"
        );
    }

    #[test]
    fn without_a_mode_that_of_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.conf");
        atomically(&path, b"one", None, true).unwrap();
        assert_eq!(mode(&path), 0o644, "the default");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        atomically(&path, b"two", None, true).unwrap();
        assert_eq!(mode(&path), 0o600, "the mode somebody chose");
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.conf");
        atomically(&path, b"one", None, true).unwrap();
        // A folder stands where the temporary file would: root, too, is stopped by it.
        fs::create_dir(folder.path().join(".app.conf.vaultkeeper")).unwrap();
        let error = atomically(&path, b"two", None, true)
            .expect_err("the write must fail")
            .to_string();
        assert!(error.contains("app.conf"), "the file is not named: {error}");
        assert_eq!(fs::read(&path).unwrap(), b"one", "the last good file must stay");
    }

    #[test]
    fn a_leftover_of_a_crash_is_replaced_and_a_planted_symlink_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("app.conf"), folder.path().join("victim"));
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".app.conf.vaultkeeper")).unwrap();
        atomically(&path, b"one", None, true).unwrap();
        assert_eq!(
            fs::read(&victim).unwrap(),
            b"precious",
            "the symlink was followed"
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
