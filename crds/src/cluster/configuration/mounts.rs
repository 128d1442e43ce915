//! Secrets engines and what can be tuned of a mount.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::ListingVisibility;

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
    #[x_kube(validation = Rule::new("!(self in ['kv-v1', 'kv-v2'])").message("type must be kv, with the version in options: Vault calls both versions so"))]
    pub type_: String,

    /// What it is for. Shown in Vault. Empty leaves the description as it is.
    #[serde(default)]
    pub description: String,

    /// Options of the mount, for example `version: "2"` for a KV engine with versions. A KV engine of version 1 is
    /// upgraded, and cannot go back.
    #[serde(default)]
    pub options: BTreeMap<String, String>,

    /// Settings of the mount. What is left out stays as it is.
    #[serde(default)]
    pub tune: MountTune,
}

/// Settings of a mount (`sys/mounts/<path>/tune`). What is left out stays as it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MountTune {
    /// How long a lease lives unless it is renewed, for example 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("defaultLeaseTtl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub default_lease_ttl: Option<String>,

    /// How long a lease can live with renewals, for example 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("maxLeaseTtl must be a duration such as 24h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_lease_ttl: Option<String>,

    /// Whether the mount is shown to who is not logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing_visibility: Option<ListingVisibility>,

    /// Fields of requests that the audit log shows in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub audit_non_hmac_request_keys: Option<Vec<String>>,

    /// Fields of answers that the audit log shows in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub audit_non_hmac_response_keys: Option<Vec<String>>,

    /// Headers of a request that reach the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub passthrough_request_headers: Option<Vec<String>>,

    /// Headers that the engine may set in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub allowed_response_headers: Option<Vec<String>>,
}
