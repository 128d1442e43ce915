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
    /// `pkiCert "path" "k=v"`: a write that issues a certificate, unless the destination still holds one that is good.
    Certificate {
        /// The path without surrounding slashes.
        path: String,
        /// The fields of the request's body.
        data: BTreeMap<String, String>,
        /// The template's own file ([`Options::destination`](crate::Options::destination)), which keeps the certificate
        /// over a restart. Each file has a certificate of its own.
        destination: String,
    },
}

impl Query {
    /// Vault's path as the template wrote it, without `data/` or `metadata/` inserted.
    pub fn path(&self) -> &str {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::List { path }
            | Self::Certificate { path, .. } => path,
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
            Self::Certificate {
                path,
                data: _,
                destination,
            } => write!(f, "issue {path} for {destination}"),
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
    /// `.Auth`: filled when the answer is a login.
    pub auth: Option<Auth>,
    /// `.WrapInfo`: filled when the answer is wrapped.
    pub wrap_info: Option<WrapInfo>,
}

impl Secret {
    /// An answer with this `.Data` and nothing else: no lease, no login, no wrapping.
    pub fn of(data: Value) -> Self {
        Self {
            request_id: String::new(),
            lease_id: String::new(),
            lease_duration: 0,
            renewable: false,
            data,
            warnings: Vec::new(),
            auth: None,
            wrap_info: None,
        }
    }
}

/// `.Auth` of an answer. Its `Debug` form shows no token.
#[derive(Clone, PartialEq)]
pub struct Auth {
    /// `.ClientToken`
    pub client_token: String,
    /// `.Accessor`
    pub accessor: String,
    /// `.Policies`
    pub policies: Vec<String>,
    /// `.Metadata`
    pub metadata: BTreeMap<String, String>,
    /// `.LeaseDuration`, in seconds.
    pub lease_duration: u64,
    /// `.Renewable`
    pub renewable: bool,
}

/// `.WrapInfo` of an answer. Its `Debug` form shows no token.
#[derive(Clone, PartialEq)]
pub struct WrapInfo {
    /// `.Token`
    pub token: String,
    /// `.TTL`, in seconds.
    pub ttl: u64,
    /// `.CreationTime`, RFC 3339 as Vault sends it.
    pub creation_time: String,
    /// `.WrappedAccessor`
    pub wrapped_accessor: String,
}

/// The answer of `pkiCert`. Each part is PEM with a line break at its end. Its `Debug` form shows no key.
#[derive(Clone, PartialEq)]
pub struct Certificate {
    /// `.Cert`
    pub cert: String,
    /// `.Key`
    pub key: String,
    /// `.CA`: the first certificate of a CA.
    pub ca: String,
    /// `.CAChain`: all certificates of CAs, each once.
    pub ca_chain: Vec<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl fmt::Debug for WrapInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrapInfo").finish_non_exhaustive()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
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
            auth: _,
            wrap_info: _,
        } = self;
        f.debug_struct("Secret")
            .field("request_id", request_id)
            .field("lease_duration", lease_duration)
            .field("renewable", renewable)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To [`Query::Read`] and [`Query::Write`].
    Secret(std::sync::Arc<Secret>),
    /// To [`Query::List`]: sorted, folders end in `/`.
    List(Vec<String>),
    /// To [`Query::Certificate`].
    Certificate(std::sync::Arc<Certificate>),
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
