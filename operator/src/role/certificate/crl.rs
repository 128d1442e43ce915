//! Publishes the revocation list of a VaultCluster's CA for client certificates. I/O with Vault.
//!
//! Several roles may do so at the same time. Each writes what is stored, and looks again afterwards whether more was
//! stored meanwhile: so the last one to write has seen what all of them have stored.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use vaultkeeper_crds::names::CERT_AUTH_PATH;
use vaultkeeper_vault::Client;

use super::super::ClusterName;
use super::super::error::Error;
use super::super::sweep::RESYNC;
use super::ca::{Revoked, decimal};
use super::store::{self, Stored};
use crate::context::Context;

/// How often the list is written in one pass when others store more all the while.
const TRIES: u32 = 5;

/// Whether the list was looked at lately, which is enough at rest.
pub(super) fn is_fresh(ctx: &Context, cluster: &ClusterName) -> bool {
    ctx.recent.is_fresh(&key(cluster), 0, RESYNC, Instant::now())
}

fn key(cluster: &ClusterName) -> String {
    format!("client-crl/{cluster}")
}

/// Compares the list in Vault with what is stored, and writes it where it differs. Says whether it did.
pub(super) async fn publish(ctx: &Context, vault: &Client, cluster: &ClusterName) -> Result<bool, Error> {
    let method = vault.cert(CERT_AUTH_PATH);
    let mut written = false;
    for _ in 0..TRIES {
        let mut now = Timestamp::now();
        let Some(Stored { ca, revoked, .. }) = store::read(ctx, cluster).await? else {
            return Ok(written);
        };
        if revoked.iter().any(|one| one.until <= now) {
            // What is forgotten once logs in again: both clocks have to say that its certificate has ended.
            // A namespace of OpenBao does not say what time it is.
            let there = vault.health().await.map_or(0, |health| health.server_time_utc);
            now = earlier(now, there);
        }
        let (kept, ended): (Vec<Revoked>, Vec<Revoked>) =
            revoked.into_iter().partition(|one| one.until > now);
        store::drop_ended(ctx, cluster, &ended.iter().collect::<Vec<_>>()).await?;
        let wanted: BTreeSet<String> = kept.iter().filter_map(|one| decimal(&one.serial)).collect();
        let name = ca.crl_name();
        let found = method.read_crl(&name).await;
        let found = found.map_err(|e| Error::vault("read the revocation list", e))?;
        if found.unwrap_or_default() == wanted {
            ctx.recent.mark(key(cluster), 0, Instant::now());
            return Ok(written);
        }
        let list = ca.crl(&kept, now).map_err(Error::ClientCa)?;
        match method.write_crl(&name, &list).await {
            Ok(()) => written = true,
            // No such auth method: nobody logs in there.
            Err(error) if error.is_not_found() => return Ok(written),
            Err(error) => return Err(Error::vault("write the revocation list", error)),
        }
    }
    Ok(written)
}

/// The earlier of the operator's time and Vault's, in seconds; zero where it does not say.
fn earlier(now: Timestamp, there: i64) -> Timestamp {
    let there = Timestamp::from_second(there).ok().filter(|_| there > 0);
    there.map_or(now, |there| there.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_makes_nobody_forget_what_is_revoked() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        assert_eq!(
            earlier(at(9_000_000), 1_000_000),
            at(1_000_000),
            "the operator's is ahead"
        );
        assert_eq!(
            earlier(at(1_000_000), 9_000_000),
            at(1_000_000),
            "Vault's is ahead"
        );
        assert_eq!(earlier(at(1_000_000), 0), at(1_000_000), "Vault does not say");
    }
}
