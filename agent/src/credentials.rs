//! Files that hold what a login proves itself with. Does file I/O.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::config::Removal;

/// Why a file gives nothing to log in with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("cannot read {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} {} is empty", path.display())]
    Empty { what: &'static str, path: PathBuf },
}

/// A file with what it held last: it may be gone after the first login, which often removes it.
pub(crate) struct Credential {
    what: &'static str,
    path: PathBuf,
    removal: Removal,
    held: Option<SecretString>,
}

impl Credential {
    /// A file that holds `what`.
    pub(crate) fn new(what: &'static str, path: &Path, removal: Removal) -> Self {
        Self {
            what,
            path: path.to_owned(),
            removal,
            held: None,
        }
    }

    /// What the file holds now, or held last.
    pub(crate) fn read(&mut self) -> Result<SecretString, CredentialError> {
        match (self.text(), &self.held) {
            (Ok(text), _) => {
                self.held = Some(text.clone());
                Ok(text)
            }
            (Err(_), Some(held)) => Ok(held.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// What it held when it was read last.
    pub(crate) fn held(&self) -> Option<&SecretString> {
        self.held.as_ref()
    }

    /// Whether the file holds something else by now.
    pub(crate) fn is_new(&self) -> bool {
        let held = self.held.as_ref().map(ExposeSecret::expose_secret);
        self.text().is_ok_and(|text| Some(text.expose_secret()) != held)
    }

    /// It did its work: the file is removed where that is asked for. A read-only volume keeps it, which is no error.
    pub(crate) fn used(&self) {
        let path = match self.removal {
            Removal::Keep => return,
            Removal::Remove => self.path.clone(),
            Removal::RemoveTarget => match self.path.canonicalize() {
                Ok(path) => path,
                Err(_) => return,
            },
        };
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::debug!(file = %path.display(), "removed {}", self.what),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(file = %path.display(), %error, "{} stays", self.what),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<SecretString, CredentialError> {
        let Self { what, path, .. } = self;
        let text = std::fs::read_to_string(path).map(SecretString::from);
        let text = text.map_err(|source| CredentialError::File {
            what,
            path: path.clone(),
            source,
        })?;
        let trimmed = text.expose_secret().trim();
        if trimmed.is_empty() {
            return Err(CredentialError::Empty {
                what,
                path: path.clone(),
            });
        }
        Ok(SecretString::from(trimmed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(removal: Removal) -> (Credential, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-id");
        std::fs::write(&path, " first\n").unwrap();
        (Credential::new("the secret-id", &path, removal), folder)
    }

    fn read(credential: &mut Credential) -> String {
        credential.read().unwrap().expose_secret().to_owned()
    }

    #[test]
    fn a_file_that_is_removed_after_its_use_still_serves_and_a_new_one_is_noticed() {
        let (mut credential, _folder) = with(Removal::Remove);
        assert_eq!(read(&mut credential), "first", "white space is dropped");
        credential.used();
        assert!(!credential.path().exists(), "the file was to be removed");
        assert_eq!(read(&mut credential), "first", "it is remembered");
        assert!(!credential.is_new(), "no file is no news");
        std::fs::write(credential.path(), "second").unwrap();
        assert!(credential.is_new(), "another content is news");
        assert_eq!(read(&mut credential), "second", "and taken at the next login");
        assert!(!credential.is_new(), "from then on it is known");
    }

    #[test]
    fn of_a_symlink_the_link_or_its_target_is_removed_as_asked() {
        for (removal, link_stays, target_stays) in [
            (Removal::Keep, true, true),
            (Removal::Remove, false, true),
            (Removal::RemoveTarget, true, false),
        ] {
            let (credential, folder) = with(removal);
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(credential.path(), &link).unwrap();
            let target = credential.path().to_owned();
            let mut credential = Credential::new("the token", &link, removal);
            read(&mut credential);
            credential.used();
            assert_eq!(link.is_symlink(), link_stays, "the link with {removal:?}");
            assert_eq!(target.exists(), target_stays, "its target with {removal:?}");
        }
    }

    #[test]
    fn an_empty_file_is_named_and_does_not_replace_what_was_read() {
        let (mut credential, folder) = with(Removal::Keep);
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let error = Credential::new("the role-id", &empty, Removal::Keep)
            .read()
            .expect_err("nothing is in it")
            .to_string();
        assert!(
            error.contains("the role-id") && error.contains("empty"),
            "what and where: {error}"
        );
        read(&mut credential);
        std::fs::write(credential.path(), "").unwrap();
        assert_eq!(
            read(&mut credential),
            "first",
            "a file being written is empty for a moment"
        );
    }
}
