//! Who may reach the members, and what they may reach.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes_schema;

/// The NetworkPolicy of the members. It denies what it does not name, where the cluster's network plugin enforces it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether there is a NetworkPolicy. Default: true in profile Hardened, false in Development. False removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Who may use the API, besides the members, the operator and the pods of the namespaces named in spec.access.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub clients: Vec<NetworkPeer>,

    /// Where Prometheus runs. It reaches the members at the port of the metrics (8202), or with spec.monitoring.enabled:
    /// false at the port of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub prometheus: Vec<NetworkPeer>,

    /// Where the members may connect to, besides each other, DNS, and any address at the ports 443 and 6443 (the API
    /// server of Kubernetes and the API of a key management service) and at the ports of addresses in this spec: Consul,
    /// the seal, receivers of the audit log, providers of auth methods. A NetworkPolicy knows no host names. For example
    /// a database, an LDAP server, or what spec.serverConfig names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub egress: Vec<EgressRule>,
}

/// Pods or addresses. Labels narrow down pods; a block of addresses stands alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cidr) || has(self.namespace) || has(self.namespaceLabels) || has(self.podLabels)")
        .message("a network peer must name at least one of namespace, namespaceLabels, podLabels and cidr: an empty one would mean everybody"),
    validation = Rule::new("!has(self.cidr) || !(has(self.namespace) || has(self.namespaceLabels) || has(self.podLabels))")
        .message("a network peer with a cidr must name neither namespaces nor pods: make two peers of it"),
    validation = Rule::new("!(has(self.namespace) && has(self.namespaceLabels))")
        .message("a network peer must hold namespace or namespaceLabels, not both"),
)]
pub struct NetworkPeer {
    /// Name of a namespace. Without it and `namespaceLabels`: the VaultCluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("namespace must be the name of a namespace"))]
    pub namespace: Option<String>,

    /// Labels that a namespace must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::labels")]
    pub namespace_labels: BTreeMap<String, String>,

    /// Labels that a pod must have. Default: all pods of these namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::labels")]
    pub pod_labels: BTreeMap<String, String>,

    /// A block of addresses, for example 10.0.0.0/8. For what lies outside of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("cidr must be a block of addresses such as 10.0.0.0/8"))]
    pub cidr: Option<String>,
}

/// Where the members may connect to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// To whom.
    #[schemars(length(min = 1, max = 20))]
    pub to: Vec<NetworkPeer>,

    /// At which ports. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub ports: Vec<NetworkPort>,
}

/// A port.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPort {
    /// Number of the port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// Its protocol.
    #[serde(default)]
    pub protocol: NetworkProtocol,
}

/// A protocol.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum NetworkProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}
