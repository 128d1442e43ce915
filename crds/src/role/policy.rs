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

/// One rule of a policy. Of two rules on one path the capabilities add up; their limits must be the same.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.capabilities.exists(c, c == 'deny') || !(has(self.requiredParameters) || has(self.allowedParameters) || has(self.deniedParameters) || has(self.minWrappingTtl) || has(self.maxWrappingTtl))")
        .message("a rule with the capability deny denies everything on its path: it takes no parameters and no wrapping TTL"),
    validation = Rule::new("!(has(self.requiredParameters) || has(self.allowedParameters) || has(self.deniedParameters)) || self.capabilities.exists(c, c in ['create', 'read', 'update', 'patch'])")
        .message("Vault looks at parameters with create, read, update and patch only: add one of these capabilities, or remove the parameters"),
    validation = Rule::new("!has(self.requiredParameters) || !self.capabilities.exists(c, c == 'read')")
        .message("Vault asks for requiredParameters in reads too, which have none: remove the capability read, or requiredParameters"),
)]
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

    /// Names of the fields that a write must have. Fields are those at the top of a request: of `secret/data/…` these are
    /// `data` and `options`, not what is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(min = 1, max = 64), regex(pattern = r"^[-_.a-zA-Z0-9]+$"))
    )]
    pub required_parameters: Vec<String>,

    /// The only fields that a request may have; without any here, all. A field without values may have any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub allowed_parameters: Vec<Parameter>,

    /// Fields that a request may not have, or not with these values. Wins over allowedParameters. Vault compares texts only: a
    /// number passes a denial by value, so that allowedParameters is the safer limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub denied_parameters: Vec<Parameter>,

    /// The answer must be wrapped for at least so long, for example 1m. With this or maxWrappingTtl no answer is given unwrapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("minWrappingTtl must be a duration such as 1m, its units in this order: d, h, m, s, and at most 9999d"))]
    pub min_wrapping_ttl: Option<String>,

    /// The answer must be wrapped for at most so long, for example 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("maxWrappingTtl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_wrapping_ttl: Option<String>,
}

/// A field of a request, and some of its values.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name != '*' || !has(self.values)").message("the parameter * stands for every field whatever its value: it takes no values"))]
pub struct Parameter {
    /// Its name, whatever its case; `*` stands for every field.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^([*]|[-_.a-zA-Z0-9]+)$"))]
    pub name: String,

    /// Its values; none stands for any. `*` at the beginning or end of one stands for any text. Of a list, or a text with commas,
    /// Vault compares each element.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(max = 253), regex(pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))
    )]
    pub values: Vec<String>,
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
