//! The agent's configuration in Vault Agent's JSON schema.

use serde::Serialize;

/// The configuration that the sidecar gets.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// How to reach Vault.
    pub vault: Vault,
    /// How to log in.
    pub auto_auth: AutoAuth,
    /// What to render.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template: Vec<Template>,
    /// How to render.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_config: Option<TemplateConfig>,
}

/// How to reach Vault.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its address.
    pub address: String,
    /// Path of the CA that signed its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
    /// Folder of the CAs that may have signed its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_path: Option<String>,
    /// Path of the agent's own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// Path of the key of the agent's own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// The name that its certificate must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// How to log in.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct AutoAuth {
    /// The one method.
    pub method: Method,
    /// Files that the token is written to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<Sink>,
}

/// A file that the token is written to.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Always `file`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The file.
    pub config: SinkConfig,
}

/// The file of a sink.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// Its path.
    pub path: String,
}

/// A login.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The kind of login.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where the auth method is mounted.
    pub mount_path: String,
    /// The namespace in Vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The shortest wait between two logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_backoff: Option<String>,
    /// The longest wait between two logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<String>,
    /// Role and token.
    pub config: MethodConfig,
}

/// Role and token of a login by ServiceAccount.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct MethodConfig {
    /// The role.
    pub role: String,
    /// Path of the ServiceAccount's token.
    pub token_path: &'static str,
}

/// One file to render.
#[derive(Serialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    /// Path of the file.
    pub destination: String,
    /// The template's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// The file with the template's text, if it is not given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Opens an action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_delimiter: Option<String>,
    /// Closes an action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_delimiter: Option<String>,
    /// The file's mode in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perms: Option<String>,
    /// Whether a missing key is an error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub error_on_missing_key: bool,
}

/// How to render.
#[derive(Serialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateConfig {
    /// How often secrets without a lease are read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub static_secret_render_interval: Option<String>,
    /// The part of a lease after which a secret that cannot be renewed is read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_renewal_threshold: Option<serde_json::Number>,
}
