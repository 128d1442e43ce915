//! Loads the templates of a configuration: reads their sources and parses them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

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
    /// The folder that files are read in; anywhere without one.
    pub(crate) sandbox: Option<&'a Path>,
}

impl Machine<'_> {
    /// Where a file really is, if a template may read it there.
    fn place(&self, path: &str) -> std::io::Result<PathBuf> {
        let place = Path::new(path).canonicalize()?;
        if let Some(sandbox) = self.sandbox
            && !place.starts_with(sandbox.canonicalize()?)
        {
            return Err(std::io::Error::other("it is not below sandbox_path"));
        }
        Ok(place)
    }
}

/// How large a file may be that a template reads, in bytes.
const MAX_FILE: u64 = 16 << 20;

impl Host for Machine<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let mut content = Vec::new();
        let read = self
            .place(path)
            .and_then(std::fs::File::open)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > MAX_FILE => Err("the file is larger than 16 MiB".to_owned()),
            Ok(_) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read the file: {error}")),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_in_a_sandbox_reads_nothing_outside_not_even_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = folder.path().join("sandbox");
        std::fs::create_dir(&sandbox).unwrap();
        let path = |name: &str| sandbox.join(name).display().to_string();
        std::fs::write(folder.path().join("outside"), "secret").unwrap();
        std::fs::write(path("inside"), "text").unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), path("link")).unwrap();
        let machine = |sandbox| Machine {
            env: &|_| None,
            sandbox,
        };
        let boxed = machine(Some(sandbox.as_path()));
        assert_eq!(boxed.file(&path("inside")), Ok(Some(b"text".to_vec())));
        assert_eq!(boxed.file(&path("absent")), Ok(None), "it is waited for");
        for name in ["link", "../outside"] {
            let error = boxed.file(&path(name)).expect_err("it lies outside");
            assert!(error.contains("sandbox_path"), "{name}: {error}");
        }
        assert_eq!(
            machine(None).file(&path("link")),
            Ok(Some(b"secret".to_vec())),
            "without a sandbox nothing is outside"
        );
    }
}
