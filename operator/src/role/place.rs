//! Which Vault a role is written to, and what stays behind where it was written before.

use kube::{Api, Resource as _};
use vaultkeeper_crds::role::ExternalLoginStatus;
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_vault::Client;

use super::Identity;
use super::error::Error;
use super::identity::ClusterName;
use super::status::Progress;
use crate::context::Context;
use crate::report::Reason;
use crate::sessions::Target;

/// The VaultCluster that a role names. As the watch has it: a change of it wakes the role.
pub(super) async fn cluster_of(ctx: &Context, identity: &Identity) -> Result<Option<VaultCluster>, Error> {
    if let Some(cluster) = ctx.sweep.cluster(&identity.cluster) {
        return Ok(Some(cluster));
    }
    let ClusterName { namespace, name } = &identity.cluster;
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), namespace);
    api.get_opt(name)
        .await
        .map_err(|e| Error::kubernetes("read the VaultCluster", e))
}

/// How injected pods log in, where the Vault runs elsewhere.
pub(super) fn external_login(cluster: &VaultCluster, address: &str) -> Option<ExternalLoginStatus> {
    let vault = cluster.spec.external.as_ref()?;
    Some(ExternalLoginStatus {
        address: address.to_owned(),
        auth_path: vault.kubernetes_auth.path.clone(),
        audience: names::client_audience(cluster.metadata.uid.as_deref().unwrap_or_default(), address),
        namespace: vault.namespace.clone(),
    })
}

/// Address and namespace of a Vault that runs elsewhere.
fn place_of(login: &ExternalLoginStatus) -> (&str, Option<&str>) {
    (&login.address, login.namespace.as_deref())
}

/// Whether this role was written to this very Vault before.
pub(super) fn was_written_to(role: &VaultRole, login: Option<&ExternalLoginStatus>) -> bool {
    let Some(status) = &role.status else { return false };
    status.vault_name.is_some() && status.external.as_ref().map(place_of) == login.map(place_of)
}

/// What a VaultCluster that names another Vault, or another auth method in it, leaves where nobody looks any more.
fn left_behind(
    before: &ExternalLoginStatus,
    now: Option<&ExternalLoginStatus>,
    name: &str,
) -> Option<String> {
    let ExternalLoginStatus {
        address,
        auth_path,
        audience: _,
        namespace,
    } = before;
    if now.map(place_of) == Some(place_of(before)) {
        let same_path = now.is_some_and(|now| now.auth_path == *auth_path);
        return (!same_path).then(|| {
            format!(
                "the VaultCluster names another auth method now. Left behind in {address}: auth/{auth_path}/role/{name}; \
                 remove it by hand"
            )
        });
    }
    let inside = namespace.as_ref().map(|inside| format!(", namespace {inside}"));
    Some(format!(
        "the VaultCluster names another Vault now. Left behind in {address}{}: policy, AppRole role and Kubernetes auth \
         role `{name}`; remove them by hand",
        inside.unwrap_or_default()
    ))
}

pub(super) async fn tell_if_it_moved(
    role: &VaultRole,
    ctx: &Context,
    progress: &Progress,
    now: Option<&ExternalLoginStatus>,
) {
    let (Some(before), Some(name)) = (&progress.external, &progress.vault_name) else {
        return;
    };
    let Some(note) = left_behind(before, now, name) else {
        return;
    };
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::LeftBehind, "", &note)
        .await;
}

pub(super) async fn session(ctx: &Context, cluster: &VaultCluster) -> Result<Client, Error> {
    ctx.sessions
        .active(ctx, &Target::from(cluster))
        .await
        .map_err(|e| Error::Session(Box::new(e)))
}

pub(super) async fn forget_a_spoilt_session<T>(
    ctx: &Context,
    cluster: &VaultCluster,
    result: &Result<T, Error>,
) {
    if let Err(error) = result
        && error.spoils_the_session()
    {
        ctx.sessions
            .forget(cluster.metadata.uid.as_deref().unwrap_or_default())
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str, auth_path: &str) -> ExternalLoginStatus {
        ExternalLoginStatus {
            address: address.to_owned(),
            auth_path: auth_path.to_owned(),
            ..ExternalLoginStatus::default()
        }
    }

    #[test]
    fn what_stays_where_nobody_looks_any_more_is_told() {
        let before = login("https://a.example.com:8200", "kubernetes");
        assert_eq!(
            left_behind(&before, Some(&before), "shop.app"),
            None,
            "the same place"
        );
        let told = left_behind(
            &before,
            Some(&login("https://b.example.com:8200", "kubernetes")),
            "shop.app",
        );
        let told = told.expect("another Vault");
        assert!(
            told.contains("https://a.example.com:8200") && told.contains("`shop.app`"),
            "{told}"
        );
        let told = left_behind(
            &before,
            Some(&login("https://a.example.com:8200", "other")),
            "shop.app",
        );
        let told = told.expect("another auth method");
        assert!(
            told.contains("auth/kubernetes/role/shop.app") && !told.contains("policy"),
            "{told}"
        );
    }
}
