//! Unsealed by the transit secrets engine of another Vault.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::secret::SecretKey;

/// Unsealed by the transit secrets engine of another Vault or OpenBao. While that one is away the members go on
/// serving, but none of them can start.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mountPath == oldSelf.mountPath && self.keyName == oldSelf.keyName")
        .message("spec.seal.transit.mountPath and keyName cannot be changed: another key does not open what this one sealed. Rotate the key where it is"),
)]
pub struct TransitSeal {
    /// Address of the other Vault as the members reach it, for example https://vault.example.com:8200.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://([-.a-zA-Z0-9]+|[[][0-9a-fA-F:]+[]])(:[0-9]{1,5})?$')").message("spec.seal.transit.address must be a URL such as https://vault.example.com:8200: https, without a path"))]
    pub address: String,

    /// Path at which its transit engine is mounted.
    #[serde(default = "default_mount")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+(/[-_.a-zA-Z0-9]+)*/?$')").message("spec.seal.transit.mountPath must be a mount path such as transit/"))]
    pub mount_path: String,

    /// Name of the key in that engine. It must exist.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+$')").message("spec.seal.transit.keyName must be the name of a key: letters, digits, - _ and ."))]
    pub key_name: String,

    /// Namespace in the other Vault (Vault Enterprise or OpenBao). Default: its root namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+(/[-_.a-zA-Z0-9]+)*/?$')").message("spec.seal.transit.namespace must be a path of namespaces such as team/unseal"))]
    pub namespace: Option<String>,

    /// Token for the other Vault, which needs update on `<mountPath>/encrypt/<keyName>` and `…/decrypt/<keyName>`.
    /// Let it be periodic: the members renew it, and a member cannot start with an expired one.
    pub token_secret: SecretKey,

    /// Certificate of the CA that signed the other Vault's certificate, in PEM. Default: the CAs of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,

    /// Name that the other Vault's certificate must hold. Default: the host in `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-.a-zA-Z0-9]+$')").message("spec.seal.transit.tlsServerName must be a DNS name"))]
    pub tls_server_name: Option<String>,

    /// Secret of type kubernetes.io/tls with a client certificate to show to the other Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.seal.transit.clientCertificateSecret must be the name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.seal.transit.clientCertificateSecret must not be that of a Secret in which the operator keeps keys"),
    )]
    pub client_certificate_secret: Option<String>,

    /// True keeps the members from renewing the token: for one that somebody else renews.
    #[serde(default)]
    pub disable_renewal: bool,
}

fn default_mount() -> String {
    "transit/".to_owned()
}
