//! Loads the templates of a configuration: reads their sources and parses them.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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
}

/// How large a file may be that a template reads, in bytes.
const MAX_FILE: u64 = 16 << 20;

impl Host for Machine<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
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
