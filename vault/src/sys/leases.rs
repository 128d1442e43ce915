//! Leases (`sys/leases/…`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::Secret;
use crate::wire::seconds;

/// A lease as the server has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeaseInfo {
    /// Its id.
    pub id: String,
    /// How long it still lives.
    #[serde(with = "seconds")]
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl Client {
    /// Looks a lease up: `PUT sys/leases/lookup`. [`crate::Error::BadRequest`] (`invalid lease`) for one that has ended or
    /// was revoked. The policy `default` allows it.
    pub async fn lookup_lease(&self, lease_id: &str) -> Result<LeaseInfo> {
        self.data(Request::put("sys/leases/lookup", &json!({"lease_id": lease_id})))
            .await
    }

    /// Renews a lease: `PUT sys/leases/renew`. The increment is a wish.
    pub async fn renew_lease(&self, lease_id: &str, increment: Option<Duration>) -> Result<Secret> {
        let body = match increment {
            Some(increment) => json!({"lease_id": lease_id, "increment": increment.as_secs()}),
            None => json!({"lease_id": lease_id}),
        };
        self.secret(Request::put("sys/leases/renew", &body)).await
    }

    /// Revokes a lease and waits for it: `PUT sys/leases/revoke`.
    pub async fn revoke_lease(&self, lease_id: &str) -> Result<()> {
        self.done(Request::put(
            "sys/leases/revoke",
            &json!({"lease_id": lease_id, "sync": true}),
        ))
        .await
    }

    /// Revokes all leases under a prefix, tokens of logins included: `PUT sys/leases/revoke-prefix/<prefix>`, needs sudo.
    pub async fn revoke_lease_prefix(&self, prefix: &str) -> Result<()> {
        self.done(Request::put(
            format!("sys/leases/revoke-prefix/{prefix}"),
            &json!({"sync": true}),
        ))
        .await
    }
}
