//! What happens when a VaultCluster is deleted. Keys are never deleted.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, Patch};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::cluster::DeletionPolicy;
use vaultkeeper_crds::{VaultCluster, annotations, names};

use super::build::reviewer_binding_name;
use super::error::{Error, unless_gone};
use super::keys::KeyRecord;
use super::last_check::{self, Verdict};
use super::{apply, key_store, patch_params};
use crate::context::Context;
use crate::report::Reason;

/// Adds the finalizer, before anything is made that the garbage collector would not remove.
pub(crate) async fn ensure_finalizer(ctx: &Context, cluster: &VaultCluster) -> Result<(), Error> {
    if cluster.finalizers().iter().any(|f| f == annotations::FINALIZER) {
        return Ok(());
    }
    let finalizers: Vec<String> = cluster
        .finalizers()
        .iter()
        .cloned()
        .chain([annotations::FINALIZER.to_owned()])
        .collect();
    set_finalizers(ctx, cluster, &finalizers).await
}

async fn set_finalizers(ctx: &Context, cluster: &VaultCluster, finalizers: &[String]) -> Result<(), Error> {
    let api: Api<VaultCluster> =
        Api::namespaced(ctx.client.clone(), &cluster.namespace().unwrap_or_default());
    let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": cluster.resource_version()}});
    match api
        .patch(&cluster.name_any(), &patch_params(), &Patch::Merge(&body))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes("set the finalizer", error)),
    }
}

/// Removes what the garbage collector does not, then lets the object go.
pub(crate) async fn finalize(ctx: &Context, cluster: &VaultCluster) -> Result<(), Error> {
    if !cluster.finalizers().iter().any(|f| f == annotations::FINALIZER) {
        return Ok(());
    }
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let uid = cluster.uid().unwrap_or_default();
    let bindings: Api<ClusterRoleBinding> = Api::all(ctx.client.clone());
    let binding = reviewer_binding_name(&namespace, &name);
    apply::delete_if(
        "delete the ClusterRoleBinding",
        &bindings,
        &binding,
        DeleteParams::default(),
        apply::is_managed,
    )
    .await?;
    let note = match (&cluster.spec.storage.consul, cluster.spec.deletion_policy) {
        // Nothing of it is ours to keep or to delete.
        _ if cluster.spec.external.is_some() => {
            "the Vault elsewhere is left as it is, with what was configured in it".to_owned()
        }
        // The operator has no business in Consul, and keys stay where their data is.
        (Some(consul), _) => format!(
            "the data stays below {} in Consul, the keys in Secret {}: a VaultCluster of the same name picks both up again",
            consul.path,
            names::key_secret(&namespace, &name),
        ),
        // What was in memory is gone, and its keys open nothing: they must not stand in the way of a new cluster.
        (None, _) if cluster.spec.storage.ephemeral.is_some() => {
            let record = readable_keys(ctx, &namespace, &name).await?;
            let kept = match record {
                Some(record) if record.identity == uid => key_store::retire(ctx, &namespace, &name).await?,
                // Those of an earlier cluster, whose data may have been kept.
                Some(_) | None => None,
            };
            kept.map_or(
                "what was in memory is gone; there were no keys".to_owned(),
                |secret| format!("what was in memory is gone; its keys are kept in Secret {secret}"),
            )
        }
        (None, DeletionPolicy::Retain) => format!(
            "the volumes stay in namespace {namespace}, the keys in Secret {}: a VaultCluster of the same name picks both up again",
            names::key_secret(&namespace, &name),
        ),
        (None, DeletionPolicy::Delete) => delete_data(ctx, &namespace, &name, &uid).await?,
    };
    // With Raft they are among "the volumes".
    let note = if cluster.spec.audit_volume.is_some() && cluster.spec.storage.raft.is_none() {
        format!("{note}; the volumes with audit logs stay in namespace {namespace}")
    } else {
        note
    };
    ctx.reporter
        .publish(&cluster.object_ref(&()), Reason::Retained, "", &note)
        .await;
    ctx.sessions.forget(&uid).await;
    ctx.recent.forget(&format!("{uid}/"));
    ctx.readiness.forget(&uid);
    ctx.metrics.forget_cluster(&namespace, &name);
    let finalizers: Vec<String> = cluster
        .finalizers()
        .iter()
        .filter(|f| *f != annotations::FINALIZER)
        .cloned()
        .collect();
    set_finalizers(ctx, cluster, &finalizers).await
}

/// Members first, or the StatefulSet would make new claims; then the volumes; the keys are kept aside. In between one
/// more check, by the object as it is now. Returns what was done, for a person.
async fn delete_data(ctx: &Context, namespace: &str, name: &str, uid: &str) -> Result<String, Error> {
    let clusters: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), namespace);
    let now = clusters.get_opt(name).await;
    let now =
        now.map_err(|e| Error::kubernetes("read the VaultCluster once more before its data goes", e))?;
    let verdict = last_check::judge(now.as_ref(), uid);
    if let Verdict::Keep(why) = verdict {
        return Ok(format!(
            "the volumes stay in namespace {namespace}, the keys in Secret {}: {why}",
            names::key_secret(namespace, name),
        ));
    }
    let sets: Api<StatefulSet> = Api::namespaced(ctx.client.clone(), namespace);
    apply::delete_if(
        "delete the StatefulSet",
        &sets,
        name,
        DeleteParams::foreground(),
        |set| apply::is_owned_by(set, uid),
    )
    .await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("{}={name}", annotations::CLUSTER));
    let found = claims
        .list(&selector)
        .await
        .map_err(|e| Error::kubernetes("list the volume claims", e))?;
    let mut spared = Vec::new();
    for claim in found {
        if !verdict.takes_claim(claim.creation_timestamp().map(|made| made.0)) {
            spared.push(claim.name_any());
            continue;
        }
        unless_gone(
            "delete a volume claim",
            claims.delete(&claim.name_any(), &DeleteParams::default()).await,
        )?;
    }
    let record = match &verdict {
        Verdict::Since(_) => readable_keys(ctx, namespace, name).await?,
        // It need not be readable to be put aside.
        Verdict::All | Verdict::Keep(_) => None,
    };
    let keys = if verdict.retires_keys(record.as_ref(), uid) {
        key_store::retire(ctx, namespace, name)
            .await?
            .map_or("there were no keys".to_owned(), |secret| {
                format!("the keys are kept in Secret {secret}, since snapshots may need them")
            })
    } else {
        format!(
            "no key was touched: {} is not this cluster's",
            names::key_secret(namespace, name)
        )
    };
    if spared.is_empty() {
        return Ok(format!("the volumes are deleted; {keys}"));
    }
    Ok(format!(
        "volumes of an earlier cluster, which this one never opened, stay: {}; {keys}",
        spared.join(", ")
    ))
}

/// A damaged key Secret must not hold a deletion up: nobody can say whose it is, so it stays where it is.
async fn readable_keys(ctx: &Context, namespace: &str, name: &str) -> Result<Option<KeyRecord>, Error> {
    match key_store::get(ctx, namespace, name).await {
        Err(Error::Keys(_)) => Ok(None),
        read => read,
    }
}
