//! VaultCluster: one Vault or OpenBao, run on Kubernetes.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a VaultCluster is to be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "vaultkeeper.dev",
    version = "v1alpha1",
    kind = "VaultCluster",
    plural = "vaultclusters",
    shortname = "vc",
    category = "vaultkeeper",
    namespaced,
    status = "VaultClusterStatus",
    derive = "PartialEq",
    doc = "One Vault or OpenBao: its members, seal, TLS, configuration and who may create VaultRoles against it.",
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].status"),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.membersReady"),
    printcolumn(name = "Voters", type_ = "integer", json_path = ".status.voters"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that starts with a letter: pods and Services are named after it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas % 2 == 1")
        .message("spec.replicas must be odd: an even number of Raft voters tolerates no more failures than one fewer. Use 1, 3, 5 or 7"),
    validation = Rule::new("self.profile == 'Development' || self.replicas >= 3")
        .message("spec.replicas must be at least 3 in profile Hardened: set 3, or profile: Development for a single member"),
    validation = Rule::new("self.replicas >= oldSelf.replicas")
        .message("spec.replicas cannot be lowered yet: the members that go would stay in Raft's configuration as dead voters"),
    validation = Rule::new("oldSelf.distribution == self.distribution").message("spec.distribution cannot be changed: Vault and OpenBao do not read each other's storage reliably"),
)]
pub struct VaultClusterSpec {
    /// Which product to run: Vault or OpenBao.
    #[serde(default)]
    pub distribution: Distribution,

    /// Version of the product, for example 1.21.1. It selects the image unless `image` is set.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+\\\\.[0-9]+\\\\.[0-9]+([-+].*)?$')").message("spec.version must be a version such as 1.21.1"))]
    pub version: String,

    /// Image of the server. Default: `hashicorp/vault:<version>` or `openbao/openbao:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Number of members: 1 (profile Development only), 3, 5 or 7.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 7))]
    pub replicas: i32,

    /// Hardened asks for what production needs; Development allows a single member.
    #[serde(default)]
    pub profile: Profile,

    /// True stops every action of the operator on this cluster. It goes on serving.
    #[serde(default)]
    pub paused: bool,

    /// What happens to the data volumes when this object is deleted. Keys are never deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Where Vault keeps its data: exactly one backend.
    pub storage: Storage,

    /// How Vault is sealed: exactly one kind. Default: Shamir with 5 shares, 3 of which unseal.
    #[serde(default)]
    pub seal: Seal,

    /// Where the members' certificate comes from: exactly one source. Default: managed by the operator.
    #[serde(default)]
    pub tls: Tls,

    /// Vault's own objects, kept as declared here.
    #[serde(default)]
    pub configuration: Configuration,

    /// Which namespaces may create VaultRoles against this cluster, and what those may ask for. Default: none.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub access: Vec<AccessGrant>,

    /// Settings of the members' pods.
    #[serde(default)]
    pub pod: PodSettings,
}

fn default_replicas() -> i32 {
    3
}

/// Which product to run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// HashiCorp Vault.
    #[default]
    Vault,
    /// OpenBao.
    OpenBao,
}

/// How strict the operator is about what production needs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// At least three members, spread over nodes where possible.
    #[default]
    Hardened,
    /// A single member is allowed.
    Development,
}

/// What happens to data when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The data volumes stay.
    #[default]
    Retain,
    /// The data volumes are deleted.
    Delete,
}

/// Where Vault keeps its data: exactly one backend.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.raft)").message("spec.storage must name one known backend: raft"),
)]
pub struct Storage {
    /// Integrated storage: each member keeps the data on a volume of its own and they agree by Raft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftStorage>,
}

/// Integrated storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec.storage.raft cannot be changed yet: the volumes of a StatefulSet are fixed at its creation"))]
pub struct RaftStorage {
    /// Size of each member's volume, for example 10Gi.
    #[serde(default = "default_size")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(Mi|Gi|Ti|M|G|T)$')").message("spec.storage.raft.size must be a size such as 10Gi"))]
    pub size: String,

    /// StorageClass of the volumes. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

fn default_size() -> String {
    "10Gi".to_owned()
}

/// How Vault is sealed: exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.shamir)").message("spec.seal must name one known kind: shamir"))]
pub struct Seal {
    /// Key shares after Shamir. The operator keeps them in a Secret in its own namespace and unseals with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shamir: Option<ShamirSeal>,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            shamir: Some(ShamirSeal::default()),
        }
    }
}

/// Key shares after Shamir.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.threshold <= self.shares")
        .message("spec.seal.shamir.threshold must not be larger than spec.seal.shamir.shares: nobody could unseal"),
    validation = Rule::new("self.shares == 1 || self.threshold >= 2")
        .message("spec.seal.shamir.threshold must be at least 2 when there are several shares: Vault refuses 1"),
    validation = Rule::new("oldSelf == self").message("spec.seal.shamir cannot be changed after creation: that takes a rekey"),
)]
pub struct ShamirSeal {
    /// Number of key shares, 1 to 255.
    #[serde(default = "default_shares")]
    #[schemars(range(min = 1, max = 255))]
    pub shares: i32,

    /// How many shares unseal a member.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 255))]
    pub threshold: i32,
}

impl Default for ShamirSeal {
    fn default() -> Self {
        Self {
            shares: default_shares(),
            threshold: default_threshold(),
        }
    }
}

fn default_shares() -> i32 {
    5
}

fn default_threshold() -> i32 {
    3
}

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
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^([*][.])?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$'))").message("spec.tls.managed.extraDnsNames must be DNS names such as vault.example.com or *.example.com"))]
    pub extra_dns_names: Vec<String>,
}

/// Vault's own objects as code.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Secrets engines that are to be mounted. Those that are not named are left alone.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub secrets_engines: Vec<SecretsEngine>,

    /// Further auth methods that are to be enabled. `kubernetes` and `approle` always are.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub auth_methods: Vec<AuthMethod>,
}

/// A secrets engine (`sys/mounts/<path>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretsEngine {
    /// Path of the mount without slashes at its ends, for example `secret`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && !(self in ['sys', 'identity', 'cubbyhole', 'auth'])").message("path must be a mount path such as secret or team/kv, without a slash at its ends, and none of sys, identity, cubbyhole, auth"))]
    pub path: String,

    /// Type of the engine, for example kv, pki, transit, database.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub type_: String,

    /// What it is for. Shown in Vault.
    #[serde(default)]
    pub description: String,

    /// Options of the mount, for example `version: "2"` for a KV engine with versions.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// An auth method (`sys/auth/<path>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthMethod {
    /// Path of the mount without slashes at its ends, for example `userpass`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$') && self != 'token'").message("path must be a mount path such as userpass, without a slash at its ends, and not token"))]
    pub path: String,

    /// Type of the method, for example userpass, jwt, cert, approle, kubernetes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub type_: String,

    /// What it is for. Shown in Vault.
    #[serde(default)]
    pub description: String,
}

/// What some namespaces may ask for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessGrant {
    /// Names of Kubernetes namespaces whose VaultRoles this grant covers.
    #[schemars(length(min = 1, max = 200), inner(length(min = 1, max = 253)))]
    pub namespaces: Vec<String>,

    /// Prefixes of the Vault paths that their policies may name, each ending in a slash.
    /// `{{namespace}}` stands for the namespace of the VaultRole.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(p, p.endsWith('/') && !p.startsWith('/') && !p.contains('*') && !p.contains('+') && !p.contains('..'))").message("each of pathPrefixes must end in a slash, must not start with one, and must not hold *, + or .."))]
    pub path_prefixes: Vec<String>,

    /// Names of existing Vault policies that their VaultRoles may use.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("!self.exists(p, p == 'root' || p.startsWith('vaultkeeper'))").message("policies must not hold root or a policy of the operator"))]
    pub policies: Vec<String>,
}

/// Settings of the members' pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// CPU and memory of the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources_schema")]
    pub resources: Option<ResourceRequirements>,
}

/// What the API server takes as a quantity.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The schema of [`ResourceRequirements`] that people need; the full one would double the manifest.
fn resources_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let quantities = |what: &str| {
        serde_json::json!({
            "type": "object",
            "description": what,
            "additionalProperties": { "x-kubernetes-int-or-string": true, "pattern": QUANTITY },
        })
    };
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "requests": quantities("What is set aside for the container, for example cpu: 250m, memory: 256Mi."),
            "limits": quantities("What the container may use at most."),
        },
    })
}

/// What was observed of a VaultCluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VaultClusterStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, Initialized, Unsealed, Configured, Available, and SealLatched while a deliberate seal is kept.
    #[serde(default)]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,

    /// Address of the API for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// Identity of the Vault cluster, given by Vault at its initialisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// Pod that is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// Members that serve, of those wanted, for example 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_ready: Option<String>,

    /// Members with a vote in the Raft configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voters: Option<i32>,

    /// How many members may fail without losing quorum, as autopilot says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_tolerance: Option<i32>,

    /// One row per member.
    #[serde(default)]
    pub members: Vec<MemberStatus>,
}

/// What was observed of one member.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name of the pod.
    pub name: String,
    /// Active, Standby, Sealed, Uninitialized, Unreachable, Pending or Removed.
    pub state: String,
    /// Whether the member has a vote in the Raft configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voter: Option<bool>,
    /// Version that the server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The list of conditions as the API conventions want it: a map keyed by type.
pub(crate) fn conditions_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<Condition>();
    schemars::json_schema!({
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
