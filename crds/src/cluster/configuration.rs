//! Vault's own objects as code.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

mod audit;
mod auth;
mod auth_settings;
mod mfa;
mod mounts;
mod policies;

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use audit::{
    AuditDevice, AuditFormat, FileAudit, Rotation, SocketAudit, SocketType, StdoutAudit, SyslogAudit,
};
pub use auth::{AuthMethod, AuthTune, ListingVisibility, TokenType};
pub use auth_settings::{
    BoundClaimsType, CertAuth, CertRole, JwtAuth, JwtRole, JwtRoleType, KubernetesAuth, LoginToken,
    UserpassAuth, UserpassUser,
};
pub use mfa::{Mfa, MfaEnforcement, TotpAlgorithm, TotpMethod};
pub use mounts::{MountTune, SecretsEngine};
pub use policies::{AclPolicy, PasswordPolicy, Persona};

pub use super::secret::SecretKey;

/// Vault's own objects as code. What is taken out of this spec again stays in Vault, and a user can still log in: the
/// operator deletes nothing there, remove it by hand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// What happens to an object in Vault that somebody changed after it was applied. A change of this spec is
    /// applied in any case.
    #[serde(default)]
    pub drift: Drift,

    /// Secrets engines that are to be mounted. Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".to_owned()]))]
    pub secrets_engines: Vec<SecretsEngine>,

    /// Further auth methods that are to be enabled. `kubernetes`, `approle` and `cert` always are.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".to_owned()]))]
    pub auth_methods: Vec<AuthMethod>,

    /// Policies. Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub policies: Vec<AclPolicy>,

    /// Rules for generated passwords (`sys/policies/password/<name>`).
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub password_policies: Vec<PasswordPolicy>,

    /// Where requests are logged. Default: standard output of the active member and, in a new cluster of profile
    /// Hardened, its standard error as well. Declare two that do not fail together: when all devices fail, Vault
    /// refuses every request. Devices that are not named are left alone; on OpenBao, whose devices stand in the
    /// server's configuration file, they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["path".to_owned()]),
        validation = Rule::new("self.filter(d, has(d.stdout)).size() <= 1 && self.all(d, !has(d.file) || self.exists_one(o, has(o.file) && o.file.path == d.file.path))").message("audit must not hold two devices for the same stream or file: Vault refuses the second"),
    )]
    pub audit: Option<Vec<AuditDevice>>,

    /// A second factor for logins of people.
    #[serde(default)]
    pub mfa: Mfa,

    /// Namespaces inside this server (`sys/namespaces`). OpenBao and Vault Enterprise have them.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".to_owned()]))]
    pub namespaces: Vec<Namespace>,
}

/// What happens to an object in Vault that differs from what was applied.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drift {
    /// It is put right within a minute, and an event names the field.
    #[default]
    Enforce,
    /// It is left, and an event and the condition Drifted name the field.
    Report,
    /// It is not looked at.
    Off,
}

/// A namespace inside the server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// Path without slashes at its ends, for example `team` or `team/dev`. A parent comes before its children.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_a-zA-Z0-9]*(/[a-z0-9][-_a-zA-Z0-9]*)*$') && !(self in ['root', 'sys', 'audit', 'auth', 'cubbyhole', 'identity'])").message("path must be a path such as team or team/dev, without a slash at its ends, and none of root, sys, audit, auth, cubbyhole, identity"))]
    pub path: String,

    /// Notes that Vault keeps with it (`custom_metadata`).
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}
