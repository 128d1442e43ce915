//! Adds and removes the finalizer of a VaultRole. Writes with the resourceVersion that was read, so that the
//! finalizers of others are never lost.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_crds::annotations::FINALIZER;

use super::error::Error;
use crate::context::Context;

/// Whether something of the role may be in Vault.
pub fn is_set(role: &VaultRole) -> bool {
    role.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == FINALIZER)
}

/// Adds it. True when it was not there, in which case the write wakes the role again.
pub async fn add(ctx: &Context, role: &VaultRole) -> Result<bool, Error> {
    if is_set(role) {
        return Ok(false);
    }
    let mut finalizers = role.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(FINALIZER.to_owned());
    write(ctx, role, finalizers)
        .await
        .map_err(|e| Error::kubernetes("add the finalizer", e))?;
    Ok(true)
}

/// Removes it.
pub async fn remove(ctx: &Context, role: &VaultRole) -> Result<(), Error> {
    let mut finalizers = role.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    match write(ctx, role, finalizers).await {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes("remove the finalizer", error)),
    }
}

async fn write(ctx: &Context, role: &VaultRole, finalizers: Vec<String>) -> kube::Result<()> {
    let meta = &role.metadata;
    let api: Api<VaultRole> =
        Api::namespaced(ctx.client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let patch = json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
    }});
    let name = meta.name.as_deref().unwrap_or_default();
    api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map(|_| ())
}
