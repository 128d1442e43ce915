//! VaultRole: one application's identity.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an application may do in Vault and how it logs in.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vaultkeeper.dev",
    version = "v1alpha1",
    kind = "VaultRole",
    plural = "vaultroles",
    shortname = "vr",
    category = "vaultkeeper",
    namespaced,
    status = "VaultRoleStatus",
    derive = "PartialEq",
    doc = "One application's identity in Vault: a policy, and the ways to log in with it.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 100")
        .message("metadata.name must have at most 100 characters: the policy and roles in Vault are named after it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.appRole) || has(self.kubernetes)")
        .message("spec must hold at least one way to log in: appRole or kubernetes"),
    validation = Rule::new("size(self.policy.rules) + size(self.policy.names) > 0")
        .message("spec.policy must hold at least one rule, or the name of a policy in names"),
    validation = Rule::new("self.cluster == oldSelf.cluster")
        .message("spec.cluster cannot be changed: delete this VaultRole and create it anew, so that nothing is left behind in the old cluster"),
)]
pub struct VaultRoleSpec {
    /// The VaultCluster at which the application logs in. Its spec.access must allow this namespace.
    pub cluster: ClusterReference,

    /// What the application may do.
    pub policy: Policy,

    /// Log in by AppRole: role-id and secret-id in a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRole>,

    /// Log in by a Kubernetes ServiceAccount of this namespace. Injected pods use this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesLogin>,

    /// Properties of the tokens that a login gives.
    #[serde(default)]
    pub token: TokenSettings,
}

/// Names a VaultCluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReference {
    /// Name of the VaultCluster.
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("spec.cluster.name must be the name of a VaultCluster"))]
    pub name: String,
    /// Its namespace.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("spec.cluster.namespace must be the name of a namespace"))]
    pub namespace: String,
}

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

/// Log in by AppRole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRole {
    /// Secret of type Opaque that receives the keys `role-id` and `secret-id`. An existing Secret of another owner is not overwritten.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.appRole.secretName must be a valid name of a Secret"))]
    pub secret_name: String,
}

/// Log in by a Kubernetes ServiceAccount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesLogin {
    /// Names of ServiceAccounts of this namespace whose pods may log in.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$'))").message("spec.kubernetes.serviceAccounts must be names of ServiceAccounts; wildcards are not allowed"))]
    pub service_accounts: Vec<String>,
}

/// Properties of the tokens that a login gives.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenSettings {
    /// How long a token lives unless it is renewed, for example 1h.
    #[serde(default = "default_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.ttl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub ttl: String,

    /// How long a token can live with renewals, for example 4h.
    #[serde(default = "default_max_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.maxTtl must be a duration such as 4h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_ttl: String,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            ttl: default_ttl(),
            max_ttl: default_max_ttl(),
        }
    }
}

fn default_ttl() -> String {
    "1h".to_owned()
}

fn default_max_ttl() -> String {
    "4h".to_owned()
}

/// What was observed of a VaultRole.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VaultRoleStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted (the spec can work and the cluster allows it) and Ready (policy, roles and Secret are in place).
    #[serde(default)]
    #[schemars(schema_with = "crate::cluster::conditions_schema")]
    pub conditions: Vec<Condition>,

    /// Name of the policy and of the roles in Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_name: Option<String>,

    /// Secret with the AppRole credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,

    /// ConfigMap of this namespace with the cluster's address and CA bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,

    /// How to log in at its Vault, when that runs elsewhere (spec.external of the VaultCluster). Injected pods do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalLoginStatus>,
}

/// How to log in at a Vault that runs elsewhere.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalLoginStatus {
    /// Its address.
    pub address: String,
    /// Path of the Kubernetes auth method, without a slash at its ends.
    pub auth_path: String,
    /// Audience that a pod's ServiceAccount token must have to log in there. Injected pods get one. The API server takes
    /// no such token, so that whoever runs that Vault cannot act as the pod.
    pub audience: String,
    /// Namespace in that Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
