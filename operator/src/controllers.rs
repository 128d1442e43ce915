//! Starts the controllers on their watches, and what every reconcile has around it: metrics, log, backoff,
//! and walls between objects, so that a malformed object or a panic concerns that object alone.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::PartialObjectMeta;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{PredicateConfig, WatchStreamExt};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::annotations::CLUSTER;
use vaultkeeper_crds::{VaultCluster, VaultRole};

use crate::backoff::Retries;
use crate::context::Context;
use crate::namespaces::{Change, Namespaces};
use crate::news::News;
use crate::{backup, cluster, role};

/// How many objects of a kind are worked on at a time.
const CONCURRENCY: u16 = 32;

/// What a controller's error says about itself.
pub trait ReconcileError: std::error::Error + Send + 'static {
    /// A word out of a fixed set, for metrics.
    fn reason(&self) -> &'static str;
}

/// Runs the controllers until `shutdown`; the task ends when the reconciles that were running have ended.
/// Needs no leadership and no signals: a test may call it with its own client and Vault.
pub fn start_controllers(ctx: Arc<Context>, shutdown: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let roles = tokio::spawn(run_roles(Arc::clone(&ctx), shutdown.clone()));
        let backups = tokio::spawn(run_backups(Arc::clone(&ctx), shutdown.clone()));
        let clusters = tokio::spawn(run_clusters(ctx, shutdown.clone()));
        let log = |result: Result<(), JoinError>, kind| {
            if let Err(error) = result {
                tracing::error!(%error, kind, "the controller ended");
            }
        };
        // Aborted with this task, so that a holder of the handle can really stop everything.
        let (mut roles, mut clusters, mut backups) =
            (AbortOnDrop(roles), AbortOnDrop(clusters), AbortOnDrop(backups));
        tokio::select! {
            result = &mut roles.0 => { log(result, "VaultRole"); shutdown.cancel(); log((&mut clusters.0).await, "VaultCluster"); }
            result = &mut clusters.0 => { log(result, "VaultCluster"); shutdown.cancel(); log((&mut roles.0).await, "VaultRole"); }
            result = &mut backups.0 => {
                log(result, BACKUPS);
                shutdown.cancel();
                log((&mut clusters.0).await, "VaultCluster");
                log((&mut roles.0).await, "VaultRole");
                return;
            }
        }
        log((&mut backups.0).await, BACKUPS);
    })
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run_clusters(ctx: Arc<Context>, shutdown: CancellationToken) {
    let client = ctx.client.clone();
    let (store, controller) = controller_of::<VaultCluster>(Api::all(client.clone()));
    let labelled = || watcher::Config::default().labels(CLUSTER);
    let stream = controller
        .owns_stream(changes::<StatefulSet>(Api::all(client.clone()), labelled()))
        .owns_stream(changes::<Service>(Api::all(client.clone()), labelled()))
        .owns_stream(changes::<ConfigMap>(Api::all(client.clone()), labelled()))
        .watches_stream(
            changes::<Pod>(Api::all(client.clone()), labelled()),
            |pod: PartialObjectMeta<Pod>| cluster_of(&pod),
        )
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            |object, driver: Arc<Driver>| {
                guarded(
                    "VaultCluster",
                    object,
                    driver,
                    cluster::reconcile,
                    |cluster, error, ctx, pause| cluster::error_policy(&cluster, error, &ctx, pause),
                )
            },
            |_, failed: &Failed, _| failed.0.clone(),
            Arc::new(Driver {
                ctx,
                retries: Retries::default(),
            }),
        );
    until_drained("VaultCluster", stream, &store, &shutdown).await;
}

/// What metrics and log call the controller of backups.
const BACKUPS: &str = "Backup";

/// A watch of its own: what is done for a backup may take hours, and must not keep a cluster from being tended.
async fn run_backups(ctx: Arc<Context>, shutdown: CancellationToken) {
    let (store, controller) = controller_of::<VaultCluster>(Api::all(ctx.client.clone()));
    let stop = shutdown.clone();
    let stream = controller
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            move |object, driver: Arc<Driver>| {
                let stop = stop.clone();
                guarded(
                    BACKUPS,
                    object,
                    driver,
                    move |cluster, ctx| backup::reconcile(cluster, ctx, stop.clone()),
                    |_, _, _, pause| Action::requeue(pause),
                )
            },
            |_, failed: &Failed, _| failed.0.clone(),
            Arc::new(Driver {
                ctx,
                retries: Retries::default(),
            }),
        );
    until_drained(BACKUPS, stream, &store, &shutdown).await;
}

async fn run_roles(ctx: Arc<Context>, shutdown: CancellationToken) {
    let client = ctx.client.clone();
    let (roles, controller) = controller_of::<VaultRole>(Api::all(client.clone()));
    let (store, roles_of_clusters, roles_of_cas) = (roles.clone(), roles.clone(), roles.clone());
    let mut news = News::default();
    let (clusters, writer) = reflector::store::<Guarded<VaultCluster>>();
    ctx.sweep.watch(clusters);
    ctx.sweep.watch_roles(roles.clone());
    let of_clusters = watcher(
        Api::<Guarded<VaultCluster>>::all(client.clone()),
        watcher::Config::default(),
    )
    .default_backoff()
    .modify(lean);
    // What a role reads of its cluster is there before the role is woken.
    let of_clusters = reflector::reflector(writer, of_clusters).flat_map(move |event| {
        let names = match event {
            Ok(event) => news.of(&event),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the watch on VaultClusters failed; it is started again"
                );
                Vec::new()
            }
        };
        let roles: Vec<_> = names
            .iter()
            .flat_map(|(namespace, name)| roles_of(&roles_of_clusters, namespace, name))
            .collect();
        futures::stream::iter(roles)
    });
    let (of_ctx, roles_of_namespaces) = (Arc::clone(&ctx), roles_of_cas.clone());
    let all: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let of_namespaces = watcher(all, watcher::Config::default())
        .default_backoff()
        .flat_map(move |event| {
            let change = match event {
                Ok(event) => of_ctx.namespaces.take(&event),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the watch on namespaces failed; it is started again"
                    );
                    Change::None
                }
            };
            futures::stream::iter(roles_that_select(
                &roles_of_namespaces,
                &of_ctx.namespaces,
                &change,
            ))
        });
    let own_secrets = Api::namespaced(client.clone(), &ctx.namespace);
    let (of_config_maps, of_cas) = (Arc::clone(&ctx), Arc::clone(&ctx));
    let stream = controller
        .watches_stream(
            changes::<ConfigMap>(Api::all(client), watcher::Config::default().labels(CLUSTER)),
            move |map: PartialObjectMeta<ConfigMap>| {
                let (namespace, cluster) = (map.namespace()?, map.annotations().get(CLUSTER)?);
                of_config_maps.sweep.untell(&namespace, cluster);
                keeper_of(&roles, &namespace, cluster)
            },
        )
        .reconcile_on(of_clusters)
        .reconcile_on(of_namespaces)
        // The CA exists before the cluster serves, and may be replaced.
        .watches_stream(
            changes::<Secret>(own_secrets, watcher::Config::default()),
            move |secret: PartialObjectMeta<Secret>| match cluster_of_ca_secret(&secret.name_any()) {
                Some((namespace, name)) => {
                    let version = secret.resource_version().unwrap_or_default();
                    of_cas.sweep.note_ca(&format!("{namespace}.{name}"), &version);
                    roles_of(&roles_of_cas, namespace, name)
                }
                None => Vec::new(),
            },
        )
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            |object, driver: Arc<Driver>| {
                guarded("VaultRole", object, driver, reconcile_role, |_, _, _, pause| {
                    Action::requeue(pause)
                })
            },
            |_, failed: &Failed, _| failed.0.clone(),
            Arc::new(Driver {
                ctx,
                retries: Retries::default(),
            }),
        );
    until_drained("VaultRole", stream, &store, &shutdown).await;
}

/// A role of another operator's cluster is that operator's too. A change of hands wakes it.
async fn reconcile_role(role: Arc<VaultRole>, ctx: Arc<Context>) -> Result<Action, role::Error> {
    if cluster::claim::tends_another(&ctx, &role).await {
        return Ok(Action::await_change());
    }
    Box::pin(role::reconcile(role, ctx)).await
}

/// Changes of objects of which only the metadata is read: what a Secret holds stays out of the watch.
fn changes<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    watcher(api, config).touched_objects()
}

type Guarded<K> = DeserializeGuard<K>;

/// A controller that is not woken by its own writes to the status.
fn controller_of<K>(api: Api<Guarded<K>>) -> (Store<Guarded<K>>, Controller<Guarded<K>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = reflector::store::<Guarded<K>>();
    let objects = watcher(api, watcher::Config::default()).modify(lean);
    let stream = reflector::reflector(writer, objects)
        .applied_objects()
        .predicate_filter(wish, PredicateConfig::default());
    let controller = Controller::for_stream(stream, reader.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENCY));
    (reader, controller)
}

/// Takes away what nobody here reads and every object has: it is half of what ten thousand of them take in memory.
fn lean<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Written by kubectl for itself: a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What people ask of an object: all but its status.
#[allow(clippy::unnecessary_wraps)] // the shape of a predicate
pub(crate) fn wish<K: Resource>(object: &K) -> Option<u64> {
    let meta = object.meta();
    Some(hash(&(
        meta.uid.as_deref(),
        meta.generation,
        meta.deletion_timestamp.as_ref().map(|time| time.0),
        object.finalizers(),
        object.annotations(),
        object.labels(),
    )))
}

/// A fingerprint of a value, good within this process.
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The VaultCluster whose name a member's pod has as a label; they share the namespace.
fn cluster_of(pod: &PartialObjectMeta<Pod>) -> Option<ObjectRef<Guarded<VaultCluster>>> {
    Some(ObjectRef::new(pod.labels().get(CLUSTER)?).within(&pod.namespace()?))
}

/// Namespace and name of the VaultCluster whose CA is in this Secret.
fn cluster_of_ca_secret(secret: &str) -> Option<(&str, &str)> {
    secret.strip_prefix("vault-ca.")?.split_once('.')
}

fn roles_of(
    roles: &Store<Guarded<VaultRole>>,
    namespace: &str,
    name: &str,
) -> Vec<ObjectRef<Guarded<VaultRole>>> {
    let of_cluster = |role: &Guarded<VaultRole>| {
        role.0
            .as_ref()
            .is_ok_and(|role| role.spec.cluster.namespace == namespace && role.spec.cluster.name == name)
    };
    roles
        .state_filter(of_cluster)
        .iter()
        .map(|role| ObjectRef::from_obj(&**role))
        .collect()
}

/// The roles whose selector selects other namespaces now than before, or than their status says: the watch may be behind
/// the status of the last pass.
fn roles_that_select(
    roles: &Store<Guarded<VaultRole>>,
    namespaces: &Namespaces,
    change: &Change,
) -> Vec<ObjectRef<Guarded<VaultRole>>> {
    let is_concerned = |role: &VaultRole| {
        let login = role.spec.kubernetes.as_ref();
        let Some(selector) = login.and_then(|login| login.namespace_selector.as_ref()) else {
            return false;
        };
        match change {
            Change::None => false,
            Change::All => true,
            Change::Of(namespace, before) => {
                let told = role.status.as_ref().map(|status| &status.namespaces);
                let told = told.is_some_and(|told| told.contains(namespace));
                let was = before.as_ref().is_some_and(|labels| selector.selects(labels));
                let is = namespaces.selects(selector, namespace);
                was != is || told != is
            }
        }
    };
    roles
        .state_filter(|role| role.0.as_ref().is_ok_and(is_concerned))
        .iter()
        .map(|role| ObjectRef::from_obj(&**role))
        .collect()
}

/// One role that keeps the ConfigMap with a cluster's address and CA in its namespace. `cluster` is the full name. One is
/// enough, and of ten thousand that own it together all would be woken.
fn keeper_of(
    roles: &Store<Guarded<VaultRole>>,
    namespace: &str,
    cluster: &str,
) -> Option<ObjectRef<Guarded<VaultRole>>> {
    let keeps = |role: &Guarded<VaultRole>| {
        role.namespace().as_deref() == Some(namespace)
            && role.meta().deletion_timestamp.is_none()
            && role.0.as_ref().is_ok_and(|role| {
                let of = &role.spec.cluster;
                cluster.split_once('.') == Some((&of.namespace, &of.name))
            })
    };
    let is_ready = |role: &Guarded<VaultRole>| role.0.as_ref().is_ok_and(role::status::is_in_place);
    let keepers = roles.state_filter(keeps);
    let keeper = keepers
        .iter()
        .min_by_key(|role| (!is_ready(role), role.name_any()))?;
    Some(ObjectRef::from_obj(&**keeper))
}

/// What the reconciles of one kind share.
struct Driver {
    ctx: Arc<Context>,
    retries: Retries,
}

/// A reconcile that failed, was counted and logged: what remains is when to try again.
#[derive(Debug, thiserror::Error)]
#[error("failed; already logged")]
struct Failed(Action);

/// One reconcile with everything around it.
async fn guarded<K, E, F>(
    kind: &'static str,
    object: Arc<Guarded<K>>,
    driver: Arc<Driver>,
    reconcile: impl FnOnce(Arc<K>, Arc<Context>) -> F,
    policy: impl FnOnce(Arc<K>, &E, Arc<Context>, std::time::Duration) -> Action,
) -> Result<Action, Failed>
where
    K: Resource + Clone,
    E: ReconcileError,
    F: Future<Output = Result<Action, E>>,
{
    let Driver { ctx, retries } = &*driver;
    let meta = object.meta();
    let uid = meta.uid.clone().unwrap_or_default();
    let (namespace, name) = (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    );
    let wanted = match &object.0 {
        Ok(wanted) => Arc::new(wanted.clone()),
        Err(error) => {
            // Written past the checks of the API server, by an older CRD: only a new version of it can help.
            ctx.metrics.malformed(kind);
            tracing::warn!(kind, namespace, name, %error, "ignored, since it cannot be read");
            return Ok(Action::await_change());
        }
    };
    let started = Instant::now();
    let result = AssertUnwindSafe(reconcile(Arc::clone(&wanted), Arc::clone(ctx)))
        .catch_unwind()
        .await;
    let took = started.elapsed();
    match result {
        Ok(Ok(action)) => {
            retries.succeeded(&uid);
            ctx.metrics.succeeded(kind, took, Timestamp::now().as_second());
            tracing::debug!(kind, namespace, name, ?took, "reconciled");
            Ok(action)
        }
        Ok(Err(error)) => {
            let pause = retries.failed(&uid);
            ctx.metrics.failed(kind, error.reason(), took);
            tracing::warn!(
                kind,
                namespace,
                name,
                reason = error.reason(),
                error = chain(&error),
                "will be tried again"
            );
            Err(Failed(policy(wanted, &error, Arc::clone(ctx), pause)))
        }
        Err(_) => {
            let pause = retries.failed(&uid);
            ctx.metrics.failed(kind, "Panicked", took);
            tracing::error!(
                kind,
                namespace,
                name,
                "a defect in the operator: the reconcile panicked"
            );
            Err(Failed(Action::requeue(pause)))
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Runs a controller until the reconciles that were running at the shutdown have ended.
async fn until_drained<K>(
    kind: &'static str,
    stream: impl Stream<Item = Result<(ObjectRef<Guarded<K>>, Action), controller::Error<Failed, watcher::Error>>>,
    store: &Store<Guarded<K>>,
    shutdown: &CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let ends_early = async {
        shutdown.cancelled().await;
        // Before the first list nothing is begun. kube's controller waits for that list, and reads none after a shutdown.
        if store.wait_until_ready().now_or_never().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = drain(kind, stream) => {}
        () = ends_early => {}
    }
    tracing::info!(kind, "the controller has stopped");
}

async fn drain<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    stream: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<Failed, watcher::Error>>>,
) {
    stream
        .for_each(|result| {
            match result {
                // Reconciles speak for themselves; an object that is gone needs nothing.
                Ok(_)
                | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(kind, error = chain(&error), "a watch failed; it is started again");
                }
            }
            std::future::ready(())
        })
        .await;
}

#[cfg(test)]
#[path = "controllers_tests.rs"]
mod tests;
