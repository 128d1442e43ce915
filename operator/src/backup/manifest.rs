//! What describes a backup in the bucket, for people and for a restore. Written last. It holds no secret. Pure.

use serde::{Deserialize, Serialize};

/// The description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// Name of the object.
    pub object: String,
    /// Bytes of the object.
    pub size: u64,
    /// SHA-256 of the object, in hexadecimal.
    pub sha256: String,
    /// When it was begun.
    pub time: String,
    /// Identity of the Vault cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Version that made it, and must be there to restore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who can read it.
    pub recipients: Vec<String>,
}
