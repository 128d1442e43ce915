//! A Vault that runs elsewhere.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::secret::SecretKey;

/// A Vault or OpenBao that somebody else runs. The operator keeps spec.configuration and VaultRoles in it; it never
/// initialises, unseals, seals or deletes it, and holds no keys of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalVault {
    /// Address of its API, for example https://vault.example.com:8200. The operator's own settings must allow it
    /// (chart value operator.externalAddresses).
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^https://(([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?[.])*[a-zA-Z]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?|(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}|[[][0-9a-fA-F:]+[]])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')").message("spec.external.address must be a URL such as https://vault.example.com:8200: https, a plain name or IP address, without a path"),
        validation = Rule::new("!self.startsWith('https://[') || (self.contains(']') && isIP(self.substring(9, self.indexOf(']'))))").message("spec.external.address must hold an IPv6 address between its brackets"),
    )]
    pub address: String,

    /// CA certificates, one of which must have signed its certificate. Those of the system are not trusted.
    pub ca: ExternalCa,

    /// How the operator logs in there.
    #[serde(default)]
    pub kubernetes_auth: ExternalLogin,

    /// Namespace in that Vault (Vault Enterprise or OpenBao) in which everything is kept. Default: its root namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+(/[-_.a-zA-Z0-9]+)*/?$')").message("spec.external.namespace must be a path of namespaces such as team/shop"))]
    pub namespace: Option<String>,
}

/// Where CA certificates are: exactly one place.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.bundle), has(self.secret), has(self.configMap)].filter(b, b).size() == 1")
        .message("ca must hold exactly one of bundle, secret and configMap"),
)]
pub struct ExternalCa {
    /// The certificates themselves, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 65536),
        regex(pattern = r"^\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$")
    )]
    pub bundle: Option<String>,

    /// A Secret of the VaultCluster's namespace that holds them, for example one of cert-manager. Of its value only the
    /// certificates are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKey>,

    /// A ConfigMap of the VaultCluster's namespace that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
}

/// One value in a ConfigMap of the cluster's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap, in the namespace of the VaultCluster.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("ca.configMap.name must be the name of a ConfigMap"))]
    pub name: String,

    /// Key in that ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("ca.configMap.key must be a key of that ConfigMap: letters, digits, - _ and ."))]
    pub key: String,
}

/// The operator's login at a Vault that runs elsewhere, by its Kubernetes auth method. The token that it shows there is
/// made for this VaultCluster and this address alone: its audience is in status.loginAudience, and the role must be bound
/// to it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalLogin {
    /// Path of a Kubernetes auth method that reviews tokens at this Kubernetes cluster. VaultRoles log in there as well.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && !self.matches('^(approle|token)(/|$)')").message("spec.external.kubernetesAuth.path must be a mount path such as kubernetes, without a slash at its ends, and neither approle nor token"))]
    pub path: String,

    /// Name of the operator's role there.
    #[serde(default = "default_role")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$')").message("spec.external.kubernetesAuth.role must be the name of a role: lower-case letters, digits, - and _. One with a dot could be that of a VaultRole"))]
    pub role: String,
}

impl Default for ExternalLogin {
    fn default() -> Self {
        Self {
            path: default_path(),
            role: default_role(),
        }
    }
}

fn default_path() -> String {
    crate::names::KUBERNETES_AUTH_PATH.to_owned()
}

fn default_role() -> String {
    "vaultkeeper-operator".to_owned()
}
