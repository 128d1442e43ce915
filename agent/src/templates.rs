//! Loads the templates of a configuration: reads their sources and parses them.

use std::path::PathBuf;

use vaultkeeper_template::{ParseError, Template};

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
