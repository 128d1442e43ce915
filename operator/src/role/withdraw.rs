//! Takes away what a cluster's `spec.access` does not give any more.

use kube::Resource as _;
use vaultkeeper_crds::{VaultCluster, VaultRole};

use super::error::Error;
use super::status::Progress;
use super::{Identity, certificate, credentials, delete, finalizer};
use crate::context::Context;
use crate::report::Reason;

/// Takes away what a role had that its cluster does not allow any more.
pub(super) async fn withdraw(
    role: &VaultRole,
    identity: &Identity,
    ctx: &Context,
    cluster: &VaultCluster,
    progress: &mut Progress,
) -> Result<(), Error> {
    if let Err(error) = delete::remove_from_vault(role, identity, ctx, cluster).await
        && !delete::nothing_is_there(&error, role)
    {
        return Err(error);
    }
    for secret in delete::secrets_of(role) {
        credentials::remove(ctx, identity, &secret).await?;
    }
    (progress.secret, progress.app_role, progress.vault_name) = (None, None, None);
    progress.namespaces.clear();
    progress.further.clear();
    (progress.token, progress.password_version) = (None, None);
    finalizer::remove(ctx, role).await?;
    if certificate::is_mentioned(role) {
        certificate::forget(ctx, identity).await?;
    }
    let note = "the VaultCluster does not allow this any more: policy, roles and Secret are removed";
    ctx.reporter
        .publish(&role.object_ref(&()), Reason::AccessWithdrawn, "", note)
        .await;
    Ok(())
}
