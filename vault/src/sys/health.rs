//! A node's health, read from the body whatever the status (`sys/health`).

use serde::Deserialize;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::null_default;

/// What `sys/health` says of one node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "as the server sends it")]
pub struct Health {
    /// The HTTP status: 200 active, 429 standby, 472 and 473 replicas, 474 a standby cut off from the active node,
    /// 501 not initialised, 503 sealed, 530 removed from its cluster (Vault only, as is 474).
    #[serde(skip)]
    pub status: u16,
    /// Whether it holds keys.
    pub initialized: bool,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Whether it is a standby; also true while sealed.
    pub standby: bool,
    /// A standby that serves reads (Vault Enterprise).
    #[serde(default)]
    pub performance_standby: bool,
    /// The server's clock, seconds since 1970.
    #[serde(default)]
    pub server_time_utc: i64,
    /// The server's version.
    #[serde(default)]
    pub version: String,
    /// Whether this is Vault Enterprise.
    #[serde(default)]
    pub enterprise: bool,
    /// Empty while sealed.
    #[serde(default)]
    pub cluster_name: String,
    /// Empty while sealed.
    #[serde(default)]
    pub cluster_id: String,
    /// Whether the member was taken out of its cluster.
    #[serde(default, deserialize_with = "null_default")]
    pub removed_from_cluster: bool,
    /// Whether a standby still hears from the active node; absent where it is not known.
    #[serde(default)]
    pub ha_connection_healthy: Option<bool>,
}

impl Health {
    /// Whether the node serves as the active one.
    pub fn is_active(&self) -> bool {
        let Self {
            status: _,
            initialized,
            sealed,
            standby,
            performance_standby,
            removed_from_cluster,
            ..
        } = self;
        *initialized && !sealed && !standby && !performance_standby && !removed_from_cluster
    }

    /// Whether the node is open, active or standby.
    pub fn is_unsealed(&self) -> bool {
        self.initialized && !self.sealed && !self.removed_from_cluster
    }
}

impl Client {
    /// The node's health: `GET sys/health`, without a token. An answer of any status that holds a health body is a
    /// success here. It blocks while the node initialises or restores.
    pub async fn health(&self) -> Result<Health> {
        let request = Request::get("sys/health").root_namespace();
        let answer = self.without_token().send_any(&request).await?;
        match serde_json::from_slice::<Health>(&answer.body) {
            Ok(health) => Ok(Health {
                status: answer.status,
                ..health
            }),
            Err(_) if !(200..300).contains(&answer.status) => Err(self.failure(&request, &answer)),
            Err(error) => Err(self.not_understood(&request, crate::response::describe(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(json: &str) -> Health {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn active_standby_sealed_and_removed_are_told_apart() {
        let active = health(r#"{"initialized":true,"sealed":false,"standby":false}"#);
        assert!(
            active.is_active() && active.is_unsealed(),
            "an active node: {active:?}"
        );
        let standby = health(r#"{"initialized":true,"sealed":false,"standby":true}"#);
        assert!(
            !standby.is_active() && standby.is_unsealed(),
            "a standby: {standby:?}"
        );
        let sealed = health(r#"{"initialized":true,"sealed":true,"standby":true}"#);
        assert!(
            !sealed.is_active() && !sealed.is_unsealed(),
            "a sealed node: {sealed:?}"
        );
        let removed =
            health(r#"{"initialized":true,"sealed":false,"standby":true,"removed_from_cluster":true}"#);
        assert!(
            !removed.is_unsealed(),
            "a removed member serves nobody: {removed:?}"
        );
    }
}
