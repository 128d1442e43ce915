//! A deletion that leaves everything where it is: what would go with the object is cut loose from it.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultRole, names};

use super::super::Identity;
use super::super::error::Error;
use super::super::secret::is_ours;
use super::secrets_of;
use crate::context::Context;
use crate::report::Reason;

/// Without the reference to this VaultRole the garbage collector leaves the object. With the version that was read: another's
/// reference is not lost.
fn cut_loose(meta: &ObjectMeta, identity: &Identity) -> Option<Value> {
    if !is_ours(meta, identity) {
        return None;
    }
    let owners = meta.owner_references.iter().flatten();
    let others: Vec<_> = owners.filter(|owner| owner.uid != identity.uid).collect();
    Some(json!({ "metadata": {
        "resourceVersion": meta.resource_version,
        "ownerReferences": if others.is_empty() { Value::Null } else { json!(others) },
    }}))
}

/// Cuts Secrets and ConfigMap loose, and tells what stays.
pub(super) async fn leave(role: &VaultRole, identity: &Identity, ctx: &Context) -> Result<(), Error> {
    let Identity {
        namespace, cluster, ..
    } = identity;
    let mut kept = Vec::new();
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    for name in secrets_of(role) {
        let secret = secrets.get_opt(&name).await;
        let secret = secret.map_err(|e| Error::kubernetes("read the Secret that is to stay", e))?;
        let Some(patch) = secret.and_then(|secret| cut_loose(&secret.metadata, identity)) else {
            continue;
        };
        let written = secrets
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        written.map_err(|e| Error::kubernetes("cut the Secret loose that is to stay", e))?;
        kept.push(format!("Secret {name}"));
    }
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let name = names::ca_config_map(&cluster.namespace, &cluster.name);
    let map = maps.get_opt(&name).await;
    let map = map.map_err(|e| Error::kubernetes("read the ConfigMap that is to stay", e))?;
    if let Some(patch) = map.and_then(|map| cut_loose(&map.metadata, identity)) {
        let written = maps
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        written.map_err(|e| Error::kubernetes("cut the ConfigMap loose that is to stay", e))?;
        kept.push(format!("ConfigMap {name}"));
    }
    if role
        .status
        .as_ref()
        .is_some_and(|status| status.vault_name.is_some())
    {
        kept.push(format!(
            "the policy and all roles `{}` in VaultCluster {cluster}",
            identity.vault_name()
        ));
    }
    if !kept.is_empty() {
        let note = format!(
            "spec.deletionPolicy is Retain. Left in place, and kept by nobody: {}",
            kept.join(", ")
        );
        ctx.reporter
            .publish(&role.object_ref(&()), Reason::Retained, "", &note)
            .await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::owner;
    use super::super::super::secret::tests::identity;
    use super::*;

    #[test]
    fn only_our_own_reference_goes() {
        let other = Identity {
            uid: "uid-2".to_owned(),
            ..identity()
        };
        let meta = |owners: Vec<&Identity>| ObjectMeta {
            resource_version: Some("7".to_owned()),
            owner_references: Some(owners.into_iter().map(owner).collect()),
            ..ObjectMeta::default()
        };
        let alone = cut_loose(&meta(vec![&identity()]), &identity()).unwrap();
        assert!(alone["metadata"]["ownerReferences"].is_null(), "{alone}");
        assert_eq!(
            alone["metadata"]["resourceVersion"], "7",
            "nobody else's change is lost"
        );
        let shared = cut_loose(&meta(vec![&identity(), &other]), &identity()).unwrap();
        let left = shared["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["uid"], "uid-2");
        assert_eq!(cut_loose(&meta(vec![&other]), &identity()), None, "not ours");
    }
}
