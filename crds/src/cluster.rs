//! VaultCluster: one Vault or OpenBao, run on Kubernetes.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

mod access;
mod backup;
pub mod configuration;
mod custody;
mod external;
pub(crate) mod kubernetes_schema;
mod monitoring;
mod network;
mod pod;
mod readiness;
mod seal;
mod secret;
mod status;
mod storage;
mod tls;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::AccessGrant;
pub use backup::{
    Backup, BackupFailure, BackupRecord, BackupRetention, BackupStatus, PendingUpload, RehearsalDepth,
    RehearsalRecord, S3Credentials, S3Target,
};
pub use configuration::{AuthMethod, Configuration, Drift, SecretsEngine};
pub use custody::{CustodianStatus, CustodyStatus, WaitingMember};
pub use external::{ConfigMapKey, ExternalCa, ExternalLogin, ExternalVault};
pub use monitoring::{AlertSettings, MonitoringSettings};
pub use network::{EgressRule, NetworkPeer, NetworkPolicySettings, NetworkPort, NetworkProtocol};
pub use pod::{PodSettings, ServiceAccountSettings, Spread, SpreadSettings};
pub use readiness::{ReadinessRule, ReadinessRuleStatus, ReadinessSettings, ReadinessState, ReadinessWaiver};
pub use seal::{
    AwsKmsSeal, AzureKeyVaultSeal, Custodian, GcpCkmsSeal, OciKmsSeal, Pkcs11Seal, RecoveryKeys, Seal,
    ShamirSeal, StaticKey, StaticSeal, TransitSeal,
};
pub use secret::SecretKey;
pub(crate) use status::conditions_schema;
pub use status::{ConfigurationStatus, MemberStatus, VaultClusterStatus};
pub use storage::{
    AuditVolume, ConsulStorage, ConsulTls, EphemeralStorage, RaftStorage, ServiceRegistration, Storage,
};
pub use tls::{CertManagerTls, IssuerRef, ManagedTls, Tls, TlsStatus};

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
    printcolumn(name = "Readiness", type_ = "string", json_path = ".status.readiness"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].reason"),
    printcolumn(name = "RolledOut", type_ = "string", json_path = ".status.conditions[?(@.type=='RolledOut')].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Tolerance", type_ = "integer", priority = 1, json_path = ".status.failureTolerance"),
    printcolumn(name = "Configured", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Configured')].reason"),
    printcolumn(name = "Unmet", type_ = "string", priority = 1, json_path = ".status.unmetRules"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Available')].message"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that starts with a letter: pods and Services are named after it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.external) || [has(self.storage.raft), has(self.storage.consul), has(self.storage.ephemeral)].filter(b, b).size() == 1")
        .message("spec.storage must name exactly one known backend: raft, consul or ephemeral"),
    validation = Rule::new("!has(self.external) || !(has(self.storage.raft) || has(self.storage.consul) || has(self.storage.ephemeral))")
        .message("spec.storage does not go with spec.external: who runs that Vault decides where its data lies. Remove it"),
    validation = Rule::new("!has(self.external) || (has(self.seal.shamir) && self.seal.shamir.shares == 5 && self.seal.shamir.threshold == 3 && size(self.seal.shamir.custodians) == 0 && !has(self.seal.recovery))")
        .message("spec.seal does not go with spec.external: the operator holds no keys of a Vault that runs elsewhere. Remove it"),
    validation = Rule::new("!has(self.external) || (self.replicas == 3 && !has(self.image) && !self.standbyReads && self.deletionPolicy == 'Retain' && !has(self.auditVolume))")
        .message("spec.replicas, image, standbyReads, deletionPolicy and auditVolume do not go with spec.external, whose servers somebody else runs. Remove them"),
    validation = Rule::new("!has(self.external) || (has(self.tls.managed) && size(self.tls.managed.extraDnsNames) == 0 && self.tls.managed.certificateLifetime == '2160h' && self.tls.managed.caOverlap == '24h')")
        .message("spec.tls does not go with spec.external: who runs that Vault gives it its certificate, and spec.external.ca says which CA to trust. Remove it"),
    validation = Rule::new("!has(self.external) || ![has(self.pod.resources), has(self.pod.spread.hosts), has(self.pod.spread.zones), has(self.pod.affinity), has(self.pod.tolerations), has(self.pod.nodeSelector), has(self.pod.priorityClassName), has(self.pod.imagePullSecrets), has(self.pod.labels), has(self.pod.annotations), has(self.pod.serviceAccount.annotations), has(self.pod.syslogSocket)].exists(b, b)")
        .message("spec.pod does not go with spec.external, whose servers somebody else runs. Remove it"),
    validation = Rule::new("!has(self.external) || ![has(self.networkPolicy.enabled), has(self.networkPolicy.clients), has(self.networkPolicy.prometheus), has(self.networkPolicy.egress), size(self.readiness.waivers) > 0, has(self.serverConfig)].exists(b, b)")
        .message("spec.networkPolicy, readiness and serverConfig do not go with spec.external, whose servers somebody else runs. Remove them"),
    validation = Rule::new("!has(self.external) || ![has(self.monitoring.enabled), has(self.monitoring.interval), has(self.monitoring.labels), has(self.monitoring.alerts.enabled), has(self.monitoring.alerts.labels), has(self.monitoring.alerts.tokenCreationFactor), has(self.monitoring.alerts.tokenCreationMinimum), has(self.monitoring.alerts.maxLeases), has(self.monitoring.alerts.maxBackupAge)].exists(b, b)")
        .message("spec.monitoring does not go with spec.external, whose servers somebody else runs and watches. Remove it"),
    validation = Rule::new("!has(self.external) || !has(self.external.namespace) || self.distribution == 'OpenBao' || self.version.contains('+ent')")
        .message("spec.external.namespace needs distribution OpenBao or Vault Enterprise (a version such as 1.21.1+ent): Vault's community edition ignores the namespace that a client names, and would do everything in the root namespace"),
    validation = Rule::new("!has(self.external) || self.configuration.authMethods.all(m, m.path != self.external.kubernetesAuth.path)")
        .message("spec.configuration.authMethods must not hold spec.external.kubernetesAuth.path: the operator logs in there, and who runs that Vault sets it up"),
    validation = Rule::new("!has(self.backup) || has(self.storage.raft)")
        .message("spec.backup needs spec.storage.raft: the operator makes snapshots of Raft. Back Consul up with consul snapshot; a Vault that runs elsewhere is its owner's to back up"),
    validation = Rule::new("!has(self.backup) || self.profile == 'Development' || self.backup.s3.endpoint.startsWith('https://')")
        .message("spec.backup.s3.endpoint must start with https:// in profile Hardened: signed requests travel in plain text otherwise"),
    validation = Rule::new("has(self.external) == has(oldSelf.external)")
        .message("spec.external can be neither added nor removed: a Vault that runs here and one that runs elsewhere are two things. Create another VaultCluster"),
    validation = Rule::new("!has(self.storage.raft) || self.replicas % 2 == 1")
        .message("spec.replicas must be odd: an even number of Raft voters tolerates no more failures than one fewer. Use 1, 3, 5 or 7"),
    validation = Rule::new("self.profile == 'Development' || self.replicas >= 3")
        .message("spec.replicas must be at least 3 in profile Hardened: set 3, or profile: Development for a single member"),
    validation = Rule::new("!self.version.contains('+') || has(self.image) || has(self.external)")
        .message("spec.version with + needs spec.image: no image tag can hold a +"),
    validation = Rule::new("self.replicas >= oldSelf.replicas - 2")
        .message("spec.replicas can be lowered by at most 2 at once, so that a slip takes no cluster apart: wait until it is done, then lower it further"),
    validation = Rule::new("!has(self.storage.ephemeral) || self.profile == 'Development'")
        .message("spec.storage.ephemeral is allowed only in profile Development: every restart loses all data"),
    validation = Rule::new("!has(self.storage.ephemeral) || self.replicas == 1")
        .message("spec.replicas must be 1 with spec.storage.ephemeral: members do not share their memory"),
    validation = Rule::new("!has(self.storage.consul) || self.distribution == 'Vault'")
        .message("spec.storage.consul needs distribution Vault: OpenBao has no Consul storage. Use raft"),
    validation = Rule::new("!has(self.storage.consul) || self.profile == 'Development' || self.storage.consul.address.startsWith('https://')")
        .message("spec.storage.consul.address must start with https:// in profile Hardened: the ACL token travels with every request"),
    validation = Rule::new("!has(self.storage.ephemeral) || !has(self.seal.shamir) || size(self.seal.shamir.custodians) == 0")
        .message("spec.seal.shamir.custodians needs storage that lasts: with spec.storage.ephemeral every restart makes a new Vault with new shares"),
    validation = Rule::new("!has(self.seal.static) || self.distribution == 'OpenBao'")
        .message("spec.seal.static needs distribution OpenBao: Vault has no such seal"),
    validation = Rule::new("!has(self.seal.pkcs11) || self.distribution == 'OpenBao' || self.version.contains('.hsm')")
        .message("spec.seal.pkcs11 needs distribution OpenBao or an HSM build of Vault Enterprise (a version such as 1.21.1+ent.hsm): Vault's community edition has no such seal"),
    validation = Rule::new("has(self.seal.shamir) == has(oldSelf.seal.shamir) || self.distribution == 'Vault'")
        .message("spec.seal cannot be changed to another kind with distribution OpenBao, whose seal migration was never tried with this operator: create a new VaultCluster and restore a snapshot"),
    validation = Rule::new("has(self.seal.shamir) == has(oldSelf.seal.shamir) || oldSelf.replicas >= 2")
        .message("spec.seal cannot be changed to another kind with a single member, since nobody would serve if the new seal did not work: raise spec.replicas to 3 first"),
    validation = Rule::new("!self.standbyReads || self.distribution == 'OpenBao'")
        .message("spec.standbyReads needs distribution OpenBao: standbys of Vault forward reads to the active member"),
    validation = Rule::new("size(self.configuration.namespaces) == 0 || self.distribution == 'OpenBao' || self.version.contains('+ent')")
        .message("spec.configuration.namespaces needs distribution OpenBao or Vault Enterprise: Vault's community edition ignores the namespace that a client names, and would do everything in the root namespace"),
    validation = Rule::new("has(self.auditVolume) == has(oldSelf.auditVolume)")
        .message("spec.auditVolume can be set at creation only: the number of volumes of a StatefulSet is fixed then"),
    validation = Rule::new("has(self.auditVolume) || !has(self.configuration.audit) || self.configuration.audit.all(d, !has(d.file) || d.file.path.startsWith('/dev/'))")
        .message("spec.configuration.audit holds a file below /vault/audit/, which needs spec.auditVolume: the rest of the pod's file system is read-only"),
    validation = Rule::new("!has(self.auditVolume) || !has(self.configuration.audit) || self.configuration.audit.map(d, has(d.file) && !d.file.path.startsWith('/dev/'), quantity(d.file.rotate.maxSize).asInteger() * (d.file.rotate.keep + 2)).sum() <= quantity(self.auditVolume.size).asInteger()")
        .message("spec.auditVolume.size must hold each file of spec.configuration.audit rotate.keep + 2 times at rotate.maxSize: a full volume stops Vault where nothing else logs"),
    validation = Rule::new("has(self.pod.syslogSocket) || !has(self.configuration.audit) || self.configuration.audit.all(d, !has(d.syslog))")
        .message("spec.configuration.audit holds a syslog device, which needs spec.pod.syslogSocket: the pod does not see the machine's syslog otherwise"),
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

    /// Image of the server, best with its digest: `registry.example.com/vault:1.21.1@sha256:<64 hex digits>`.
    /// Default: `hashicorp/vault:<version>` or `openbao/openbao:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([-._]+[a-z0-9]+)*)*(:[_a-zA-Z0-9][-._a-zA-Z0-9]{0,127})?(@sha256:[a-f0-9]{64})?$')").message("spec.image must be an image such as registry.example.com/vault:1.21.1 or one with a digest, @sha256: and 64 hex digits"))]
    pub image: Option<String>,

    /// Number of members: 1 (profile Development only), 3, 5 or 7. Lowered, they go one by one, the highest number first.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 7))]
    pub replicas: i32,

    /// Hardened asks for what production needs; Development allows a single member.
    #[serde(default)]
    pub profile: Profile,

    /// True stops every action of the operator on this cluster. It goes on serving. A deletion waits for ten minutes; then
    /// the object goes, and its volumes and keys stay, whatever deletionPolicy says.
    #[serde(default)]
    pub paused: bool,

    /// What happens to the data volumes when this object is deleted. Keys are never deleted: the Secrets with the unseal
    /// shares (with Delete under a name that ends in `.retired-<uid>`) and with the CAs stay in the operator's namespace.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// A Vault that somebody else runs: then only `configuration`, `access` and VaultRoles apply, and `version` is the
    /// one expected there. Default: the operator runs Vault here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalVault>,

    /// Where Vault keeps its data: exactly one backend. Needed unless `external` is set.
    #[serde(default)]
    pub storage: Storage,

    /// A second volume of each member, for audit logs. Default: none. It cannot be added later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_volume: Option<AuditVolume>,

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

    /// The NetworkPolicy that isolates the members.
    #[serde(default)]
    pub network_policy: NetworkPolicySettings,

    /// How Prometheus watches the members: metrics, and alerts, which are on unless they are switched off here.
    #[serde(default)]
    pub monitoring: MonitoringSettings,

    /// Which of the ten rules for production do not apply here. The status has the score.
    #[serde(default)]
    pub readiness: ReadinessSettings,

    /// Encrypted snapshots outside of this Kubernetes cluster, made regularly and proven to be restorable. Raft storage only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,

    /// OpenBao only: standbys answer reads from their own copy of the data. It takes load off the active member, and
    /// a read that follows a write may still see the old value. Default: every read goes to the active member.
    #[serde(default)]
    pub standby_reads: bool,

    /// Further settings of the server process, named as in its configuration file: `max_lease_ttl: 87600h` or
    /// `listener: {tcp: {max_request_size: 1048576}}`. They are merged into what the operator writes; a setting that
    /// the operator writes itself is refused. No credentials: this is stored in a ConfigMap.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::free_object")]
    pub server_config: serde_json::Map<String, serde_json::Value>,
}

impl VaultClusterSpec {
    /// Path of the Kubernetes auth method that VaultRoles of this cluster use.
    pub fn kubernetes_auth_path(&self) -> &str {
        self.external
            .as_ref()
            .map_or(crate::names::KUBERNETES_AUTH_PATH, |vault| {
                &vault.kubernetes_auth.path
            })
    }
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
