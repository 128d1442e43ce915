//! From the first root token to a cluster that needs none: configure, log in, revoke, prove, remove.

use std::time::Duration;

use vaultkeeper_crds::names;
use vaultkeeper_vault::{Client, Error as VaultError, Token};

use super::configure;
use super::error::Error;
use super::execute::Scope;
use super::key_store;
use super::keys::KeyRecord;
use crate::members::{Member, Probe};
use crate::report::Reason;
use crate::sessions;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs as long as the root token is in the key Secret. Every part is repeatable, and the token leaves the
/// Secret only when it is dead, which it is made only when the operator's own login is proven.
pub(crate) async fn bootstrap(scope: &Scope<'_>, record: &KeyRecord) -> Result<(), Error> {
    let Some(root_token) = &record.root_token else {
        return Ok(());
    };
    let Some(active) = scope.members.iter().find(|m| m.probe == Probe::Active) else {
        return Ok(());
    };
    let Some(client) = scope.client(active, TIMEOUT)? else {
        return Ok(());
    };
    let token = Token::new(root_token.clone()).map_err(|_| lost(scope, sessions::SessionError::NotReady))?;
    let root = client.with_token(&token);
    if is_alive(&root, active).await? {
        configure::as_root(scope, &root, &active.name, &record.identity).await?;
        prove_own_login(scope, record, active).await?;
        root.revoke_self()
            .await
            .map_err(|e| Error::vault("revoke the root token", &active.name, e))?;
        if is_alive(&root, active).await? {
            return Err(Error::RootTokenAlive);
        }
    } else {
        // An earlier pass died between the revocation and the removal.
        prove_own_login(scope, record, active)
            .await
            .map_err(|error| match error {
                Error::Session(source) => lost(scope, *source),
                other => other,
            })?;
    }
    key_store::remove_root_token(scope.ctx, scope.cluster).await?;
    scope.event(Reason::RootTokenRevoked, "", "the operator logs in by itself; the first root token was revoked, is refused by Vault and was removed").await;
    Ok(())
}

fn lost(scope: &Scope<'_>, source: sessions::SessionError) -> Error {
    Error::BootstrapLost {
        secret: names::key_secret(&scope.cluster.namespace, &scope.cluster.name),
        source: Box::new(source),
    }
}

/// Whether Vault still takes a token. Any failure other than a refusal is an error, never a "no".
async fn is_alive(client: &Client, member: &Member) -> Result<bool, Error> {
    match client.lookup_self().await {
        Ok(_) => Ok(true),
        Err(VaultError::Denied { .. }) => Ok(false),
        Err(error) => Err(Error::vault("look up the root token", &member.name, error)),
    }
}

/// The login works, and may do what the operator will need without a root token.
async fn prove_own_login(scope: &Scope<'_>, record: &KeyRecord, active: &Member) -> Result<(), Error> {
    let Some(node) = &active.node else { return Ok(()) };
    let own = sessions::prove_login(scope.ctx, node, &record.identity)
        .await
        .map_err(Box::new)?;
    let paths = configure::needed_paths();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let held = own
        .capabilities_self(&paths)
        .await
        .map_err(|e| Error::vault("check the operator's own rights", &active.name, e))?;
    for path in paths {
        let allowed = held
            .get(path)
            .is_some_and(|c| c.iter().any(|c| c == "update" || c == "root"));
        if !allowed {
            return Err(Error::LoginTooWeak {
                path: path.to_owned(),
            });
        }
    }
    // The proof is not needed any longer; leaving it to expire would do no harm either.
    match own.revoke_self().await {
        // So are batch tokens refused, which a mount gives that is tuned to: the root token must not wait for that.
        Ok(()) | Err(VaultError::BadRequest { .. }) => Ok(()),
        Err(error) => Err(Error::vault("revoke the token of the proof", &active.name, error)),
    }
}
