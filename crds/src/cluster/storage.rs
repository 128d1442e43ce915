//! Where Vault keeps its data.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::secret::SecretKey;

/// Where Vault keeps its data: exactly one backend.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.raft) == has(oldSelf.raft) && has(self.consul) == has(oldSelf.consul)")
        .message("spec.storage cannot be changed to another backend: the data would stay behind. Create a new VaultCluster and restore a snapshot or migrate by hand"),
)]
pub struct Storage {
    /// Integrated storage: each member keeps the data on a volume of its own and they agree by Raft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftStorage>,

    /// An existing Consul keeps the data. The members need no volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<ConsulStorage>,

    /// The data lives in the memory of a single member and is lost with every restart; the operator then starts
    /// anew with new keys. For trying things out, only in profile Development.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralStorage>,
}

/// Integrated storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("spec.storage.raft.storageClassName cannot be changed: a volume stays in its class"),
)]
pub struct RaftStorage {
    /// Size of each member's volume, for example 10Gi. It may be raised while members run, where the StorageClass
    /// allows volumes to grow; nothing makes it smaller again.
    #[serde(default = "default_size")]
    #[schemars(length(max = 20))]
    #[x_kube(
        validation = Rule::new("self.matches('^[0-9]{1,6}(Mi|Gi|Ti|M|G|T)$')").message("spec.storage.raft.size must be a size such as 10Gi"),
        validation = Rule::new("!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("spec.storage.raft.size cannot be lowered: no volume becomes smaller"),
    )]
    pub size: String,

    /// StorageClass of the volumes. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

fn default_size() -> String {
    "10Gi".to_owned()
}

/// A volume of each member for audit logs, mounted at `/vault/audit`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("spec.auditVolume.storageClassName cannot be changed: a volume stays in its class"),
)]
pub struct AuditVolume {
    /// Size of each member's volume, for example 10Gi. All files of `configuration.audit` must fit into it.
    /// It may be raised as that of the data.
    #[serde(default = "default_size")]
    #[schemars(length(max = 20))]
    #[x_kube(
        validation = Rule::new("self.matches('^[0-9]{1,6}(Mi|Gi|Ti|M|G|T)$')").message("spec.auditVolume.size must be a size such as 10Gi"),
        validation = Rule::new("!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("spec.auditVolume.size cannot be lowered: no volume becomes smaller"),
    )]
    pub size: String,

    /// StorageClass of the volumes. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// Nothing to set: the data is in memory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EphemeralStorage {}

/// A Consul that keeps the data.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || self.address.startsWith('https://')")
        .message("spec.storage.consul.tls needs an address that starts with https://"),
    validation = Rule::new("self.path == oldSelf.path")
        .message("spec.storage.consul.path cannot be changed: the data would stay behind"),
)]
pub struct ConsulStorage {
    /// Address of a Consul agent or server as the members reach it, for example https://consul-server.consul.svc:8501.
    /// Profile Hardened asks for https.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https?://([-.a-zA-Z0-9]+|[[][0-9a-fA-F:]+[]])(:[0-9]{1,5})?$')").message("spec.storage.consul.address must be a URL such as https://consul-server.consul.svc:8501, without a path"))]
    pub address: String,

    /// Path in Consul's key-value store below which this cluster keeps its data. No two clusters may share one.
    #[serde(default = "default_path")]
    #[schemars(length(min = 2, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+(/[-_.a-zA-Z0-9]+)*/$')").message("spec.storage.consul.path must be a path such as vault/, which ends in a slash and does not start with one"))]
    pub path: String,

    /// ACL token, which needs write on the path's keys, on sessions and on the registered service, and read on agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret: Option<SecretKey>,

    /// How the members verify Consul and show themselves to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConsulTls>,

    /// How long Consul keeps the lock of an active member that is gone, for example 15s: 10s at least. A shorter time
    /// makes a take-over quicker and a busy network more disturbing.
    #[serde(default = "default_session_ttl")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}(s|m|h)$') && duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("spec.storage.consul.sessionTtl must be a duration from 10s to 24h such as 15s"))]
    pub session_ttl: String,

    /// Registration of the members in Consul's catalogue of services.
    #[serde(default)]
    pub service_registration: ServiceRegistration,
}

fn default_path() -> String {
    "vault/".to_owned()
}

fn default_session_ttl() -> String {
    "15s".to_owned()
}

/// TLS towards Consul.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConsulTls {
    /// Certificate of the CA that signed Consul's certificate, in PEM. Default: the CAs of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,

    /// Secret of type kubernetes.io/tls with the client certificate that the members show to Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.storage.consul.tls.clientCertificateSecret must be the name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.storage.consul.tls.clientCertificateSecret must not be that of a Secret in which the operator keeps keys"),
    )]
    pub client_certificate_secret: Option<String>,
}

/// Registration of the members in Consul's catalogue.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRegistration {
    /// Whether the members register themselves, so that `active.<service>.service.consul` leads to the active one.
    #[serde(default = "default_true")]
    pub enabled: bool,

    /// Name of the service. Default: `<namespace>-<name>` of the VaultCluster. No two clusters may share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$')").message("spec.storage.consul.serviceRegistration.service may hold letters, digits and dashes only"))]
    pub service: Option<String>,

    /// Tags of the service.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(t, t.matches('^[-_.=:/a-zA-Z0-9]+$'))").message("spec.storage.consul.serviceRegistration.tags may hold letters, digits and - _ . = : / only"))]
    pub tags: Vec<String>,
}

impl Default for ServiceRegistration {
    fn default() -> Self {
        Self {
            enabled: true,
            service: None,
            tags: Vec::new(),
        }
    }
}

fn default_true() -> bool {
    true
}
