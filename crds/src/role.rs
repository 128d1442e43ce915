//! VaultRole: one application's identity.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

#[macro_use]
mod span;

mod app_role;
mod certificate;
mod deletion;
mod deliver;
mod jwt;
mod kubernetes;
mod policy;
mod rotation;
mod status;
mod token;
mod userpass;
mod wrap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use app_role::{AppRole, CredentialsSecret, SecretKeys};
pub use certificate::{CertificateLogin, CertificateStatus, IssuedCertificate, PkiIssuer};
pub use deletion::RoleDeletionPolicy;
pub use deliver::TokenDelivery;
pub use jwt::JwtLogin;
pub use kubernetes::{AliasNameSource, KubernetesLogin, LabelCondition, LabelOperator, NamespaceSelector};
pub use policy::{Capability, Parameter, Policy, PolicyRule};
pub use rotation::{RestartKind, RestartTarget, Rotation};
pub use status::{AppRoleStatus, DeliveredToken, ExternalLoginStatus, PreviousSecretId, VaultRoleStatus};
pub use token::{RoleTokenType, TokenSettings};
pub use userpass::{PasswordSecret, UserpassLogin};
pub use wrap::Wrap;

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
    validation = Rule::new("has(self.appRole) || has(self.kubernetes) || has(self.userpass) || has(self.jwt) || has(self.certificate) || has(self.token.deliver)")
        .message("spec must hold at least one way to log in: appRole, kubernetes, userpass, jwt, certificate or token.deliver"),
    validation = Rule::new("!has(self.token.deliver) || !has(self.appRole) || self.token.deliver.secretName != self.appRole.secretName")
        .message("spec.token.deliver.secretName must not be spec.appRole.secretName"),
    validation = Rule::new("!has(self.certificate) || !has(self.appRole) || self.certificate.secretName != self.appRole.secretName")
        .message("spec.certificate.secretName must differ from spec.appRole.secretName: one Secret cannot be of both types"),
    validation = Rule::new("!has(self.certificate) || !has(self.token.deliver) || self.certificate.secretName != self.token.deliver.secretName")
        .message("spec.certificate.secretName must differ from spec.token.deliver.secretName: one Secret cannot be of both types"),
    validation = Rule::new("size(self.policy.rules) + size(self.policy.names) > 0")
        .message("spec.policy must hold at least one rule, or the name of a policy in names"),
    validation = Rule::new("self.cluster == oldSelf.cluster")
        .message("spec.cluster cannot be changed: delete this VaultRole and create it anew, so that nothing is left behind in the old cluster"),
    validation = Rule::new("!self.revokeTokens || self.deletionPolicy != 'Retain'")
        .message("spec.revokeTokens ends what spec.deletionPolicy Retain is to keep: remove one of them"),
)]
pub struct VaultRoleSpec {
    /// The VaultCluster at which the application logs in. Its spec.access must allow this namespace.
    pub cluster: ClusterReference,

    /// What the application may do.
    pub policy: Policy,

    /// Log in by AppRole: role-id and secret-id in a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRole>,

    /// Log in by a Kubernetes ServiceAccount. Injected pods use this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesLogin>,

    /// Log in by name and password, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userpass: Option<UserpassLogin>,

    /// Log in by a token of another provider, such as that of a CI job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtLogin>,

    /// Log in by a client certificate in a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateLogin>,

    /// What the tokens are like that each of these logins gives.
    #[serde(default)]
    pub token: TokenSettings,

    /// What happens to the identity when this object is deleted. Access that the VaultCluster takes away goes in any case.
    #[serde(default)]
    pub deletion_policy: RoleDeletionPolicy,

    /// Whether tokens that were given to this role die with it, or with its access. Without this they live on, with what other
    /// policies than its own allow, until their time is over. Every live token of the Vault is looked at for it. Batch tokens
    /// cannot be revoked.
    #[serde(default)]
    pub revoke_tokens: bool,
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
