//! What was observed of a VaultRole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::CertificateStatus;

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

    /// The secret-id in that Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleStatus>,

    /// The Secret with a token, and which token that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<DeliveredToken>,

    /// Paths in Vault, besides the policy and the roles of AppRole and Kubernetes, at which something of this VaultRole may
    /// be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_paths: Vec<String>,

    /// Which version of which Secret the password was last taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,

    /// ConfigMap of this namespace with the cluster's address and CA bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,

    /// Namespaces whose ServiceAccounts may log in, where spec.kubernetes names or selects further ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,

    /// Fingerprint of what was put in place last, and of the Vault in which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,

    /// When something is to be done about it next, such as a rotation. In UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_action_at: Option<String>,

    /// How to log in at its Vault, when that runs elsewhere (spec.external of the VaultCluster). Injected pods do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalLoginStatus>,

    /// The client certificates, while there may be a role for them in Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// A token in a Secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredToken {
    /// Name of the Secret.
    pub secret_name: String,
    /// Accessor of the token; none for a batch token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accessor: Option<String>,
}

/// What is known of a secret-id without being secret. Times are in UTC.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleStatus {
    /// Its accessor: what it is looked up and destroyed by in Vault.
    pub secret_id_accessor: String,
    /// When it was made.
    pub issued_at: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it will be replaced, if nothing else comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<String>,
    /// Until when its wrapping token can be unwrapped, with spec.appRole.wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_until: Option<String>,
    /// Earlier ones that still work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<PreviousSecretId>,
    /// Accessors of those that were unwrapped, or may have been: they work until a later one is unwrapped or rotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwrapped: Vec<String>,
}

/// An earlier secret-id that still works.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreviousSecretId {
    /// Its accessor.
    pub secret_id_accessor: String,
    /// When it is destroyed.
    pub destroyed_at: String,
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
