//! Loads the templates of a configuration: reads their sources and parses them.

use std::io::Read as _;
use std::path::PathBuf;

use vaultkeeper_template::{Host, ParseError, Template};

use crate::config::{self, Source};

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("cannot read the template {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the template for {} is not valid", destination.display())]
    Parse {
        destination: PathBuf,
        #[source]
        source: ParseError,
    },
}

/// A template with where it goes.
pub(crate) struct Loaded {
    pub(crate) template: Template,
    pub(crate) config: config::Template,
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
pub(crate) fn problems(config: &config::Config) -> Vec<TemplateError> {
    config
        .templates
        .iter()
        .filter_map(|config| one(config).err())
        .collect()
}

/// Loads all templates.
pub(crate) fn load(configs: &[config::Template]) -> Result<Vec<Loaded>, TemplateError> {
    configs.iter().map(one).collect()
}

fn one(config: &config::Template) -> Result<Loaded, TemplateError> {
    let text = match &config.source {
        Source::Text(text) => text.clone(),
        Source::File(path) => std::fs::read_to_string(path).map_err(|source| TemplateError::File {
            path: path.clone(),
            source,
        })?,
    };
    let template = Template::parse(&text, &config.delims).map_err(|source| TemplateError::Parse {
        destination: config.destination.clone(),
        source,
    })?;
    Ok(Loaded {
        template,
        config: config.clone(),
    })
}
