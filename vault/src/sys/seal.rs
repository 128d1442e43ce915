//! Seal, unseal and leadership of one node (`sys/seal-status`, `sys/unseal`, `sys/seal`, `sys/leader`,
//! `sys/step-down`).

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::null_default;

/// A node's seal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "as the server sends it")]
pub struct SealStatus {
    /// `shamir`, `transit`, `awskms`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the node holds keys. False also on a member that has not joined yet.
    pub initialized: bool,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Shares needed; zero before it is initialised.
    #[serde(rename = "t")]
    pub threshold: u32,
    /// Shares that exist.
    #[serde(rename = "n")]
    pub shares: u32,
    /// Shares given so far.
    pub progress: u32,
    /// Identifies the run of shares under way; another one appears when somebody starts over.
    pub nonce: String,
    /// The server's version.
    pub version: String,
    /// Empty while sealed.
    pub cluster_name: String,
    /// Empty while sealed. Two members with different ids are two clusters.
    pub cluster_id: String,
    /// True with auto-unseal: shares are then recovery shares.
    pub recovery_seal: bool,
    /// True while the node is configured for another seal than the one that its data is under: it is unsealed with the
    /// keys of the old one then, by [`Client::unseal_migrating`].
    pub migration: bool,
    /// `raft`, `consul`, …
    pub storage_type: String,
    /// True where the member was taken out of its cluster (Vault ≥ 1.19; never OpenBao).
    #[serde(deserialize_with = "null_default")]
    pub removed_from_cluster: bool,
}

/// Who leads, as one node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Leader {
    /// Whether several members are possible with this storage.
    pub ha_enabled: bool,
    /// Whether this node is the active one. OpenBao leaves the field out on a standby.
    pub is_self: bool,
    /// When it became active, RFC 3339.
    pub active_time: String,
    /// The active node's API address; empty for none, and it may be out of date.
    pub leader_address: String,
    /// The active node's cluster address.
    pub leader_cluster_address: String,
    /// Raft: the last index that this node knows to be committed.
    pub raft_committed_index: u64,
    /// Raft: the last index that this node applied.
    pub raft_applied_index: u64,
}

impl Client {
    /// The node's seal: `GET sys/seal-status`, without a token.
    pub async fn seal_status(&self) -> Result<SealStatus> {
        self.body(Request::get("sys/seal-status").root_namespace()).await
    }

    /// Gives the node one share: `PUT sys/unseal`, without a token. The last good share on a *joining* member answers
    /// `sealed` with no progress after 1 to 2 s, and the node is open about a second later: ask
    /// [`Client::health`]. Shares of another cluster make a joining member hang until its process is killed.
    pub async fn unseal(&self, share: &SecretString) -> Result<SealStatus> {
        let request = Request::put("sys/unseal", &json!({"key": share.expose_secret()}));
        self.without_token().body(request.root_namespace()).await
    }

    /// Gives a node in seal migration one key of the seal that it comes from: `PUT sys/unseal {migrate}`, without a token.
    /// With the last one it is open, and migrates the data when it becomes active.
    pub async fn unseal_migrating(&self, key: &SecretString) -> Result<SealStatus> {
        let body = json!({"key": key.expose_secret(), "migrate": true});
        let request = Request::put("sys/unseal", &body);
        self.without_token().body(request.root_namespace()).await
    }

    /// Throws away the shares given so far: `PUT sys/unseal {reset}`, without a token.
    pub async fn reset_unseal(&self) -> Result<SealStatus> {
        let request = Request::put("sys/unseal", &json!({"reset": true}));
        self.without_token().body(request.root_namespace()).await
    }

    /// Seals the addressed node: `PUT sys/seal`, needs sudo. A standby of Vault refuses with 500, one of OpenBao
    /// obeys.
    pub async fn seal(&self) -> Result<()> {
        self.done(Request::put_empty("sys/seal").root_namespace()).await
    }

    /// Who leads: `GET sys/leader`, without a token. A node that is not initialised answers [`crate::Error::Sealed`].
    pub async fn leader(&self) -> Result<Leader> {
        self.body(Request::get("sys/leader").root_namespace()).await
    }

    /// Makes the active node give up its role: `PUT sys/step-down`, needs sudo. **A standby forwards it**, so send it
    /// through [`Client::on_this_node`].
    pub async fn step_down(&self) -> Result<()> {
        self.done(Request::put_empty("sys/step-down").root_namespace())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_answer_without_is_self_is_a_standby() {
        let leader: Leader =
            serde_json::from_str(r#"{"ha_enabled":true,"leader_address":"https://a:8200"}"#).unwrap();
        assert!(!leader.is_self, "OpenBao leaves the field out");
    }

    #[test]
    fn a_seal_status_is_read_from_both_products() {
        let status: SealStatus = serde_json::from_str(
            r#"{"type":"shamir","initialized":false,"sealed":true,"t":0,"n":0,"progress":0,"nonce":"",
                "version":"1.21.1","build_date":"x","migration":false,"recovery_seal":false,
                "storage_type":"raft","removed_from_cluster":null}"#,
        )
        .unwrap();
        assert!(
            status.sealed && !status.initialized && !status.removed_from_cluster,
            "{status:?}"
        );
    }
}
