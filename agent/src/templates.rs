//! Loads the templates of a configuration: reads their sources and parses them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vaultkeeper_template::{Host, ParseError, Template};

use crate::config::{self, Config, Source};

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("cannot read the template {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the template for {goal} is not valid")]
    Parse {
        goal: String,
        #[source]
        source: ParseError,
    },
}

/// Where a rendering goes.
pub(crate) enum Goal {
    /// Into a file.
    File(Box<config::Template>),
    /// Into a variable of the program that the agent runs.
    Variable(config::EnvTemplate),
}

impl Goal {
    /// Whether a missing key is an error.
    pub(crate) fn error_on_missing_key(&self) -> bool {
        match self {
            Self::File(config) => config.error_on_missing_key,
            Self::Variable(config) => config.error_on_missing_key,
        }
    }

    /// Whether the agent ends when it cannot be rendered, where failures end it at all.
    pub(crate) fn error_fatal(&self) -> bool {
        match self {
            Self::File(config) => config.error_fatal,
            Self::Variable(config) => config.error_fatal,
        }
    }

    /// What the template may use.
    pub(crate) fn limits(&self) -> &config::Limits {
        match self {
            Self::File(config) => &config.limits,
            Self::Variable(config) => &config.limits,
        }
    }

    /// How often secrets without a lease are read again, where the template says so.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self {
            Self::File(config) => config.interval,
            Self::Variable(_) => None,
        }
    }

    /// The file, empty for a variable.
    pub(crate) fn destination(&self) -> &Path {
        match self {
            Self::File(config) => &config.destination,
            Self::Variable(_) => Path::new(""),
        }
    }
}

/// For people: the file, or the variable's name.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(config) => write!(f, "{}", config.destination.display()),
            Self::Variable(config) => write!(f, "${}", config.name),
        }
    }
}

/// A template with where it goes.
pub(crate) struct Loaded {
    pub(crate) template: Template,
    pub(crate) goal: Goal,
}

/// What a template may ask of the machine. Reads files.
pub(crate) struct Machine<'a> {
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that files may be read in; anywhere without one.
    pub(crate) sandbox: Option<&'a Path>,
    /// Every file that was asked for, as it was just before it was read.
    pub(crate) seen: RefCell<BTreeMap<String, Option<Stamp>>>,
}

/// By what a file is known to have changed: its size, when it was changed, which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// Looks at a file; `None` when it is not there.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let there = std::fs::metadata(path).ok()?;
        Some(Self {
            size: there.size(),
            changed: (there.mtime(), there.mtime_nsec()),
            inode: there.ino(),
        })
    }
}

/// How large a file may be that a template reads, in bytes.
const MAX_FILE: u64 = 16 << 20;

impl Host for Machine<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(sandbox) = self.sandbox
            && !is_inside(Path::new(path), sandbox)?
        {
            return Err("the file lies outside of sandbox_path".to_owned());
        }
        self.seen.borrow_mut().insert(path.to_owned(), Stamp::of(path));
        let mut content = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > MAX_FILE => Err("the file is larger than 16 MiB".to_owned()),
            Ok(_) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read the file: {error}")),
        }
    }
}

/// Whether a file lies in a folder once all symbolic links are followed. One that is not there yet is taken by its words.
fn is_inside(path: &Path, sandbox: &Path) -> Result<bool, String> {
    let real = |path: &Path| path.canonicalize();
    match (real(path), real(sandbox)) {
        (Ok(path), Ok(sandbox)) => Ok(path.starts_with(sandbox)),
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => Ok(path.starts_with(sandbox)
            && !path
                .components()
                .any(|part| part == std::path::Component::ParentDir)),
        (Err(error), _) | (_, Err(error)) => Err(format!("cannot find out where the file lies: {error}")),
    }
}

/// All that is wrong with the templates of a configuration.
pub(crate) fn problems(config: &Config) -> Vec<TemplateError> {
    goals(config).filter_map(|goal| one(goal).err()).collect()
}

/// Loads all templates.
pub(crate) fn load(config: &Config) -> Result<Vec<Loaded>, TemplateError> {
    goals(config).map(one).collect()
}

fn goals(config: &Config) -> impl Iterator<Item = Goal> {
    let files = config.templates.iter().cloned().map(Box::new).map(Goal::File);
    files.chain(config.env_templates.iter().cloned().map(Goal::Variable))
}

fn one(goal: Goal) -> Result<Loaded, TemplateError> {
    let (source, delims) = match &goal {
        Goal::File(config) => (&config.source, &config.delims),
        Goal::Variable(config) => (&config.source, &config.delims),
    };
    let text = match source {
        Source::Text(text) => text.clone(),
        Source::File(path) => std::fs::read_to_string(path).map_err(|source| TemplateError::File {
            path: path.clone(),
            source,
        })?,
    };
    let template = Template::parse(&text, delims).map_err(|source| TemplateError::Parse {
        goal: goal.to_string(),
        source,
    })?;
    Ok(Loaded { template, goal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_reads_files_in_its_sandbox_only() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("box");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("a"), "in").unwrap();
        std::fs::write(folder.path().join("b"), "out").unwrap();
        std::os::unix::fs::symlink(folder.path().join("b"), inside.join("link")).unwrap();
        let machine = Machine {
            env: &|_| None,
            sandbox: Some(&inside),
            seen: RefCell::default(),
        };
        let read = |name: &str| machine.file(inside.join(name).to_str().unwrap());
        assert_eq!(read("a"), Ok(Some(b"in".to_vec())));
        assert_eq!(read("later"), Ok(None), "one that is not there yet is waited for");
        assert_eq!(machine.seen.borrow().len(), 2, "both are looked at from now on");
        for outside in ["../b", "link", "../later"] {
            assert!(read(outside).is_err(), "{outside} lies outside");
        }
    }

    #[test]
    fn a_changed_file_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let stamp = || Stamp::of(path.to_str().unwrap());
        assert_eq!(stamp(), None, "there is none");
        std::fs::write(&path, "one").unwrap();
        let first = stamp();
        assert!(first.is_some());
        std::fs::write(&path, "other").unwrap();
        assert_ne!(stamp(), first, "its size changed");
    }
}
