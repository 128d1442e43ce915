//! The members of a cluster with integrated storage (`sys/storage/raft/…`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::{go_duration, null_default};

/// The Raft configuration: who is a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RaftConfiguration {
    /// All members.
    #[serde(default, deserialize_with = "null_default")]
    pub servers: Vec<RaftServer>,
    /// The log index at which it was decided.
    #[serde(default)]
    pub index: u64,
}

impl RaftConfiguration {
    /// How many members count for a majority.
    pub fn voters(&self) -> usize {
        self.servers.iter().filter(|server| server.voter).count()
    }

    /// Whether the member of this node id counts for a majority.
    pub fn has_vote(&self, node_id: &str) -> bool {
        self.servers
            .iter()
            .any(|server| server.node_id == node_id && server.voter)
    }
}

/// One member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RaftServer {
    /// Its node id.
    pub node_id: String,
    /// Its cluster address, `host:port`.
    #[serde(default)]
    pub address: String,
    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,
    /// Whether it counts for a majority. A new member becomes a voter 10 to 17 s after it joined.
    #[serde(default)]
    pub voter: bool,
}

/// What autopilot thinks of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AutopilotState {
    /// Whether all members are well. Also true with one voter of three: see `failure_tolerance`.
    pub healthy: bool,
    /// How many voters may fail before the majority is lost.
    pub failure_tolerance: u32,
    /// The leader's node id.
    pub leader: String,
    /// The node ids of all voters.
    #[serde(deserialize_with = "null_default")]
    pub voters: Vec<String>,
    /// The node ids of all others.
    #[serde(deserialize_with = "null_default")]
    pub non_voters: Vec<String>,
    /// Each member by node id.
    #[serde(deserialize_with = "null_default")]
    pub servers: BTreeMap<String, AutopilotServer>,
}

/// One member as autopilot sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AutopilotServer {
    /// Its node id.
    pub id: String,
    /// Its cluster address.
    pub address: String,
    /// `alive`, `left`, …
    pub node_status: String,
    /// Since when the leader has not heard from it, as the server writes it (`1.5s`, `never`).
    pub last_contact: String,
    /// The last log index that it is known to hold.
    pub last_index: u64,
    /// Whether it is well.
    pub healthy: bool,
    /// `leader`, `voter` or `non-voter`.
    pub status: String,
    /// Its version.
    pub version: String,
}

/// Autopilot's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopilotConfiguration {
    /// Whether members that are gone for long are removed. Needs `min_quorum` of 3 or more.
    pub cleanup_dead_servers: bool,
    /// Without a word for this long, a member is unwell.
    #[serde(with = "go_duration")]
    pub last_contact_threshold: Duration,
    /// Without a word for this long, a member counts as gone. At least a minute.
    #[serde(with = "go_duration")]
    pub dead_server_last_contact_threshold: Duration,
    /// How far behind a member may be and still be well, in log entries.
    pub max_trailing_logs: u64,
    /// Never remove members below this number.
    pub min_quorum: u32,
    /// How long a new member must be well before it votes.
    #[serde(with = "go_duration")]
    pub server_stabilization_time: Duration,
}

impl Client {
    /// Who is a member: `GET sys/storage/raft/configuration`.
    pub async fn raft_configuration(&self) -> Result<RaftConfiguration> {
        #[derive(Deserialize)]
        struct Outer {
            config: RaftConfiguration,
        }
        let outer: Outer = self
            .data(Request::get("sys/storage/raft/configuration").root_namespace())
            .await?;
        Ok(outer.config)
    }

    /// How the members are: `GET sys/storage/raft/autopilot/state`.
    pub async fn autopilot_state(&self) -> Result<AutopilotState> {
        self.data(Request::get("sys/storage/raft/autopilot/state").root_namespace())
            .await
    }

    /// Autopilot's settings: `GET sys/storage/raft/autopilot/configuration`.
    pub async fn autopilot_configuration(&self) -> Result<AutopilotConfiguration> {
        self.data(Request::get("sys/storage/raft/autopilot/configuration").root_namespace())
            .await
    }

    /// Writes autopilot's settings: `PUT sys/storage/raft/autopilot/configuration`.
    pub async fn set_autopilot_configuration(&self, config: &AutopilotConfiguration) -> Result<()> {
        self.done(Request::put("sys/storage/raft/autopilot/configuration", config).root_namespace())
            .await
    }

    /// Takes a member out of the cluster: `PUT sys/storage/raft/remove-peer`. Succeeds for an unknown id. Vault refuses
    /// to let it come back with its old data; OpenBao lets it serve stale reads until it is stopped. Never the active node.
    pub async fn remove_peer(&self, node_id: &str) -> Result<()> {
        let request = Request::put("sys/storage/raft/remove-peer", &json!({"server_id": node_id}));
        self.done(request.root_namespace()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autopilot_settings_are_read_in_gos_words_and_written_in_ours() {
        let config: AutopilotConfiguration = serde_json::from_str(
            r#"{"cleanup_dead_servers":false,"dead_server_last_contact_threshold":"24h0m0s",
                "disable_upgrade_migration":false,"last_contact_threshold":"10s","max_trailing_logs":1000,
                "min_quorum":0,"server_stabilization_time":"10s"}"#,
        )
        .unwrap();
        assert_eq!(
            config.dead_server_last_contact_threshold,
            Duration::from_secs(86400),
            "a day"
        );
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["last_contact_threshold"], "10000ms", "with a unit");
        assert!(
            written.get("disable_upgrade_migration").is_none(),
            "what we do not manage stays"
        );
    }
}
