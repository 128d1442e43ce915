//! Whose a name is in a Vault that others use too: what somebody else made there is neither changed nor removed.
//!
//! The policy says it, in a comment. It is written first and removed last, so that it is there while anything else is.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use vaultkeeper_crds::names::{APPROLE_AUTH_PATH, CERT_AUTH_PATH};
use vaultkeeper_vault::Client;

use super::error::Error;
use super::execute::found;
use super::further;
use crate::context::Context;

/// The namespace that every Kubernetes cluster has from its first to its last day.
const SYSTEM: &str = "kube-system";

/// What stands under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct There {
    policy: Option<String>,
    app_role: bool,
    kubernetes: bool,
    /// At a path of its own, or among the certificates.
    further: bool,
}

/// To whom a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Nobodys,
    Ours,
    Anothers,
}

/// The line of a policy that says which Kubernetes cluster keeps it.
pub(super) fn mark(owner: &str) -> String {
    format!("# Owner: the Kubernetes cluster {owner}.\n")
}

/// Judges what was found. `written_before`: this VaultRole was written to this very Vault.
pub(super) fn whose(there: &There, owner: &str, written_before: bool) -> Whose {
    let mark = mark(owner);
    let is_marked = |text: &str| text.lines().any(|line| line.trim() == mark.trim());
    let There {
        policy,
        app_role,
        kubernetes,
        further,
    } = there;
    match policy {
        Some(text) if is_marked(text) => Whose::Ours,
        None if !app_role && !kubernetes && !further => Whose::Nobodys,
        // Somebody took the policy away: it is put right.
        None if written_before => Whose::Ours,
        Some(_) | None => Whose::Anothers,
    }
}

/// Reads what stands under a name, and at further paths. `by_certificate`: whether certificates are of interest, for which
/// there may be no auth method.
pub(super) async fn look(
    vault: &Client,
    kubernetes_path: &str,
    name: &str,
    further: &BTreeSet<String>,
    by_certificate: bool,
) -> Result<There, Error> {
    let certificate = if by_certificate {
        let certificate = vault.cert(CERT_AUTH_PATH).read_role(name).await;
        found("read the certificate auth role", certificate)?.is_some()
    } else {
        false
    };
    let app_role = vault.approle(APPROLE_AUTH_PATH).read_role(name).await;
    let kubernetes = vault.kubernetes(kubernetes_path).read_role(name).await;
    Ok(There {
        policy: found("read the policy", vault.read_policy(name).await)?,
        app_role: found("read the AppRole role", app_role)?.is_some(),
        kubernetes: found("read the Kubernetes auth role", kubernetes)?.is_some(),
        further: certificate || further::any(vault, further).await?,
    })
}

/// What tells this Kubernetes cluster from every other one: the UID of its namespace kube-system.
pub async fn of_this_kubernetes(ctx: &Context) -> Result<String, Error> {
    const KEY: &str = "owner of names in Vaults elsewhere";
    if let Some(known) = ctx.recent.kept::<String>(KEY) {
        return Ok((*known).clone());
    }
    let api: Api<Namespace> = Api::all(ctx.client.clone());
    let namespace = api.get(SYSTEM).await;
    let namespace = namespace.map_err(|e| Error::kubernetes("read the namespace kube-system", e))?;
    let uid = namespace.uid().ok_or(Error::Incomplete("metadata.uid"))?;
    ctx.recent.keep(KEY.to_owned(), uid.clone());
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(policy: Option<&str>, app_role: bool, kubernetes: bool) -> There {
        There {
            policy: policy.map(str::to_owned),
            app_role,
            kubernetes,
            further: false,
        }
    }

    #[test]
    fn what_bears_no_mark_of_this_kubernetes_cluster_is_somebody_elses() {
        let ours = format!("{}path \"a\" {{}}\n", mark("k-1"));
        assert_eq!(whose(&there(Some(&ours), true, true), "k-1", false), Whose::Ours);
        assert_eq!(
            whose(&there(Some(&ours), true, true), "k-2", true),
            Whose::Anothers,
            "another Kubernetes cluster has a VaultRole of the same name"
        );
        assert_eq!(
            whose(&there(Some("path \"a\" {}"), false, false), "k-1", true),
            Whose::Anothers,
            "a person's policy"
        );
        assert_eq!(whose(&there(None, true, false), "k-1", false), Whose::Anothers);
        assert_eq!(whose(&there(None, false, true), "k-1", false), Whose::Anothers);
        let further = There {
            further: true,
            ..There::default()
        };
        assert_eq!(whose(&further, "k-1", false), Whose::Anothers);
    }

    #[test]
    fn a_free_name_may_be_taken_and_a_policy_that_was_taken_away_comes_back() {
        assert_eq!(whose(&there(None, false, false), "k-1", false), Whose::Nobodys);
        assert_eq!(whose(&there(None, true, true), "k-1", true), Whose::Ours);
    }
}
