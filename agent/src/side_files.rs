//! The files that templates write beside their own, with `writeToFile`. What is to be done is a pure function of the
//! calls; carrying it out does file I/O.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use vaultkeeper_template::FileWrite;

use crate::config;
use crate::write::{self, Owner, Target, WriteError, Written};

/// How large a file may be that is appended to, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SideError {
    #[error("writeToFile may not write {}: it is not below {}", path.display(), sandbox.display())]
    Outside { path: PathBuf, sandbox: PathBuf },
    #[error("writeToFile cannot append to {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("writeToFile cannot append to {}: it has more than 16 MiB", path.display())]
    TooLarge { path: PathBuf },
    #[error("writeToFile failed")]
    Write(#[from] WriteError),
}

/// One file with all that one rendering writes to it.
#[derive(PartialEq)]
pub(crate) struct SideFile {
    path: PathBuf,
    user: Option<config::Owner>,
    group: Option<config::Owner>,
    mode: u32,
    content: Vec<u8>,
    /// Whether the content goes behind what is in the file already.
    appends: bool,
}

/// Puts the calls of one rendering together, file by file: a certificate and its chain are often written by two.
pub(crate) fn plan(writes: &[FileWrite]) -> Vec<SideFile> {
    let mut files: Vec<SideFile> = Vec::new();
    for write in writes {
        let FileWrite {
            path,
            user,
            group,
            mode,
            append,
            content,
        } = write;
        let path = PathBuf::from(path);
        let owner = |name: &str| match name.parse() {
            _ if name.is_empty() => None,
            Ok(number) => Some(config::Owner::Id(number)),
            Err(_) => Some(config::Owner::Name(name.to_owned())),
        };
        let (user, group) = (owner(user), owner(group));
        match files.iter_mut().find(|file| file.path == path) {
            None => files.push(SideFile {
                path,
                user,
                group,
                mode: *mode,
                content: content.to_vec(),
                appends: *append,
            }),
            Some(file) => {
                if !append {
                    file.content.clear();
                    file.appends = false;
                }
                file.content.extend_from_slice(content);
                (file.user, file.group, file.mode) = (user, group, *mode);
            }
        }
    }
    files
}

/// Whether a path stays in a folder, by its words alone: the writer follows no symbolic link.
fn is_inside(path: &Path, sandbox: &Path) -> bool {
    path.starts_with(sandbox) && !path.components().any(|part| part == Component::ParentDir)
}

impl SideFile {
    /// Whether it must not be written again while the template gives the same: it would grow.
    pub(crate) fn appends(&self) -> bool {
        self.appends
    }

    /// Writes it, at once or not at all.
    ///
    /// # Errors
    /// It lies outside the template's `sandbox_path`, or cannot be written.
    pub(crate) fn write(&self, sandbox: Option<&Path>) -> Result<Written, SideError> {
        let Self {
            path,
            user,
            group,
            mode,
            content,
            appends,
        } = self;
        if let Some(sandbox) = sandbox
            && !is_inside(path, sandbox)
        {
            return Err(SideError::Outside {
                path: path.clone(),
                sandbox: sandbox.to_owned(),
            });
        }
        let mut whole = if *appends { present(path)? } else { Vec::new() };
        whole.extend_from_slice(content);
        let target = Target {
            owner: Owner {
                user: user.as_ref(),
                group: group.as_ref(),
            },
            ..Target::plain(path, Some(*mode))
        };
        Ok(write::atomically(&target, &whole)?)
    }
}

/// What is in a file; nothing when there is none.
fn present(path: &Path) -> Result<Vec<u8>, SideError> {
    let fault = |source| SideError::Read {
        path: path.to_owned(),
        source,
    };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(fault)?;
    if content.len() as u64 > MAX_FILE {
        return Err(SideError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &Path, content: &str, append: bool) -> FileWrite {
        FileWrite {
            path: path.to_str().unwrap().to_owned(),
            user: String::new(),
            group: String::new(),
            mode: 0o600,
            append,
            content: content.as_bytes().into(),
        }
    }

    #[test]
    fn the_calls_of_one_rendering_make_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cert.pem");
        let files = plan(&[
            call(&path, "old", false),
            call(&path, "cert\n", false),
            call(&path, "chain\n", true),
        ]);
        assert_eq!(files.len(), 1, "one file");
        assert!(!files[0].appends(), "its content is known as a whole");
        assert_eq!(files[0].write(None).unwrap(), Written::Created);
        assert_eq!(std::fs::read(&path).unwrap(), b"cert\nchain\n");
        assert_eq!(
            files[0].write(None).unwrap(),
            Written::Unchanged,
            "the same bytes again"
        );
    }

    #[test]
    fn what_is_appended_goes_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\n").unwrap();
        let files = plan(&[call(&path, "two\n", true)]);
        assert!(files[0].appends());
        files[0].write(None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn nothing_is_written_outside_the_sandbox_or_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("box");
        std::fs::create_dir(&inside).unwrap();
        for path in ["../out", "box/../../out", "out"] {
            let files = plan(&[call(&folder.path().join(path), "x", false)]);
            assert!(files[0].write(Some(&inside)).is_err(), "{path} lies outside");
        }
        std::os::unix::fs::symlink(folder.path(), inside.join("link")).unwrap();
        let files = plan(&[call(&inside.join("link/out"), "x", false)]);
        assert!(files[0].write(Some(&inside)).is_err(), "a link leads out");
        assert!(!folder.path().join("out").exists(), "nothing was written outside");
        let files = plan(&[call(&inside.join("in"), "x", false)]);
        assert_eq!(files[0].write(Some(&inside)).unwrap(), Written::Created);
    }

    #[test]
    fn owners_are_numbers_or_names() {
        let mut write = call(Path::new("/x"), "", false);
        (write.user, write.group) = ("1000".to_owned(), "app".to_owned());
        let files = plan(&[write]);
        assert_eq!(files[0].user, Some(config::Owner::Id(1000)));
        assert_eq!(files[0].group, Some(config::Owner::Name("app".to_owned())));
    }
}
