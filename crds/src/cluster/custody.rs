//! Who holds the unseal shares, in the status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who holds the unseal shares.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CustodyStatus {
    /// Number of shares, one per custodian.
    pub shares: i32,

    /// How many of them unseal a member.
    pub threshold: i32,

    /// Usable shares that the operator itself still holds: 0 once the custodians have theirs.
    pub held_by_operator: i32,

    /// Whether the encrypted shares are in the Secret for the custodians, and are those that unseal.
    pub delivered: bool,

    /// Secret in the namespace of the VaultCluster with one encrypted share per custodian, under the custodian's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,

    /// The people who hold a share.
    #[serde(default)]
    pub custodians: Vec<CustodianStatus>,

    /// Members that are sealed and wait for the custodians.
    #[serde(default)]
    pub waiting: Vec<WaitingMember>,
}

/// A person who holds a share.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CustodianStatus {
    /// Name of the person.
    pub name: String,
    /// Fingerprint of the PGP key that the share is encrypted to, in hex.
    pub fingerprint: String,
}

/// A member that waits for the custodians.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WaitingMember {
    /// Name of the pod.
    pub name: String,
    /// Shares that it was given so far, of those it needs, for example 1/2.
    pub progress: String,
}
