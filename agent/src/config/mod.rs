//! The configuration: Vault Agent's schema, in JSON and HCL.
//!
//! Text becomes a tree (`document`), the tree is taken apart by one module for each block, and whatever is wrong is
//! collected with its place (`report`). Only `load` does I/O.

mod after_change;
mod command;
mod document;
pub(crate) mod duration;
mod hcl;
mod load;
mod login;
mod parse;
mod process;
mod proxy;
mod reader;
mod report;
mod sink;
mod template;
mod vault;

use std::time::Duration;

pub use after_change::AfterChange;
pub use command::{Command, Environment, Run};
pub use hcl::HclError;
pub use load::{ConfigError, load};
pub use login::{Login, Method, PasswordKind, Removal};
pub use parse::parse;
pub use process::Exec;
pub use proxy::{ApiProxy, AutoAuthToken, Cache, Listener, ListenerTls, Persist, Socket};
pub use report::{Place, Problem};
pub use sink::Sink;
pub use template::{EnvTemplate, Limits, Owner, Source, Template, Wait};
pub use vault::Vault;

/// Said of a key that is read and not acted on yet.
const LATER: &str = "this version of the agent has no such feature";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where Vault is.
    pub vault: Vault,
    /// How to log in.
    pub login: Login,
    /// Files that the token itself is written to.
    pub sinks: Vec<Sink>,
    /// What to render into files.
    pub templates: Vec<Template>,
    /// What to render into the environment of `exec`.
    pub env_templates: Vec<EnvTemplate>,
    /// The program to supervise.
    pub exec: Option<Exec>,
    /// How often secrets without a lease are read again.
    pub static_interval: Duration,
    /// The part of a lease after which a secret that cannot be renewed is read again; between 0 and 1.
    pub renewal_threshold: f64,
    /// How often a failed read is repeated before the agent ends; `None` for ever (`exit_on_retry_failure` is off).
    pub retries: Option<u32>,
    /// Whether answers are kept for listeners.
    pub cache: Option<Cache>,
    /// How requests of listeners are passed on.
    pub api_proxy: Option<ApiProxy>,
    /// What is served.
    pub listeners: Vec<Listener>,
    /// What is logged.
    pub log: LogSettings,
    /// Exit with 0 once everything is rendered.
    pub exit_after_auth: bool,
}

/// What is logged; `VAULT_LOG_LEVEL` and `VAULT_LOG_FORMAT` win over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// `log_level`
    pub level: Option<String>,
    /// `log_format`
    pub format: Option<String>,
}
