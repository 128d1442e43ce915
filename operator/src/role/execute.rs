//! Brings policy and roles in Vault to the desired state, and removes them. I/O with Vault only.

use vaultkeeper_crds::names::APPROLE_AUTH_PATH;
use vaultkeeper_vault::{Client, Error as VaultError};

use super::desired::{Desired, same_app_role, same_kubernetes};
use super::error::Error;

/// None where there is nothing.
pub(super) fn found<T>(step: &'static str, result: Result<T, VaultError>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Error::vault(step, error)),
    }
}

/// Reads what is there and writes what differs. ServiceAccounts log in at `auth/<kubernetes_path>`. Returns the parts
/// that were written or removed.
pub async fn apply(
    vault: &Client,
    kubernetes_path: &str,
    desired: &Desired,
) -> Result<Vec<&'static str>, Error> {
    let Desired {
        name,
        policy,
        app_role,
        kubernetes,
    } = desired;
    let mut changed = Vec::new();

    // The policy first: a login before it was there would get a token that may do nothing.
    let there = found("read the policy", vault.read_policy(name).await)?;
    if let Some(wanted) = policy
        && there.as_deref().map(str::trim) != Some(wanted.trim())
    {
        vault
            .write_policy(name, wanted)
            .await
            .map_err(|e| Error::vault("write the policy", e))?;
        changed.push("policy");
    }

    let method = vault.approle(APPROLE_AUTH_PATH);
    let role = found("read the AppRole role", method.read_role(name).await)?;
    match (app_role, role) {
        (Some(wanted), role) if !role.as_ref().is_some_and(|role| same_app_role(role, wanted)) => {
            method
                .write_role(name, wanted)
                .await
                .map_err(|e| Error::vault("write the AppRole role", e))?;
            changed.push("AppRole role");
        }
        (None, Some(_)) => {
            gone("delete the AppRole role", method.delete_role(name).await)?;
            changed.push("AppRole role");
        }
        (Some(_), _) | (None, None) => {}
    }

    let method = vault.kubernetes(kubernetes_path);
    let role = found("read the Kubernetes auth role", method.read_role(name).await)?;
    match (kubernetes, role) {
        (Some(wanted), role) if !role.as_ref().is_some_and(|role| same_kubernetes(role, wanted)) => {
            method
                .write_role(name, wanted)
                .await
                .map_err(|e| Error::vault("write the Kubernetes auth role", e))?;
            changed.push("Kubernetes auth role");
        }
        (None, Some(_)) => {
            gone("delete the Kubernetes auth role", method.delete_role(name).await)?;
            changed.push("Kubernetes auth role");
        }
        (Some(_), _) | (None, None) => {}
    }

    // The policy last where it goes: no role names it any more.
    if policy.is_none() && there.is_some() {
        gone("delete the policy", vault.delete_policy(name).await)?;
        changed.push("policy");
    }
    Ok(changed)
}

/// Removes everything under `name`: first the ways in, then the rights. What is not there counts as removed.
pub async fn remove(vault: &Client, kubernetes_path: &str, name: &str) -> Result<(), Error> {
    gone(
        "delete the Kubernetes auth role",
        vault.kubernetes(kubernetes_path).delete_role(name).await,
    )?;
    gone(
        "delete the AppRole role",
        vault.approle(APPROLE_AUTH_PATH).delete_role(name).await,
    )?;
    gone("delete the policy", vault.delete_policy(name).await)
}

fn gone(step: &'static str, result: Result<(), VaultError>) -> Result<(), Error> {
    found(step, result).map(|_| ())
}
