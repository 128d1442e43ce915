//! What a template asks Vault for, and what it gets: the seam between rendering and fetching.
//! Rendering never waits: what is not there yet is recorded, and the caller fetches it and renders again.

use std::collections::BTreeMap;
use std::fmt;

use crate::value::Value;

/// One question of a template to Vault. Equal questions are fetched once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// `secret "path"`: a read.
    Read {
        /// The path without surrounding slashes and without the query string.
        path: String,
        /// The query string's pairs, in the order given (`version=2`).
        parameters: Vec<(String, String)>,
    },
    /// `secret "path" "k=v"`: a write, done again at each refresh. Each different set of values is a question of its own.
    Write {
        /// The path without surrounding slashes.
        path: String,
        /// The fields of the request's body. They may be secret.
        data: BTreeMap<String, String>,
    },
    /// `secrets "path"`: a list.
    List {
        /// The path without surrounding slashes.
        path: String,
    },
}

impl Query {
    /// Vault's path as the template wrote it, without `data/` or `metadata/` inserted.
    pub fn path(&self) -> &str {
        match self {
            Self::Read { path, .. } | Self::Write { path, .. } | Self::List { path } => path,
        }
    }
}

/// The path and the kind of question; never the values of a write.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, parameters } => {
                write!(f, "read {path}")?;
                for (position, (key, value)) in parameters.iter().enumerate() {
                    write!(f, "{}{key}={value}", if position == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
            Self::Write { path, data: _ } => write!(f, "write {path}"),
            Self::List { path } => write!(f, "list {path}"),
        }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({self})")
    }
}

/// An answer of Vault as a template sees it.
#[derive(Clone, PartialEq)]
pub struct Secret {
    /// `.RequestID`
    pub request_id: String,
    /// `.LeaseID`, empty without a lease.
    pub lease_id: String,
    /// `.LeaseDuration`, in seconds.
    pub lease_duration: u64,
    /// `.Renewable`
    pub renewable: bool,
    /// `.Data`: a map. Read it with [`parse_json`](crate::json::parse) so that numbers stay as they were sent.
    pub data: Value,
    /// `.Warnings`
    pub warnings: Vec<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            request_id,
            lease_id: _,
            lease_duration,
            renewable,
            data: _,
            warnings: _,
        } = self;
        f.debug_struct("Secret")
            .field("request_id", request_id)
            .field("lease_duration", lease_duration)
            .field("renewable", renewable)
            .finish_non_exhaustive()
    }
}

impl Secret {
    /// A field by its name in a template; `None` when there is no such field.
    pub(crate) fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "RequestID" => Value::str(self.request_id.as_str()),
            "LeaseID" => Value::str(self.lease_id.as_str()),
            "LeaseDuration" => Value::Int(i64::try_from(self.lease_duration).unwrap_or(i64::MAX)),
            "Renewable" => Value::Bool(self.renewable),
            "Data" => self.data.clone(),
            "Warnings" => Value::strings(self.warnings.iter().map(String::as_str)),
            // Filled by logins and by wrapped answers, which `secret` gives only through a write.
            "Auth" | "WrapInfo" => Value::Absent,
            _ => return None,
        })
    }
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To [`Query::Read`] and [`Query::Write`].
    Secret(std::sync::Arc<Secret>),
    /// To [`Query::List`]: sorted, folders end in `/`.
    List(Vec<String>),
}

/// Where a template's questions are answered from what was already fetched.
pub trait Secrets {
    /// The answer, or `None` when it has not been fetched yet.
    fn answer(&self, query: &Query) -> Option<Answer>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_never_shows_its_values() {
        let query = Query::Write {
            path: "transit/decrypt/k".into(),
            data: [("ciphertext".to_owned(), "vault:v1:abc".to_owned())].into(),
        };
        let text = format!("{query} {query:?}");
        assert!(
            !text.contains("vault:v1"),
            "the body of a write was shown: {text}"
        );
    }
}
