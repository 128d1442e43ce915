//! Roles at rest: they are compared with Vault in turn, so slowly that Vault hardly notices however many there are.
//!
//! What is at rest is decided from the status alone, so that an operator that starts asks nobody about roles that are in place.
//! Changes, creations, deletions and what is due by the clock wait for no turn.

mod kept;
mod known;
mod line;
mod pace;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use vaultkeeper_crds::{VaultCluster, VaultRole};
use vaultkeeper_vault::Client;

use super::validate::Validated;
use super::written::Written;
use super::{ClusterName, Identity};
use crate::controllers::hash;
pub(crate) use kept::{Facts, Kept};
use known::is_overdue;
use known::{Known, Last, known, left};
pub use known::{fingerprint, is_granted_as_before, is_same_wish, next_action};
use line::{Line, Turn};
use pace::Pace;

/// How often a role at rest is compared with Vault and its Secret, which no watch tells about, where there are few of them.
pub const RESYNC: Duration = Duration::from_secs(600);

/// How many comparisons may be under way at a time: one Vault has one, and many Vaults must not hold up what is due.
const AT_A_TIME: usize = 8;

/// How long one that finds no room waits.
const NO_ROOM: Duration = Duration::from_secs(2);

/// What this process knows of roles at rest. Losing it costs comparisons, in turn, never correctness.
#[derive(Default)]
pub struct Sweep {
    vaults: Mutex<HashMap<String, Arc<OneVault>>>,
    under_way: Arc<AtomicUsize>,
    clusters: OnceLock<Store<DeserializeGuard<VaultCluster>>>,
    roles: OnceLock<Store<DeserializeGuard<VaultRole>>>,
    told: Mutex<Told>,
    /// What the last pass of this process did about a role, by its UID.
    last: Mutex<HashMap<String, Last>>,
    /// Which status was written, and is to be seen before another pass.
    pub(super) written: Written,
}

/// What is known of one Vault.
#[derive(Default)]
struct OneVault {
    line: Mutex<Line>,
    pace: Arc<Pace>,
    kept: Mutex<Kept>,
}

/// Which CAs there are, and which of them the ConfigMap of a namespace tells its clients. By the cluster's full name.
#[derive(Default)]
struct Told {
    cas: HashMap<String, String>,
    namespaces: HashMap<(String, String), String>,
}

impl Told {
    /// Identifies the CA of a cluster, and its address where it runs elsewhere. `name` is its full name.
    fn ca(&self, cluster: &VaultCluster, name: &str) -> String {
        let elsewhere = cluster
            .status
            .as_ref()
            .and_then(|status| status.ca_hash.as_deref());
        match &cluster.spec.external {
            Some(vault) => format!("{} {}", vault.address, elsewhere.unwrap_or_default()),
            None => self.cas.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// What a pass over a role is to do.
pub enum Task {
    /// Nothing but to look again after this time.
    Rest(Duration),
    /// All of it, at once.
    All,
    /// To compare what is there, at the pace of the sweep.
    Compare(Comparison),
}

/// One comparison under way.
pub struct Comparison {
    pace: pace::Counted,
    _room: Room,
}

impl Comparison {
    /// A client whose requests keep the pace of the sweep, and are counted.
    pub fn paced(&self, vault: &Client) -> Client {
        vault.with_transport(|inner| self.pace.transport(inner))
    }
}

/// A place among those that are under way, given back when it is dropped.
struct Room(Arc<AtomicUsize>);

impl Room {
    fn take(under_way: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (n < AT_A_TIME).then_some(n + 1)
        });
        taken.ok().map(|_| Self(Arc::clone(under_way)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sweep {
    fn vault(&self, cluster: &ClusterName) -> Arc<OneVault> {
        lock(&self.vaults).entry(cluster.to_string()).or_default().clone()
    }

    /// What to do about a role for which `applied` is to be in place in this cluster.
    pub fn task(&self, role: &VaultRole, identity: &Identity, cluster: &VaultCluster, applied: &str) -> Task {
        let now = Timestamp::now();
        let last = lock(&self.last).get(&identity.uid).copied();
        if known(role, applied, last, now) == Known::Changed {
            self.begun(identity);
            return Task::All;
        }
        let vault = self.vault(&identity.cluster);
        let ca = lock(&self.told).ca(cluster, &identity.cluster.to_string());
        let ca = (!ca.is_empty()).then(|| hash(&ca));
        let turn = lock(&vault.line).ask(&identity.uid, ca, Instant::now());
        let wait = match turn {
            Turn::In(wait) => wait,
            Turn::Now => match Room::take(&self.under_way) {
                Some(room) => {
                    let pace = pace::Counted::new(Arc::clone(&vault.pace));
                    return Task::Compare(Comparison { pace, _room: room });
                }
                None => NO_ROOM,
            },
        };
        Task::Rest(left(role, now).map_or(wait, |left| left.min(wait)))
    }

    /// Notes that a role was compared, or written, and says when that is due again.
    pub fn compared(&self, identity: &Identity, comparison: Option<&Comparison>) -> Duration {
        let vault = self.vault(&identity.cluster);
        let requests = comparison.map(|comparison| comparison.pace.requests());
        lock(&vault.line).compared(&identity.uid, requests, Instant::now())
    }

    /// What the roles of this cluster that are in place have in Vault.
    pub(crate) fn kept(&self, cluster: &ClusterName) -> Kept {
        lock(&self.vault(cluster).kept).clone()
    }

    /// Notes that a role is in place as it is wanted. What is known stays until another wish begins.
    pub(super) fn keep(&self, identity: &Identity, validated: &Validated) {
        let vault = self.vault(&identity.cluster);
        let mut kept = lock(&vault.kept);
        kept.entry(identity.vault_name())
            .or_insert_with(|| kept::facts(&format!("{}/{}", identity.namespace, identity.name), validated));
    }

    fn unkeep(&self, identity: &Identity) {
        lock(&self.vault(&identity.cluster).kept).remove(&identity.vault_name());
    }

    /// Notes that something other than what the status tells may be in place from now on.
    pub fn begun(&self, identity: &Identity) {
        self.unkeep(identity);
        lock(&self.last).insert(identity.uid.clone(), Last::Begun);
    }

    /// Notes what was put in place.
    pub fn ended(&self, identity: &Identity, applied: &str) {
        lock(&self.last).insert(identity.uid.clone(), Last::applied(applied));
    }

    /// Forgets a role that is gone.
    pub fn forget(&self, identity: &Identity) {
        lock(&self.last).remove(&identity.uid);
        self.unkeep(identity);
        self.written.forget(identity);
        lock(&self.vault(&identity.cluster).line).forget(&identity.uid);
    }

    /// Gives the watched VaultClusters, so that nobody has to be asked for them.
    pub fn watch(&self, clusters: Store<DeserializeGuard<VaultCluster>>) {
        // Only the first one: there is one controller in a process.
        let _ = self.clusters.set(clusters);
    }

    /// Gives the watched VaultRoles, so that they can be counted.
    pub fn watch_roles(&self, roles: Store<DeserializeGuard<VaultRole>>) {
        let _ = self.roles.set(roles);
    }

    /// How many VaultRoles of a cluster have a secret-id that should have been replaced long ago, by the watch.
    pub fn overdue(&self, namespace: &str, name: &str, now: Timestamp) -> i64 {
        let Some(roles) = self.roles.get() else { return 0 };
        let is_overdue = |role: &DeserializeGuard<VaultRole>| {
            role.0.as_ref().is_ok_and(|role| {
                let cluster = &role.spec.cluster;
                cluster.namespace == namespace && cluster.name == name && is_overdue(role, now)
            })
        };
        i64::try_from(roles.state_filter(is_overdue).len()).unwrap_or(i64::MAX)
    }

    /// The VaultCluster as the watch has it. None where it does not have it, which does not mean that there is none.
    pub fn cluster(&self, name: &ClusterName) -> Option<VaultCluster> {
        let key = ObjectRef::new(&name.name).within(&name.namespace);
        self.clusters.get()?.get(&key)?.0.clone().ok()
    }

    /// Notes another version of the Secret with a cluster's CA.
    pub fn note_ca(&self, cluster: &str, version: &str) {
        lock(&self.told)
            .cas
            .insert(cluster.to_owned(), version.to_owned());
    }

    /// Notes that a ConfigMap with address and CA was changed, maybe by somebody else.
    pub fn untell(&self, namespace: &str, cluster: &str) {
        let key = (namespace.to_owned(), cluster.to_owned());
        lock(&self.told).namespaces.remove(&key);
    }

    /// The CA that the ConfigMap of a namespace is to tell, if it was not told by this process yet.
    pub fn untold_ca(&self, namespace: &str, cluster: &VaultCluster, name: &ClusterName) -> Option<String> {
        let told = lock(&self.told);
        let name = name.to_string();
        let ca = told.ca(cluster, &name);
        let is_told = told.namespaces.get(&(namespace.to_owned(), name)) == Some(&ca);
        (!is_told).then_some(ca)
    }

    /// Notes what the ConfigMap of a namespace tells.
    pub fn tell(&self, namespace: &str, name: &ClusterName, ca: String) {
        let key = (namespace.to_owned(), name.to_string());
        lock(&self.told).namespaces.insert(key, ca);
    }
}
