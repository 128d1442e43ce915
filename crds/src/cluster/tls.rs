//! Where the members' certificate comes from.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where the members' certificate comes from: exactly one source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.managed)").message("spec.tls must name one known source: managed"))]
pub struct Tls {
    /// The operator runs a CA for this cluster and issues the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedTls>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            managed: Some(ManagedTls::default()),
        }
    }
}

/// A CA run by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedTls {
    /// Further DNS names for the certificate, for clients outside the Kubernetes cluster.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('(^|[.])[0-9]+$'))").message("spec.tls.managed.extraDnsNames must not hold IP addresses, nor names that end in a number"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^([*][.])?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$'))").message("spec.tls.managed.extraDnsNames must be DNS names such as vault.example.com or *.example.com"))]
    pub extra_dns_names: Vec<String>,
}
