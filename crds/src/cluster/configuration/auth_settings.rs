//! Settings, roles and users of the auth methods that have a type here.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKey;

/// How Vault checks the ServiceAccount tokens of a further Kubernetes cluster (`auth/<path>/config`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// URL of that cluster's API server as Vault reaches it.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("host must be a URL that begins with https://"))]
    pub host: String,

    /// CA of that API server, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,

    /// Token of a ServiceAccount of that cluster that may review tokens. Without it a client's own token is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_reviewer: Option<SecretKey>,
}

/// Settings and roles of a method of type jwt or oidc. Exactly one of discoveryUrl, jwksUrl and publicKeys says how
/// signatures are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.discoveryUrl) ? 1 : 0) + (has(self.jwksUrl) ? 1 : 0) + (size(self.publicKeys) > 0 ? 1 : 0) == 1")
        .message("jwt must hold exactly one of discoveryUrl, jwksUrl and publicKeys"),
    validation = Rule::new("has(self.clientId) == has(self.clientSecret) && (!has(self.clientId) || has(self.discoveryUrl))")
        .message("clientId and clientSecret go together, and with discoveryUrl"),
    validation = Rule::new("has(self.clientId) || !self.roles.exists(r, r.roleType == 'Oidc')")
        .message("a role of roleType Oidc needs clientId and clientSecret beside it: the browser is sent to the provider in that name"),
)]
pub struct JwtAuth {
    /// The provider's address without `/.well-known/…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub discovery_url: Option<String>,

    /// CA of that address, in PEM. Default: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery_ca: Option<String>,

    /// Id of this Vault at the provider, for people who log in with a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub client_id: Option<String>,

    /// The secret that goes with clientId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretKey>,

    /// Address of the keys that sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub jwks_url: Option<String>,

    /// CA of that address, in PEM. Default: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_ca: Option<String>,

    /// The public keys that sign, in PEM.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub public_keys: Vec<String>,

    /// The issuer that a token must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub bound_issuer: Option<String>,

    /// Role of who names none at login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub default_role: Option<String>,

    /// Who may log in, and with which policies (`auth/<path>/role/<name>`). Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub roles: Vec<JwtRole>,
}

/// Who may log in with a token of the provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.roleType != 'Jwt' || size(self.boundAudiences) > 0 || has(self.boundSubject) || size(self.boundClaims) > 0")
        .message("a role of roleType Jwt needs a bound: boundAudiences, boundSubject or boundClaims. Without one every token of the provider would do, and Vault refuses it"),
    validation = Rule::new("self.roleType != 'Oidc' || size(self.allowedRedirectUris) > 0")
        .message("a role of roleType Oidc needs allowedRedirectUris: Vault refuses it without one"),
)]
pub struct JwtRole {
    /// Name of the role.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// How one logs in: with a token in hand, or with a browser.
    pub role_type: JwtRoleType,

    /// Claim that says who it is, for example `sub` or `email`.
    #[schemars(length(min = 1, max = 128))]
    pub user_claim: String,

    /// Audiences, one of which a token must be for. Role type Jwt needs these, boundSubject or boundClaims.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    pub bound_audiences: Vec<String>,

    /// The `sub` that a token must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub bound_subject: Option<String>,

    /// Claims that a token must have, each with one of these values.
    #[serde(default)]
    #[schemars(schema_with = "bound_claims_schema")]
    pub bound_claims: BTreeMap<String, Vec<String>>,

    /// Whether values of boundClaims are texts or patterns with `*`.
    #[serde(default)]
    pub bound_claims_type: BoundClaimsType,

    /// Claim that names the groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub groups_claim: Option<String>,

    /// Claims that are copied to the identity's metadata: claim → key.
    #[serde(default)]
    pub claim_mappings: BTreeMap<String, String>,

    /// Where the provider may send the browser back to. Needed by role type Oidc.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    pub allowed_redirect_uris: Vec<String>,

    /// Scopes to ask the provider for, besides `openid`.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub oidc_scopes: Vec<String>,

    /// The tokens that a login gives.
    #[serde(default)]
    pub token: LoginToken,
}

/// A claim without a value would bind nobody.
fn bound_claims_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string"}},
    })
}

/// How one logs in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtRoleType {
    /// With a token in hand.
    Jwt,
    /// With a browser.
    Oidc,
}

/// How values of bound claims are compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundClaimsType {
    /// As they are.
    #[default]
    String,
    /// As patterns, in which `*` stands for any text.
    Glob,
}

/// Settings and roles of a method of type cert.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertAuth {
    /// True: a renewal does not ask for the certificate of the login again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_binding: Option<bool>,

    /// Keep what the certificate says in the identity's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_identity_alias_metadata: Option<bool>,

    /// Which certificates may log in (`auth/<path>/certs/<name>`). Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub roles: Vec<CertRole>,
}

/// Which certificates may log in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertRole {
    /// Name of the role.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The CA that issued them, or the certificate itself, in PEM. No private key.
    #[schemars(
        length(min = 1, max = 65536),
        regex(pattern = r"^\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$")
    )]
    pub certificate: String,

    /// Common names, one of which a certificate must have. `*` stands for any text.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub allowed_common_names: Vec<String>,

    /// DNS names, one of which a certificate must have.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub allowed_dns_sans: Vec<String>,

    /// URIs, one of which a certificate must have.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub allowed_uri_sans: Vec<String>,

    /// Organisational units, one of which a certificate must have.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub allowed_organizational_units: Vec<String>,

    /// The tokens that a login gives.
    #[serde(default)]
    pub token: LoginToken,
}

/// Users of a method of type userpass.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UserpassAuth {
    /// Who may log in (`auth/<path>/users/<name>`). Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub users: Vec<UserpassUser>,
}

/// A person who logs in with a password.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UserpassUser {
    /// Name to log in with. Vault knows no @ in it.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The password. It is written when the user is new and whenever this Secret changes or another one is named: a
    /// password that the user changed in Vault stays until then.
    pub password: SecretKey,

    /// The tokens that a login gives.
    #[serde(default)]
    pub token: LoginToken,
}

/// The tokens that a login gives. What is left out stays as it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LoginToken {
    /// Names of policies.
    #[serde(default)]
    #[schemars(
        length(max = 30),
        inner(length(min = 1, max = 128), regex(pattern = r"^[-_./:@a-zA-Z0-9]+$"))
    )]
    #[x_kube(validation = Rule::new("!self.exists(p, p.lowerAscii() == 'root' || p.lowerAscii().startsWith('vaultkeeper'))").message("policies must not hold root or a policy of the operator, however they are written: Vault folds names to lower case"))]
    pub policies: Vec<String>,

    /// How long a token lives unless it is renewed, for example 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("ttl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub ttl: Option<String>,

    /// How long a token can live with renewals, for example 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("maxTtl must be a duration such as 4h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_ttl: Option<String>,
}
