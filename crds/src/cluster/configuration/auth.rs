//! Auth methods and what can be tuned of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CertAuth, JwtAuth, KubernetesAuth, UserpassAuth};

/// An auth method (`sys/auth/<path>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.kubernetes) || (self.type == 'kubernetes' && self.path != 'kubernetes')")
        .message("kubernetes holds the settings of a further method of type kubernetes: set type: kubernetes and another path. The method at path kubernetes is the one that the operator itself logs in with"),
    validation = Rule::new("!(self.path in ['kubernetes', 'approle', 'cert']) || self.type == self.path")
        .message("the operator and VaultRoles log in at the paths kubernetes, approle and cert: type must be the same word, or choose another path"),
    validation = Rule::new("!has(self.jwt) || self.type in ['jwt', 'oidc']")
        .message("jwt holds the settings of a method of type jwt or oidc: set type, or remove jwt"),
    validation = Rule::new("!has(self.cert) || self.type == 'cert'")
        .message("cert holds the settings of a method of type cert: set type, or remove cert"),
    validation = Rule::new("!has(self.userpass) || self.type == 'userpass'")
        .message("userpass holds the users of a method of type userpass: set type, or remove userpass"),
)]
pub struct AuthMethod {
    /// Path of the mount without slashes at its ends, for example `userpass`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && self != 'token'").message("path must be a mount path such as userpass, without a slash at its ends, and not token"))]
    pub path: String,

    /// Type of the method, for example userpass, jwt, cert, approle, kubernetes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,

    /// What it is for. Shown in Vault. Empty leaves the description as it is.
    #[serde(default)]
    pub description: String,

    /// Settings of the mount. What is left out stays as it is.
    #[serde(default)]
    pub tune: AuthTune,

    /// Settings of a method of type kubernetes, for another Kubernetes cluster than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesAuth>,

    /// Settings and roles of a method of type jwt or oidc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuth>,

    /// Settings and roles of a method of type cert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<CertAuth>,

    /// Users of a method of type userpass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userpass: Option<UserpassAuth>,
}

/// Settings of an auth method (`sys/auth/<path>/tune`). What is left out stays as it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthTune {
    /// How long a token lives unless it is renewed, for example 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("defaultLeaseTtl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub default_lease_ttl: Option<String>,

    /// How long a token can live with renewals, for example 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("maxLeaseTtl must be a duration such as 24h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_lease_ttl: Option<String>,

    /// Whether the method is offered to who is not logged in, for example on the login page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing_visibility: Option<ListingVisibility>,

    /// Kind of the tokens that a login gives, unless a role says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<TokenType>,

    /// Fields of requests that the audit log shows in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub audit_non_hmac_request_keys: Option<Vec<String>>,

    /// Fields of answers that the audit log shows in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub audit_non_hmac_response_keys: Option<Vec<String>>,
}

/// Whether a mount is shown to who is not logged in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingVisibility {
    /// It is shown.
    Unauth,
    /// It is not shown.
    Hidden,
}

impl ListingVisibility {
    /// The word in Vault's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauth => "unauth",
            Self::Hidden => "hidden",
        }
    }
}

/// Kind of the tokens of an auth method.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Service, unless a role asks for batch.
    DefaultService,
    /// Batch, unless a role asks for service.
    DefaultBatch,
    /// Always service.
    Service,
    /// Always batch.
    Batch,
}

impl TokenType {
    /// The word in Vault's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}
