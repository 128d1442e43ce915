//! The configuration: Vault Agent's schema, in JSON.

mod duration;
mod load;
mod parse;
mod reader;

use std::path::PathBuf;
use std::time::Duration;

pub use load::{ConfigError, load};
pub use parse::parse;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where Vault is.
    pub vault: Vault,
    /// How to log in.
    pub login: Login,
    /// Files that the token itself is written to.
    pub sinks: Vec<Sink>,
    /// What to render.
    pub templates: Vec<Template>,
    /// How often secrets without a lease are read again.
    pub static_interval: Duration,
    /// The part of a lease after which a secret that cannot be renewed is read again; between 0 and 1.
    pub renewal_threshold: f64,
    /// Exit with 0 once everything is rendered.
    pub exit_after_auth: bool,
}

/// Where Vault is and how it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// `https://host:port`
    pub address: String,
    /// A PEM file; read again when it changes.
    pub ca_cert: Option<PathBuf>,
    /// A folder of PEM files.
    pub ca_path: Option<PathBuf>,
    /// PEM text given in the environment (`VAULT_CACERT_BYTES`).
    pub ca_pem: Option<String>,
    /// A client certificate, PEM file.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM file.
    pub client_key: Option<PathBuf>,
    /// The name that the server's certificate must carry, when it is not the address's.
    pub tls_server_name: Option<String>,
    /// The namespace of all calls.
    pub namespace: Option<String>,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The method.
    pub method: Method,
    /// The auth mount, without `auth/`.
    pub mount: String,
    /// The first delay after a failed login.
    pub min_backoff: Duration,
    /// The longest delay after failed logins.
    pub max_backoff: Duration,
}

/// A login method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// With a ServiceAccount's token; the file is read at each login.
    Kubernetes {
        /// The role.
        role: String,
        /// The token's file.
        token_path: PathBuf,
    },
    /// With a role-id and a secret-id; the files are read at each login.
    AppRole {
        /// The role-id's file.
        role_id_path: PathBuf,
        /// The secret-id's file; `None` for a role without secret-ids.
        secret_id_path: Option<PathBuf>,
        /// Whether the secret-id's file is removed after it was read (the default of Vault Agent).
        remove_secret_id: bool,
    },
}

/// A file that the token is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The file.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
}

/// One file to render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where the text comes from.
    pub source: Source,
    /// The file to write.
    pub destination: PathBuf,
    /// The delimiters of actions.
    pub delims: vaultkeeper_template::Delims,
    /// The file's mode; without one that of the file that is there, else 0644.
    pub mode: Option<u32>,
    /// A missing key is an error.
    pub error_on_missing_key: bool,
    /// Whether the destination's folder is made when it is not there.
    pub create_folders: bool,
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the configuration itself.
    Text(String),
    /// In a file.
    File(PathBuf),
}
