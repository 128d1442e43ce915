//! Settings of the members' pods.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes_schema;

/// Settings of the members' pods. A change restarts the members, one after the other.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// CPU and memory of the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kubernetes_schema::resources")]
    pub resources: Option<ResourceRequirements>,

    /// How the members are spread over hosts and zones.
    #[serde(default)]
    pub spread: SpreadSettings,

    /// Further rules on where the members may run, as in a pod. Spreading them is the task of `spread`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kubernetes_schema::affinity")]
    pub affinity: Option<Affinity>,

    /// Taints of nodes that the members tolerate, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Labels that a node must have for a member to run on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    pub node_selector: BTreeMap<String, String>,

    /// PriorityClass of the members, so that pods of less weight make room for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("spec.pod.priorityClassName must be the name of a PriorityClass"))]
    pub priority_class_name: Option<String>,

    /// Secrets of type kubernetes.io/dockerconfigjson in the same namespace that allow to pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    #[x_kube(
        validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))").message("spec.pod.imagePullSecrets must be names of Secrets"),
        validation = Rule::new("!self.exists(n, n.startsWith('vault-keys.') || n.startsWith('vault-ca.'))").message("spec.pod.imagePullSecrets must not hold that of a Secret in which the operator keeps keys"),
    )]
    pub image_pull_secrets: Vec<String>,

    /// Further labels of the members' pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))").message("spec.pod.labels must not hold labels that the operator sets: vaultkeeper.dev/*, app.kubernetes.io/name, instance and managed-by"))]
    pub labels: BTreeMap<String, String>,

    /// Further annotations of the members' pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && !k.startsWith('vault.hashicorp.com/'))").message("spec.pod.annotations must not start with vaultkeeper.dev/ or vault.hashicorp.com/: nothing is injected into a member"))]
    pub annotations: BTreeMap<String, String>,

    /// Socket of the host's syslog, for example /dev/log: mounted there in the server's container for audit devices of
    /// kind syslog. Pod Security `baseline` and `restricted` refuse such pods: the namespace must allow them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^(/[-_a-zA-Z0-9][-_.a-zA-Z0-9]*)*/(dev-|sys)?log([.]sock)?$')").message("spec.pod.syslogSocket must be the path of a socket named log, dev-log or syslog, such as /dev/log: no other socket of the host may be mounted"))]
    pub syslog_socket: Option<String>,

    /// Identity of the members' pods.
    #[serde(default)]
    pub service_account: ServiceAccountSettings,
}

/// How the members are spread over hosts and zones.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SpreadSettings {
    /// Over hosts. Default: Required in profile Hardened, Preferred in Development.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Spread>,

    /// Over zones, told apart by the nodes' label topology.kubernetes.io/zone. Default: Preferred. With Required only
    /// nodes that have this label take members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Spread>,
}

/// How strictly members are spread.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Evenly over all that can take members: a member waits rather than to make it uneven. A single host takes all.
    Required,
    /// Evenly where possible.
    Preferred,
    /// Not at all.
    Off,
}

/// Identity of the members' pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSettings {
    /// Annotations of the ServiceAccount that the operator makes, for the workload identity of a cloud provider. It is
    /// named like the VaultCluster; members run as no other, so that nobody borrows the rights of one by a VaultCluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    pub annotations: BTreeMap<String, String>,
}
