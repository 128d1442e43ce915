//! Writes files so that a reader sees the old or the new content and never a part. Does file I/O.
//!
//! Folders are walked component by component without following symbolic links, and every step after that is relative to
//! the folder that was opened: whoever shares the volume cannot have a secret written elsewhere.

mod folder;
mod owner;

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, linkat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

pub(crate) use owner::{Ids, Owner, OwnerError};

/// Why a file was not written. The file that was there stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("cannot {step} {}", path.display())]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("does not write below {}: it is a symbolic link; give the path that it leads to", path.display())]
    Symlink { path: PathBuf },
    #[error("{} names no file", path.display())]
    NoName { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Owner {
        path: PathBuf,
        #[source]
        source: OwnerError,
    },
}

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// There was none.
    Created,
    /// New content, mode or owner.
    Changed,
    /// The same bytes, mode and owner were there.
    Unchanged,
}

/// A file to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Where.
    pub(crate) path: &'a Path,
    /// Its mode; without one that of the file that is there, else 0644.
    pub(crate) mode: Option<u32>,
    /// Its owner; what is not given is that of the file that is there, where the system lets us keep it.
    pub(crate) owner: Owner<'a>,
    /// Whether folders on the way are made.
    pub(crate) create_folders: bool,
    /// Whether the content before stays beside it as `<name>.bak`.
    pub(crate) backup: bool,
}

impl<'a> Target<'a> {
    /// A file with a mode and nothing special.
    pub(crate) fn plain(path: &'a Path, mode: Option<u32>) -> Self {
        Self {
            path,
            mode,
            owner: Owner::default(),
            create_folders: true,
            backup: false,
        }
    }
}

/// Writes a file through a temporary one in the same folder: written, synced, given its mode and owner, renamed.
pub(crate) fn atomically(target: &Target<'_>, content: &[u8]) -> Result<Written, WriteError> {
    let Target {
        path,
        mode,
        owner,
        create_folders,
        backup,
    } = *target;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(WriteError::NoName {
            path: path.to_owned(),
        });
    };
    let owner = owner.resolve().map_err(|source| WriteError::Owner {
        path: path.to_owned(),
        source,
    })?;
    let folder = folder::open(parent, create_folders)?;
    // Not followed: a link in the place of the file is replaced, whatever it leads to.
    let there = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let there = there.filter(|there| FileType::from_raw_mode(there.st_mode) == FileType::RegularFile);
    let there_mode = there.map(|there| there.st_mode & 0o7777);
    let mode = mode.or(there_mode).unwrap_or(0o644);
    if let Some(there) = there
        && there_mode == Some(mode)
        && owner.uid.is_none_or(|uid| uid == there.st_uid)
        && owner.gid.is_none_or(|gid| gid == there.st_gid)
        && holds(&folder, name, &there, content)
    {
        return Ok(Written::Unchanged);
    }
    // One fixed name: what a crash leaves behind is removed by the next attempt.
    let temporary = beside(name, ".vaultkeeper");
    let fault = |step, name: &OsString| {
        let path = parent.join(name);
        move |source: io::Error| WriteError::Io { step, path, source }
    };
    match unlinkat(&folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(fault("remove", &temporary)(error.into())),
    }
    let finish = || -> Result<(), WriteError> {
        let draft = Draft { content, mode, owner };
        draft
            .write(&folder, &temporary, there.as_ref())
            .map_err(fault("write", &temporary))?;
        if backup && there.is_some() {
            keep(&folder, name).map_err(fault("keep a backup of", &name.to_owned()))?;
        }
        renameat(&folder, &temporary, &folder, name)
            .map_err(io::Error::from)
            .map_err(fault("replace", &name.to_owned()))
    };
    if let Err(error) = finish() {
        // A half file holds a part of a secret and room on a full volume.
        let _ = unlinkat(&folder, &temporary, AtFlags::empty());
        return Err(error);
    }
    // So that the new name outlives a power cut; tmpfs and some network volumes do not know how.
    let _ = openat(&folder, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(File::from)
        .map(|folder| folder.sync_all());
    Ok(if there.is_some() {
        Written::Changed
    } else {
        Written::Created
    })
}

/// Whether a file is where a destination is to be, with whatever content. Follows no link in its last component.
pub(crate) fn is_there(path: &Path) -> bool {
    statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| FileType::from_raw_mode(there.st_mode) == FileType::RegularFile)
}

/// `.<name><suffix>`
fn beside(name: &std::ffi::OsStr, suffix: &str) -> OsString {
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(suffix);
    beside
}

/// Whether the file that `there` describes holds these bytes. What cannot be read does not.
fn holds(folder: &OwnedFd, name: &std::ffi::OsStr, there: &Stat, content: &[u8]) -> bool {
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if u64::try_from(there.st_size) != Ok(size) {
        return false;
    }
    // Not blocking: it could be a pipe by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = openat(folder, name, flags, Mode::empty()).map(File::from) else {
        return false;
    };
    if !file
        .metadata()
        .is_ok_and(|now| now.is_file() && now.ino() == there.st_ino)
    {
        return false;
    }
    // One byte more than there should be, so that a file that grew is seen.
    let mut old = Vec::with_capacity(content.len() + 1);
    file.take(size + 1)
        .read_to_end(&mut old)
        .is_ok_and(|_| old == content)
}

/// A new content with what is to be set on it.
struct Draft<'a> {
    content: &'a [u8],
    mode: u32,
    owner: owner::Ids,
}

impl Draft<'_> {
    /// `EXCL` and `NOFOLLOW`: what somebody put there is never written through.
    fn write(&self, folder: &impl AsFd, name: &OsString, before: Option<&Stat>) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(self.content)?;
        // The mode given at creation is cut by the umask; this one is not. Before the owner: afterwards it may not be ours.
        file.set_permissions(Permissions::from_mode(self.mode))?;
        if self.owner.uid.is_some() || self.owner.gid.is_some() {
            fchown(&file, self.owner.uid, self.owner.gid)?;
        }
        if let Some(before) = before {
            let own = file.metadata()?;
            let uid = Some(before.st_uid).filter(|uid| self.owner.uid.is_none() && *uid != own.uid());
            let gid = Some(before.st_gid).filter(|gid| self.owner.gid.is_none() && *gid != own.gid());
            if uid.is_some() || gid.is_some() {
                // Only root may give files away: without the right the new content is worth more than the old owner.
                let _ = fchown(&file, uid, gid);
            }
        }
        file.sync_all()
    }
}

/// A second name for the file that is there, put in the place of an older backup.
fn keep(folder: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    let temporary = beside(name, ".bak.vaultkeeper");
    let mut backup = name.to_owned();
    backup.push(".bak");
    match unlinkat(folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    linkat(folder, name, folder, &temporary, AtFlags::empty())?;
    Ok(renameat(folder, &temporary, folder, &backup)?)
}

#[cfg(test)]
mod tests;
