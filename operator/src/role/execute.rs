//! Brings policy and roles in Vault to the desired state, and removes them. I/O with Vault only.

use vaultkeeper_crds::names::APPROLE_AUTH_PATH;
use vaultkeeper_vault::auth::{approle, kubernetes};
use vaultkeeper_vault::{Client, Error as VaultError};

use super::desired::{Desired, same_app_role, same_kubernetes};
use super::error::Error;
use super::failures::Failures;

/// None where there is nothing.
pub(super) fn found<T>(step: &'static str, result: Result<T, VaultError>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Error::vault(step, error)),
    }
}

/// What is to be done about one part.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a, T> {
    Leave,
    Write(&'a T),
    Delete,
}

fn step<'a, T>(wanted: Option<&'a T>, there: Option<&T>, same: impl Fn(&T, &T) -> bool) -> Step<'a, T> {
    match (wanted, there) {
        (Some(wanted), Some(there)) if same(there, wanted) => Step::Leave,
        (Some(wanted), _) => Step::Write(wanted),
        (None, Some(_)) => Step::Delete,
        (None, None) => Step::Leave,
    }
}

/// Reads what is there and writes what differs. ServiceAccounts log in at `auth/<kubernetes_path>`. Returns the parts
/// that were written or removed. The AppRole role is in place then; what is among the failures holds nothing else up.
pub(super) async fn apply(
    vault: &Client,
    kubernetes_path: &str,
    desired: &Desired,
    failures: &mut Failures,
) -> Result<Vec<&'static str>, Error> {
    let Desired {
        name,
        policy,
        app_role,
        kubernetes,
        further: _,
        token: _,
    } = desired;
    let mut changed = Vec::new();

    // The policy first: a login before it was there would get a token that may do nothing.
    let there = found("read the policy", vault.read_policy(name).await)?;
    let same_text = |a: &String, b: &String| a.trim() == b.trim();
    let of_policy = step(policy.as_ref(), there.as_ref(), same_text);
    if let Step::Write(wanted) = of_policy {
        let written = vault.write_policy(name, wanted).await;
        written.map_err(|e| Error::vault("write the policy", e))?;
        changed.push("policy");
    }
    let method = vault.approle(APPROLE_AUTH_PATH);
    changed.extend(apply_app_role(&method, name, app_role.as_ref()).await?);
    let method = vault.kubernetes(kubernetes_path);
    let of_kubernetes = failures.keep(apply_kubernetes(&method, name, kubernetes.as_ref()).await)?;
    changed.extend(of_kubernetes.flatten());
    // The policy last where it goes: no role names it any more.
    if of_policy == Step::Delete && of_kubernetes.is_some() {
        gone("delete the policy", vault.delete_policy(name).await)?;
        changed.push("policy");
    }
    Ok(changed)
}

async fn apply_app_role(
    method: &approle::AppRole,
    name: &str,
    wanted: Option<&approle::Role>,
) -> Result<Option<&'static str>, Error> {
    let mut there = found("read the AppRole role", method.read_role(name).await)?;
    if let (Some(wanted), Some(found)) = (wanted, &there)
        && wanted.local_secret_ids != found.local_secret_ids
    {
        // Decided at creation: a role that somebody made otherwise is of no use.
        gone("delete the AppRole role", method.delete_role(name).await)?;
        there = None;
    }
    match step(wanted, there.as_ref(), same_app_role) {
        Step::Leave => match wanted {
            Some(wanted) if !has_its_role_id(method, name, wanted).await? => {
                written(method.write_role(name, wanted).await, wanted)?;
            }
            _ => return Ok(None),
        },
        Step::Write(wanted) if there.is_none() => written(method.create_role(name, wanted).await, wanted)?,
        Step::Write(wanted) => written(method.write_role(name, wanted).await, wanted)?,
        Step::Delete => gone("delete the AppRole role", method.delete_role(name).await)?,
    }
    Ok(Some("AppRole role"))
}

/// Whether a role has the role-id that it is to have. Nothing is read where any will do.
async fn has_its_role_id(
    method: &approle::AppRole,
    name: &str,
    wanted: &approle::Role,
) -> Result<bool, Error> {
    let Some(wanted) = &wanted.role_id else {
        return Ok(true);
    };
    let there = method.role_id(name).await;
    let there = there.map_err(|e| Error::vault("read the role-id", e))?;
    Ok(there == *wanted)
}

/// The answer to a write of an AppRole role.
fn written(answer: Result<(), VaultError>, wanted: &approle::Role) -> Result<(), Error> {
    match (answer, &wanted.role_id) {
        (Err(VaultError::Server { errors, .. } | VaultError::BadRequest { errors, .. }), Some(role_id))
            if errors.mention("already in use") =>
        {
            Err(Error::NameTaken {
                kind: "AppRole role-id",
                name: role_id.clone(),
                remedy: "another role in that Vault has it: choose another spec.appRole.roleId, or leave it out",
            })
        }
        (answer, _) => answer.map_err(|e| Error::vault("write the AppRole role", e)),
    }
}

async fn apply_kubernetes(
    method: &kubernetes::Kubernetes,
    name: &str,
    wanted: Option<&kubernetes::Role>,
) -> Result<Option<&'static str>, Error> {
    let there = found("read the Kubernetes auth role", method.read_role(name).await)?;
    match step(wanted, there.as_ref(), same_kubernetes) {
        Step::Leave => return Ok(None),
        Step::Write(wanted) => method
            .write_role(name, wanted)
            .await
            .map_err(|e| Error::vault("write the Kubernetes auth role", e))?,
        Step::Delete => gone("delete the Kubernetes auth role", method.delete_role(name).await)?,
    }
    Ok(Some("Kubernetes auth role"))
}

/// Removes everything under `name`: first the ways in, then the rights. What is not there counts as removed, and what cannot
/// be removed holds nothing else up.
pub async fn remove(vault: &Client, kubernetes_path: &str, name: &str) -> Result<(), Error> {
    let mut failures = Failures::default();
    failures.keep(gone(
        "delete the Kubernetes auth role",
        vault.kubernetes(kubernetes_path).delete_role(name).await,
    ))?;
    failures.keep(gone(
        "delete the AppRole role",
        vault.approle(APPROLE_AUTH_PATH).delete_role(name).await,
    ))?;
    failures.keep(gone("delete the policy", vault.delete_policy(name).await))?;
    failures.end()
}

fn gone(step: &'static str, result: Result<(), VaultError>) -> Result<(), Error> {
    found(step, result).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_only_what_is_there_is_deleted() {
        let of = |wanted: Option<&'static u8>, there: Option<u8>| step(wanted, there.as_ref(), |a, b| a == b);
        assert_eq!(of(Some(&1), Some(1)), Step::Leave, "a role at rest");
        assert_eq!(
            of(None, None),
            Step::Leave,
            "nothing is wanted and nothing is there"
        );
        assert_eq!(of(Some(&1), Some(2)), Step::Write(&1), "somebody changed it");
        assert_eq!(of(Some(&1), None), Step::Write(&1), "somebody took it away");
        assert_eq!(of(None, Some(1)), Step::Delete, "it is not wanted any more");
    }
}
