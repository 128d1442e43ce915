//! Applies the objects of a cluster, dependencies first. Objects of somebody else are never taken over.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, Patch, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use vaultkeeper_crds::annotations;

use super::build::{self, Objects};
use super::error::{Error, unless_gone};
use super::patch_params;
use super::validate::Validated;
use crate::context::Context;
use crate::controllers::hash;

/// How often unchanged objects are applied again, which repairs edits by hand.
pub(super) const REPEAT: Duration = Duration::from_secs(60);

/// What is done with each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An object of that name that is not ours ends the whole.
    Look,
    /// It is written.
    Write,
}

/// Applies what is not known to be in place. All names are looked at before anything is made: a cluster whose name is
/// taken leaves nothing half made.
pub(crate) async fn apply(ctx: &Context, cluster: &Validated, objects: &Objects) -> Result<(), Error> {
    for phase in [Phase::Look, Phase::Write] {
        all(ctx, cluster, objects, phase).await?;
    }
    Ok(())
}

async fn all(ctx: &Context, cluster: &Validated, objects: &Objects, phase: Phase) -> Result<(), Error> {
    let Objects {
        service_account,
        reviewer,
        tls,
        config,
        headless,
        client,
        active,
        standby,
        disruption_budget,
        network_policy,
        stateful_set,
    } = objects;
    namespaced(ctx, cluster, phase, "ServiceAccount", service_account).await?;
    reviewer_binding(ctx, cluster, phase, reviewer).await?;
    if let Some(tls) = tls {
        namespaced(ctx, cluster, phase, "Secret", tls).await?;
    }
    namespaced(ctx, cluster, phase, "ConfigMap", config).await?;
    for service in [headless, client, active, standby] {
        namespaced(ctx, cluster, phase, "Service", service).await?;
    }
    namespaced(ctx, cluster, phase, "PodDisruptionBudget", disruption_budget).await?;
    match (network_policy, phase) {
        (Some(policy), _) => {
            ctx.recent.forget(&absence(cluster));
            namespaced(ctx, cluster, phase, "NetworkPolicy", policy).await?;
        }
        (None, Phase::Look) => {}
        (None, Phase::Write) => no_network_policy(ctx, cluster).await?,
    }
    // Last: its pods need all the others.
    members(ctx, cluster, phase, stateful_set).await
}

/// With the claim templates of the StatefulSet that is there. What was applied is remembered as it was wanted.
async fn members(
    ctx: &Context,
    cluster: &Validated,
    phase: Phase,
    wanted: &StatefulSet,
) -> Result<(), Error> {
    let kind = "StatefulSet";
    if phase == Phase::Look {
        return namespaced(ctx, cluster, phase, kind, wanted).await;
    }
    let (key, fingerprint) = (key(cluster, kind, &cluster.name), fingerprint(wanted)?);
    if ctx.recent.is_fresh(&key, fingerprint, REPEAT, Instant::now()) {
        return Ok(());
    }
    let sets: Api<StatefulSet> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let found = sets.get_opt(&cluster.name).await;
    let found = found.map_err(|e| Error::kubernetes("read the claim templates of the StatefulSet", e))?;
    let set = found.map_or_else(|| wanted.clone(), |found| build::over(wanted, &found));
    write(&sets, kind, &set).await?;
    ctx.recent.mark(key, fingerprint, Instant::now());
    Ok(())
}

/// Applies one Secret by itself.
pub(crate) async fn secret(ctx: &Context, cluster: &Validated, secret: &Secret) -> Result<(), Error> {
    for phase in [Phase::Look, Phase::Write] {
        namespaced(ctx, cluster, phase, "Secret", secret).await?;
    }
    Ok(())
}

/// Whether an object belongs to the VaultCluster with this UID.
pub(crate) fn is_owned_by(object: &impl ResourceExt, uid: &str) -> bool {
    object.owner_references().iter().any(|o| o.uid == uid)
}

/// Whether an object without an owner was made by the operator.
pub(crate) fn is_managed(object: &impl ResourceExt) -> bool {
    let manager = object.labels().get("app.kubernetes.io/managed-by");
    manager.map(String::as_str) == Some(annotations::FIELD_MANAGER)
}

/// Deletes this very object if it is ours. One of the same name may be somebody else's: it was refused when it was
/// to be applied, and is not touched now either.
pub(crate) async fn delete_if<K>(
    step: &'static str,
    api: &Api<K>,
    name: &str,
    params: DeleteParams,
    ours: impl Fn(&K) -> bool,
) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let found = api.get_opt(name).await.map_err(|e| Error::kubernetes(step, e))?;
    let Some(found) = found.filter(ours) else {
        return Ok(());
    };
    let this = params.preconditions(Preconditions {
        uid: found.uid(),
        resource_version: None,
    });
    unless_gone(step, api.delete(name, &this).await)
}

async fn namespaced<K>(
    ctx: &Context,
    cluster: &Validated,
    phase: Phase,
    kind: &'static str,
    wanted: &K,
) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let ours = |found: &K| is_owned_by(found, &cluster.uid);
    one(ctx, cluster, phase, kind, &api, wanted, ours).await
}

/// Removes the policy that was applied while the spec asked for one.
async fn no_network_policy(ctx: &Context, cluster: &Validated) -> Result<(), Error> {
    let key = absence(cluster);
    if ctx.recent.is_fresh(&key, 0, REPEAT, Instant::now()) {
        return Ok(());
    }
    ctx.recent
        .forget(&format!("{}/apply/NetworkPolicy/", cluster.uid));
    let api: Api<NetworkPolicy> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    delete_if(
        "delete the NetworkPolicy, which is not wanted any more",
        &api,
        &cluster.name,
        DeleteParams::default(),
        |policy| is_owned_by(policy, &cluster.uid),
    )
    .await?;
    ctx.recent.mark(key, 0, Instant::now());
    Ok(())
}

/// Where it is remembered that there is no policy.
fn absence(cluster: &Validated) -> String {
    format!("{}/apply/no NetworkPolicy", cluster.uid)
}

async fn reviewer_binding(
    ctx: &Context,
    cluster: &Validated,
    phase: Phase,
    wanted: &ClusterRoleBinding,
) -> Result<(), Error> {
    let api = Api::all(ctx.client.clone());
    let kind = "ClusterRoleBinding";
    one(ctx, cluster, phase, kind, &api, wanted, is_managed).await
}

async fn one<K>(
    ctx: &Context,
    cluster: &Validated,
    phase: Phase,
    kind: &'static str,
    api: &Api<K>,
    wanted: &K,
    ours: impl Fn(&K) -> bool,
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = wanted.name_any();
    let key = key(cluster, kind, &name);
    let fingerprint = fingerprint(wanted)?;
    if ctx.recent.is_fresh(&key, fingerprint, REPEAT, Instant::now()) {
        return Ok(());
    }
    if phase == Phase::Look {
        let found = api
            .get_opt(&name)
            .await
            .map_err(|e| Error::kubernetes("look for an object before applying it", e))?;
        return match found {
            Some(found) if !ours(&found) => Err(Error::NotOurs { kind, name }),
            Some(_) | None => Ok(()),
        };
    }
    write(api, kind, wanted).await?;
    ctx.recent.mark(key, fingerprint, Instant::now());
    Ok(())
}

async fn write<K>(api: &Api<K>, kind: &'static str, wanted: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let mut body = serde_json::to_value(wanted).map_err(Error::Encode)?;
    body["apiVersion"] = K::api_version(&()).into();
    body["kind"] = K::kind(&()).into();
    api.patch(&wanted.name_any(), &patch_params().force(), &Patch::Apply(&body))
        .await
        .map(drop)
        .map_err(|e| Error::kubernetes(apply_step(kind), e))
}

/// Where it is remembered what was applied.
fn key(cluster: &Validated, kind: &str, name: &str) -> String {
    format!("{}/apply/{kind}/{name}", cluster.uid)
}

/// What lies at most between a question whether an object is about to be applied again and that.
const SOON: Duration = Duration::from_secs(5);

/// Whether an object is about to be applied again.
pub(crate) fn is_due<K: Resource<DynamicType = ()> + Serialize>(
    ctx: &Context,
    cluster: &Validated,
    kind: &str,
    wanted: &K,
) -> bool {
    let key = key(cluster, kind, &wanted.name_any());
    let is_fresh = |print| {
        ctx.recent
            .is_fresh(&key, print, REPEAT.saturating_sub(SOON), Instant::now())
    };
    !fingerprint(wanted).is_ok_and(is_fresh)
}

/// Whether this process has applied the very object before, however long ago.
pub(crate) fn was_applied<K: Resource<DynamicType = ()> + Serialize>(
    ctx: &Context,
    cluster: &Validated,
    kind: &str,
    wanted: &K,
) -> bool {
    let key = key(cluster, kind, &wanted.name_any());
    let is_known = |print| ctx.recent.is_fresh(&key, print, Duration::MAX, Instant::now());
    fingerprint(wanted).is_ok_and(is_known)
}

fn apply_step(kind: &'static str) -> &'static str {
    match kind {
        "ServiceAccount" => "apply the members' ServiceAccount",
        "ClusterRoleBinding" => "apply the ClusterRoleBinding that lets Vault review logins",
        "Secret" => "apply the Secret with the certificate, or that of the custodians",
        "ConfigMap" => "apply the server's ConfigMap",
        "Service" => "apply a Service",
        "NetworkPolicy" => "apply the NetworkPolicy",
        "PodDisruptionBudget" => "apply the PodDisruptionBudget",
        _ => "apply the StatefulSet",
    }
}

fn fingerprint(object: &impl Serialize) -> Result<u64, Error> {
    Ok(hash(&serde_json::to_vec(object).map_err(Error::Encode)?))
}
