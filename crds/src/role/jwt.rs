//! Log in by a token of another provider.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::configuration::BoundClaimsType;

/// Log in by a token of another provider, such as that of a CI job. The role is `<namespace>.<name>` of the VaultRole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.boundSubject) || size(self.boundClaims) > 0")
        .message("spec.jwt must hold boundSubject or boundClaims: without one everybody with a token of that provider and audience could log in"),
    validation = Rule::new("self.boundClaims.all(k, self.boundClaims[k].all(v, self.boundClaimsType != 'Glob' || v.matches('[^*]')))")
        .message("each value of spec.jwt.boundClaims must bind: with boundClaimsType Glob it must not be all wildcard"),
)]
pub struct JwtLogin {
    /// Path of the auth method: one of type jwt or oidc that the VaultCluster declares in spec.configuration.authMethods and
    /// its spec.access gives to this namespace in authMethods.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$')").message("spec.jwt.path must be a mount path such as jwt, without a slash at its ends"))]
    pub path: String,

    /// Audiences, one of which a token must be for.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(validation = Rule::new("self.all(a, !a.contains('*'))").message("each of spec.jwt.boundAudiences must be an audience in full; wildcards are not allowed"))]
    pub bound_audiences: Vec<String>,

    /// The `sub` that a token must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub bound_subject: Option<String>,

    /// Claims that a token must have, each with one of these values.
    #[serde(default)]
    #[schemars(schema_with = "bound_claims_schema")]
    pub bound_claims: BTreeMap<String, Vec<String>>,

    /// How values of boundClaims are compared.
    #[serde(default)]
    pub bound_claims_type: BoundClaimsType,

    /// Claim that says who it is in Vault's identities and audit log.
    #[serde(default = "default_user_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub user_claim: String,
}

fn default_path() -> String {
    "jwt".to_owned()
}

fn default_user_claim() -> String {
    "sub".to_owned()
}

/// A claim without a value would bind nobody.
fn bound_claims_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": {
            "type": "array", "minItems": 1, "maxItems": 50,
            "items": {"type": "string", "minLength": 1, "maxLength": 512},
        },
    })
}
