//! What was observed of a VaultCluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::BackupStatus;
use super::custody::CustodyStatus;
use super::readiness::ReadinessRuleStatus;
use super::tls::TlsStatus;

/// What was observed of a VaultCluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VaultClusterStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, Initialized and Unsealed (of a Vault that runs here), Configured, Available, ProductionReady,
    /// RolledOut when every member runs what the spec says of its pod, CertificateCurrent when every member shows the
    /// certificate that it is to show, CaRollover while two CAs are trusted, SealLatched while a deliberate seal is kept,
    /// AwaitingCustodians while members wait for people with shares, CustodiansDiffer while others hold the shares than
    /// the spec names, Drifted while Vault's objects differ from spec.configuration and are left, BackedUp when spec.backup is
    /// set and a fresh backup was proven to be restorable, Monitored when Prometheus is told of the members, and Paused while
    /// spec.paused is set.
    #[serde(default)]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,

    /// Address of the API for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// Audience of the token that the operator shows at a Vault that runs elsewhere (spec.external). The role that it logs
    /// in with must be bound to it; it is worth nothing at any other Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_audience: Option<String>,

    /// Hash of the CA certificates that a Vault that runs elsewhere is verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_hash: Option<String>,

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

    /// What was applied of spec.configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationStatus>,

    /// How many of the ten rules for production are met or waived, for example 7/10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<String>,

    /// The rules that are neither met nor waived, for example `Backups, MFA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet_rules: Option<String>,

    /// One row per rule for production.
    #[serde(default)]
    pub readiness_rules: Vec<ReadinessRuleStatus>,
    /// The members' certificate. Whether all of them show it is told by the condition CertificateCurrent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,

    /// Who holds the unseal shares, where custodians do or are to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<CustodyStatus>,

    /// The backups of spec.backup. Whether they are as they should be is told by the condition BackedUp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,

    /// One row per member.
    #[serde(default)]
    pub members: Vec<MemberStatus>,
}

/// What was applied of spec.configuration.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStatus {
    /// Identifies what was applied last: the declared configuration and the versions of its Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,

    /// What could not be applied of it and is tried again: fields below spec.configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,

    /// Which passwords and client secrets were written: short hashes of their paths in Vault and the versions of their
    /// Secrets. One that is listed is not written again, so that what its user changed in Vault stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_written: Option<String>,

    /// What differs in Vault from what was applied, and was left since drift is Report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
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
    /// Whether its pod is made from the present template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_date: Option<bool>,
    /// Serial number of the certificate that the member shows, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why it does not run, as far as Kubernetes and the server's last words tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
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
