//! Writes `status.backup`, which no other controller writes.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::BackupStatus;

use super::error::Error;
use crate::context::Context;

/// Owns the field.
const FIELD_MANAGER: &str = "vaultkeeper-backup";

/// Puts the status in place of the one before. None takes it away.
pub(super) async fn write(
    ctx: &Context,
    namespace: &str,
    name: &str,
    status: Option<&BackupStatus>,
) -> Result<(), Error> {
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), namespace);
    let mut body = json!({
        "apiVersion": format!("{}/{}", vaultkeeper_crds::GROUP, vaultkeeper_crds::VERSION),
        "kind": "VaultCluster",
        "metadata": {"name": name},
        "status": {},
    });
    if let Some(status) = status {
        body["status"]["backup"] = json!(status);
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &params, &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes("write the status of the backups", error)),
    }
}
