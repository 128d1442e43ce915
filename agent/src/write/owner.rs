//! Users and groups by number or by name. Names are looked up in `/etc/passwd` and `/etc/group` and nowhere else.

use std::fs;
use std::io;

use crate::config;

/// Whom a file is to belong to: numbers, or names of the agent's own image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner<'a> {
    pub(crate) user: Option<&'a config::Owner>,
    pub(crate) group: Option<&'a config::Owner>,
}

/// The same in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A name that leads to no number.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    #[error("{file} of this image does not know {name:?}: give the number")]
    Unknown { file: &'static str, name: String },
    #[error("cannot look {name:?} up in {file}: give the number")]
    File {
        file: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
}

impl Owner<'_> {
    /// Looks the names up.
    pub(crate) fn resolve(&self) -> Result<Ids, OwnerError> {
        let Self { user, group } = *self;
        Ok(Ids {
            uid: user.map(|owner| number("/etc/passwd", owner)).transpose()?,
            gid: group.map(|owner| number("/etc/group", owner)).transpose()?,
        })
    }
}

fn number(file: &'static str, owner: &config::Owner) -> Result<u32, OwnerError> {
    let name = match owner {
        config::Owner::Id(number) => return Ok(*number),
        config::Owner::Name(name) => name,
    };
    let text = fs::read_to_string(file).map_err(|source| OwnerError::File {
        file,
        name: name.clone(),
        source,
    })?;
    find(&text, name).ok_or_else(|| OwnerError::Unknown {
        file,
        name: name.clone(),
    })
}

/// `name:password:number:…`, as both files have it.
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_a_number_taken_as_it_is() {
        let text = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000::/:\nbroken\n";
        assert_eq!(find(text, "app"), Some(1000), "the third field is the number");
        assert_eq!(find(text, "ap"), None, "a part of a name is another name");
        assert_eq!(find(text, "broken"), None, "a line without a number");
        assert_eq!(number("/nonexistent", &config::Owner::Id(65532)).unwrap(), 65532);
    }

    #[test]
    fn a_name_that_nobody_has_is_refused_with_a_remedy() {
        let error = number(
            "/etc/passwd",
            &config::Owner::Name("nobody-has-this-name".to_owned()),
        )
        .expect_err("the name must be refused")
        .to_string();
        assert!(error.contains("give the number"), "no remedy: {error}");
    }
}
