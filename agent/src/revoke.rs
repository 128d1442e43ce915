//! Gives the token back at the end. Talks to Vault.

use std::time::Duration;

use vaultkeeper_vault::Error;

use crate::connection::Connection;
use crate::logging::Chain;
use crate::session::Identity;

/// How long Vault may take: the pod's grace period goes on meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// Revokes the token, and with it every lease that it made. Where that fails it ends with its lease.
pub(crate) async fn revoke(connection: &Connection, identity: Option<&Identity>) {
    let Some(identity) = identity else { return };
    let client = match connection.client() {
        Ok(client) => client.with_timeout(LIMIT),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the token is not revoked: it ends with its lease");
            return;
        }
    };
    match client.with_token(&identity.token).revoke_self().await {
        Ok(()) => tracing::info!("revoked the token"),
        // The server's own word for a batch token is a refusal.
        Err(error @ Error::BadRequest { .. }) => {
            tracing::info!(error = %Chain(&error), "the token cannot be revoked: it ends with its lease");
        }
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the token is not revoked: it ends with its lease");
        }
    }
}
