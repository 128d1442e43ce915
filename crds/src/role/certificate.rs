//! Log in by a client certificate.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Log in by a client certificate, which the operator issues from a CA that serves for nothing else, renews, and revokes
/// when it is not wanted any more.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.renewBefore) || (duration(self.renewBefore) >= duration('10s') && duration(self.renewBefore) + duration(self.renewBefore) <= duration(self.ttl))")
        .message("spec.certificate.renewBefore must be from 10s to half of ttl"),
)]
pub struct CertificateLogin {
    /// Secret of type kubernetes.io/tls that receives `tls.crt`, `tls.key`, and in `ca.crt` the CAs by which the server is
    /// verified. An existing Secret of another owner is not overwritten.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.certificate.secretName must be a valid name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.certificate.secretName must not be that of a Secret in which the operator keeps keys"),
    )]
    pub secret_name: String,

    /// How long a certificate is good for, from 1m to 8760h.
    #[serde(default = "default_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,8}(s|m|h)$') && duration(self) >= duration('1m') && duration(self) <= duration('8760h')").message("spec.certificate.ttl must be a duration from 1m to 8760h such as 720h"))]
    pub ttl: String,

    /// How long before its end a certificate is renewed: from 10s to half of `ttl`. Without it a third of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,8}(s|m|h)$')").message("spec.certificate.renewBefore must be a duration such as 240h"))]
    pub renew_before: Option<String>,

    /// Have the certificate signed by a PKI secrets engine of that Vault instead of the CA that the operator keeps for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pki: Option<PkiIssuer>,
}

/// A role of a PKI secrets engine. It must sign what the operator asks for: the VaultRole's URI as the one name, its UID as
/// the common name, for clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PkiIssuer {
    /// Path of the engine without slashes at its ends, for example `pki`. The cluster's spec.access must allow the path
    /// `<mount>/sign/<role>` to this namespace.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9][-_.a-zA-Z0-9]*(/[a-zA-Z0-9][-_.a-zA-Z0-9]*)*$') && !self.contains('..')").message("spec.certificate.pki.mount must be a mount path such as pki, without a slash at its ends"))]
    pub mount: String,

    /// Name of the role.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$') && !self.contains('..')").message("spec.certificate.pki.role must be the name of a role of the PKI engine"))]
    pub role: String,
}

impl PkiIssuer {
    /// `<mount>/<role>`, as the status tells it.
    pub fn name(&self) -> String {
        let Self { mount, role } = self;
        format!("{mount}/{role}")
    }
}

fn default_ttl() -> String {
    "720h".to_owned()
}

/// The certificates of a VaultRole.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Secret with the certificate.
    pub secret_name: String,
    /// URI in the certificate, by which Vault knows the VaultRole.
    pub uri: String,
    /// Certificates that were issued and have not ended, the newest last.
    #[serde(default)]
    pub issued: Vec<IssuedCertificate>,
}

/// A certificate that was issued.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCertificate {
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Until when it is good.
    pub not_after: Time,
    /// Whether it is to be on the revocation list: it was lost, or is not wanted any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// Who signed it, where that was a PKI secrets engine: `<mount>/<role>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}
