//! What an application may do.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the application may do: rules of its own, and names of existing policies.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Rules of this role's own policy, which is named `<namespace>.<name>` in Vault.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub rules: Vec<PolicyRule>,

    /// Names of existing policies, which the cluster's spec.access must allow.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[-_./:@a-zA-Z0-9]+$'))").message("each of spec.policy.names must be the name of a policy: letters, digits and - _ . / : @"))]
    pub names: Vec<String>,
}

/// One rule of a policy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// Path in Vault, for example `secret/data/app/*`. `*` may only be its last character; `+` stands for one segment.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.startsWith('/') && !self.contains('..') && !self.contains('//') && self.matches('^[-_.@ a-zA-Z0-9/+*]+$')").message("path must not start with a slash nor hold .., // or characters other than letters, digits and - _ . @ / + *"),
        validation = Rule::new("!self.contains('*') || self.indexOf('*') == size(self) - 1").message("path may hold * only as its last character"),
        validation = Rule::new("self.matches('^([^+/]*|[+])(/([^+/]*|[+]))*$')").message("path may hold + only as a whole step between slashes"),
        validation = Rule::new("!self.matches('(^|/)[.](/|$)')").message("path must not hold . as a step"),
    )]
    pub path: String,

    /// What is allowed on it.
    #[schemars(length(min = 1, max = 8))]
    pub capabilities: Vec<Capability>,
}

/// A capability of Vault's policy language.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Create data at a path where there is none.
    Create,
    /// Read.
    Read,
    /// Change existing data.
    Update,
    /// Change parts of existing data.
    Patch,
    /// Delete.
    Delete,
    /// List names.
    List,
    /// Wins over every other rule.
    Deny,
}

impl Capability {
    /// The word in Vault's policy language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Deny => "deny",
        }
    }
}
