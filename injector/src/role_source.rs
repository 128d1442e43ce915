//! Where VaultRoles come from: a watch that keeps the index current, and one live question when the index has no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, api::ListParams};
use vaultkeeper_crds::VaultRole;

use crate::denial::Denial;
use crate::roles::{Binding, Index};

/// Shorter than the API server's patience with the webhook.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// The VaultRoles of the cluster.
#[derive(Clone, Default)]
pub struct Roles {
    index: Arc<Index>,
    synced: Arc<AtomicBool>,
    /// Without it the index is all there is.
    live: Option<Client>,
}

impl std::fmt::Debug for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roles")
            .field("index", &self.index)
            .field("synced", &self.synced)
            .finish_non_exhaustive()
    }
}

impl Roles {
    /// The VaultRoles that the API server behind `client` holds; [`Roles::watch`] must run.
    pub fn of_cluster(client: Client) -> Self {
        Self {
            live: Some(client),
            ..Self::default()
        }
    }

    /// A fixed set of VaultRoles, without a cluster.
    pub fn fixed(roles: &[VaultRole]) -> Self {
        let fixed = Self::default();
        fixed.index.reset(roles);
        fixed.synced.store(true, Ordering::Release);
        fixed
    }

    /// Whether the index holds what the cluster holds, as far as the watch knows.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// What the index knows of a namespace.
    pub fn known(&self, namespace: &str) -> Vec<Binding> {
        self.index.namespace(namespace)
    }

    /// What the API server holds right now, for a VaultRole that is younger than the watch's last event.
    ///
    /// `GET /apis/vaultkeeper.dev/v1alpha1/namespaces/{namespace}/vaultroles`. `None` where there is no cluster.
    ///
    /// # Errors
    /// The API server did not answer, or refused.
    pub async fn ask(&self, namespace: &str) -> Result<Option<Vec<Binding>>, Denial> {
        let Some(client) = &self.live else { return Ok(None) };
        let api: Api<VaultRole> = Api::namespaced(client.clone(), namespace);
        let unavailable = |why: String| {
            Denial::Unavailable(format!(
                "the VaultRoles in namespace {namespace} could not be read: {why}; try again, and see the injector's log"
            ))
        };
        match tokio::time::timeout(LIST_TIMEOUT, api.list(&ListParams::default())).await {
            Ok(Ok(list)) => Ok(Some(list.items.iter().filter_map(Binding::of).collect())),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!(
                "no answer within {} s",
                LIST_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Keeps the index current; ends only when the watch does, which it never should.
    pub async fn watch(self) {
        let Some(client) = self.live.clone() else { return };
        let events = watcher(Api::<VaultRole>::all(client), watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut fresh = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => fresh.clear(),
                Ok(watcher::Event::InitApply(role)) => fresh.push(role),
                Ok(watcher::Event::InitDone) => {
                    self.index.reset(&std::mem::take(&mut fresh));
                    self.synced.store(true, Ordering::Release);
                }
                Ok(watcher::Event::Apply(role)) => self.index.apply(&role),
                Ok(watcher::Event::Delete(role)) => self.index.delete(&role),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        "the watch of VaultRoles was interrupted and is tried again"
                    );
                }
            }
        }
    }
}
