//! Vault's own objects as code.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Vault's own objects as code.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Secrets engines that are to be mounted. Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub secrets_engines: Vec<SecretsEngine>,

    /// Further auth methods that are to be enabled. `kubernetes` and `approle` always are.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub auth_methods: Vec<AuthMethod>,
}

/// A secrets engine (`sys/mounts/<path>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretsEngine {
    /// Path of the mount without slashes at its ends, for example `secret`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && !(self in ['sys', 'identity', 'cubbyhole', 'auth'])").message("path must be a mount path such as secret or team/kv, without a slash at its ends, and none of sys, identity, cubbyhole, auth"))]
    pub path: String,

    /// Type of the engine, for example kv, pki, transit, database.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub type_: String,

    /// What it is for. Shown in Vault.
    #[serde(default)]
    pub description: String,

    /// Options of the mount, for example `version: "2"` for a KV engine with versions.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// An auth method (`sys/auth/<path>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthMethod {
    /// Path of the mount without slashes at its ends, for example `userpass`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && self != 'token'").message("path must be a mount path such as userpass, without a slash at its ends, and not token"))]
    pub path: String,

    /// Type of the method, for example userpass, jwt, cert, approle, kubernetes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub type_: String,

    /// What it is for. Shown in Vault.
    #[serde(default)]
    pub description: String,
}
