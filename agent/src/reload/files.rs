//! Reads the folder of audit logs and the rules for it, and moves files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::relief::{Lot, Space};
use super::rotate::{Found, Rule, Step, aside, split};

/// The folder, and the file with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// Where Vault writes its audit logs.
    pub(super) folder: PathBuf,
    /// `{"files": {"<name>": {"maxSize": <bytes>, "keep": <number>}}}`.
    pub(super) rules: PathBuf,
}

impl Files {
    /// What lies in the folder, by the name of the file that is written.
    pub(super) fn found(&self) -> io::Result<BTreeMap<String, Found>> {
        let mut all: BTreeMap<String, Found> = BTreeMap::new();
        self.each(|base, number, meta| {
            let found = all.entry(base.to_owned()).or_default();
            match number {
                None => found.current = Some(meta.len()),
                Some(number) => {
                    found.aside.insert(number, meta.len());
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// The logs that were put aside.
    pub(super) fn lots(&self) -> io::Result<Vec<Lot>> {
        let mut lots = Vec::new();
        self.each(|base, number, meta| {
            if let Some(number) = number {
                lots.push(Lot {
                    base: base.to_owned(),
                    number,
                    size: meta.len(),
                    modified: meta.modified()?,
                });
            }
            Ok(())
        })?;
        Ok(lots)
    }

    /// How much room the volume has.
    pub(super) fn space(&self) -> io::Result<Space> {
        let of = rustix::fs::statvfs(&self.folder)?;
        Ok(Space {
            total: of.f_blocks.saturating_mul(of.f_frsize),
            free: of.f_bavail.saturating_mul(of.f_frsize),
        })
    }

    /// Calls with the name, number and metadata of each log. Only regular files count.
    fn each(
        &self,
        mut look: impl FnMut(&str, Option<u32>, &fs::Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((base, number)) = name.to_str().and_then(split) else {
                continue;
            };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Somebody removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if !meta.file_type().is_file() {
                continue;
            }
            look(base, number, &meta)?;
        }
        Ok(())
    }

    /// The rules of the declared files, by name.
    pub(super) fn rules(&self) -> Result<BTreeMap<String, Rule>, String> {
        let file = self.rules.display();
        let text = fs::read(&self.rules).map_err(|error| format!("{file}: {error}"))?;
        read_rules(&text).ok_or_else(|| format!("{file} holds no rules"))
    }

    /// Does a step.
    pub(super) fn perform(&self, base: &str, step: Step) -> io::Result<()> {
        let of = |number: u32| self.folder.join(aside(base, number));
        match step {
            Step::Remove(number) => fs::remove_file(of(number)),
            Step::Shift(number) => rename(&of(number), &of(number + 1)),
            Step::PutAside => rename(&self.folder.join(base), &of(1)),
        }
    }
}

/// The plan has seen that the name is free; a file that came since is not overwritten.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} has come meanwhile", to.display()),
        ));
    }
    fs::rename(from, to)
}

fn read_rules(text: &[u8]) -> Option<BTreeMap<String, Rule>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let rule = |(name, of): (&String, &Value)| {
        let max_size = of["maxSize"].as_u64().filter(|size| *size > 0)?;
        let keep = u32::try_from(of["keep"].as_u64()?)
            .ok()
            .filter(|keep| *keep > 0)?;
        Some((name.clone(), Rule { max_size, keep }))
    };
    value["files"].as_object()?.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rotate::steps;
    use super::*;

    fn folder() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files {
            folder: folder.path().to_owned(),
            rules: folder.path().join(".rules"),
        };
        (folder, files)
    }

    #[test]
    fn the_rules_are_read_as_the_operator_writes_them_and_nonsense_is_refused() {
        let (_folder, files) = folder();
        assert!(files.rules().is_err(), "there is no file");
        fs::write(
            &files.rules,
            r#"{"files":{"audit.log":{"keep":2,"maxSize":1048576}}}"#,
        )
        .unwrap();
        let rule = Rule {
            max_size: 1 << 20,
            keep: 2,
        };
        assert_eq!(
            files.rules().unwrap(),
            BTreeMap::from([("audit.log".to_owned(), rule)])
        );
        for nonsense in [
            "",
            "{}",
            r#"{"files":{"a":{"keep":0,"maxSize":1}}}"#,
            r#"{"files":{"a":{"keep":1}}}"#,
        ] {
            fs::write(&files.rules, nonsense).unwrap();
            assert!(files.rules().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_folder_is_turned_over_and_what_is_not_a_log_stays() {
        let (folder, files) = folder();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("a.log", "new"), ("a.log.1", "old"), ("a.log.2", "oldest")] {
            fs::write(path(name), text).unwrap();
        }
        fs::create_dir(path("lost+found")).unwrap();
        std::os::unix::fs::symlink(path("a.log"), path("link.log")).unwrap();
        let found = files.found().unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a.log"], "{found:?}");
        let rule = Rule { max_size: 3, keep: 2 };
        for step in steps(&found["a.log"], Some(rule)) {
            files.perform("a.log", step).unwrap();
        }
        assert!(!path("a.log").exists(), "Vault makes it anew");
        assert_eq!(fs::read_to_string(path("a.log.1")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("a.log.2")).unwrap(), "old");
        assert!(!path("a.log.3").exists());
        fs::write(path("a.log"), "next").unwrap();
        assert!(
            files.perform("a.log", Step::PutAside).is_err(),
            "the name is taken: nothing is overwritten"
        );
        assert_eq!(fs::read_to_string(path("a.log.1")).unwrap(), "new");
    }
}
