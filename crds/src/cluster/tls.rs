//! Where the members' certificate comes from.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the members' certificate comes from: exactly one source. Whichever it is, the operator verifies the members by
/// it, and they take a renewed one up without a restart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.managed), has(self.certManager), has(self.secretName)].filter(b, b).size() == 1")
        .message("spec.tls must name exactly one known source: managed, certManager or secretName"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("spec.tls cannot be changed from or to managed yet: clients would lose the CA that they trust in one moment"),
)]
pub struct Tls {
    /// The operator runs a CA for this cluster and issues the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedTls>,

    /// cert-manager issues the certificate: the operator writes a Certificate, cert-manager the Secret
    /// `<name>-tls` of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManagerTls>,

    /// Name of a Secret of the cluster's namespace that you keep current: `tls.crt`, `tls.key`, and in `ca.crt` the CA
    /// that clients are to trust. The certificate must hold the names of the Services and `*.<name>-internal.<namespace>.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.tls.secretName must be the name of a Secret"))]
    #[x_kube(validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.tls.secretName must not be that of a Secret in which the operator keeps keys"))]
    pub secret_name: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            managed: Some(ManagedTls::default()),
            cert_manager: None,
            secret_name: None,
        }
    }
}

/// A CA run by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedTls {
    /// Further DNS names for the certificate, for clients outside the Kubernetes cluster.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('(^|[.])[0-9]+$'))").message("spec.tls.managed.extraDnsNames must not hold IP addresses, nor names that end in a number"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^([*][.])?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$'))").message("spec.tls.managed.extraDnsNames must be DNS names such as vault.example.com or *.example.com"))]
    pub extra_dns_names: Vec<String>,

    /// How long the members' certificate is good for. It is renewed after two thirds of that.
    #[serde(default = "default_lifetime")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,6}(m|h)$') && duration(self) >= duration('1h') && duration(self) <= duration('9600h')").message("spec.tls.managed.certificateLifetime must be a duration from 1h to 9600h such as 2160h"))]
    pub certificate_lifetime: String,

    /// How long clients are given when the CA is replaced: first they trust both CAs for this long while the members show
    /// a certificate of the old one, then as long while these show one of the new.
    #[serde(default = "default_overlap")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,6}(s|m|h)$') && duration(self) <= duration('720h')").message("spec.tls.managed.caOverlap must be a duration of at most 720h such as 24h"))]
    pub ca_overlap: String,
}

impl Default for ManagedTls {
    fn default() -> Self {
        Self {
            extra_dns_names: Vec::new(),
            certificate_lifetime: default_lifetime(),
            ca_overlap: default_overlap(),
        }
    }
}

fn default_lifetime() -> String {
    "2160h".to_owned()
}

fn default_overlap() -> String {
    "24h".to_owned()
}

/// A certificate from cert-manager. Its issuer must write the CA into the Secret (`ca.crt`), as those of type CA, Vault
/// and self-signed ones do: clients and the operator verify the members by it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertManagerTls {
    /// The issuer that signs.
    pub issuer_ref: IssuerRef,

    /// Further DNS names for the certificate, for clients outside the Kubernetes cluster.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^([*][.])?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$') && !n.matches('(^|[.])[0-9]+$'))").message("spec.tls.certManager.extraDnsNames must be DNS names such as vault.example.com or *.example.com"))]
    pub extra_dns_names: Vec<String>,

    /// How long the certificate is to be good for. cert-manager renews it after two thirds of that.
    #[serde(default = "default_lifetime")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,6}(m|h)$') && duration(self) >= duration('1h') && duration(self) <= duration('9600h')").message("spec.tls.certManager.certificateLifetime must be a duration from 1h to 9600h such as 2160h"))]
    pub certificate_lifetime: String,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.tls.certManager.issuerRef.name must be the name of an issuer"))]
    pub name: String,

    /// Issuer (of the cluster's namespace) or ClusterIssuer, or the kind of an external issuer.
    #[serde(default = "default_issuer_kind")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][a-zA-Z0-9]*$')").message("spec.tls.certManager.issuerRef.kind must be a kind such as Issuer or ClusterIssuer"))]
    pub kind: String,

    /// API group of the issuer.
    #[serde(default = "default_issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.tls.certManager.issuerRef.group must be an API group such as cert-manager.io"))]
    pub group: String,
}

fn default_issuer_kind() -> String {
    "Issuer".to_owned()
}

fn default_issuer_group() -> String {
    "cert-manager.io".to_owned()
}

/// What is known of the members' certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TlsStatus {
    /// Serial number of the certificate that the members are to show, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,

    /// From when that certificate is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,

    /// When that certificate expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,

    /// When the CA expires that signed it, if it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_not_after: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}
