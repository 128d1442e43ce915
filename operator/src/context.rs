//! What every reconcile shares.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use vaultkeeper_vault::SecretString;

use crate::cluster::external::AllowedAddresses;
use crate::cluster::readiness::Memory;
use crate::connect::Connect;
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;
use crate::report::Reporter;
use crate::role::sweep::Sweep;
use crate::sessions::Sessions;

/// Shared by both controllers.
pub struct Context {
    /// The Kubernetes seam.
    pub client: kube::Client,
    /// The operator's own namespace: keys and CAs live there.
    pub namespace: String,
    /// Name of the operator's ServiceAccount in that namespace.
    pub service_account: String,
    /// How Vault reaches the API server to review ServiceAccount tokens.
    pub auth_environment: KubernetesAuthEnvironment,
    /// Image of the helper in the members' pods.
    pub helper: HelperImage,
    /// The Vault seam.
    pub vault: Arc<dyn Connect>,
    /// The operator's own logins.
    pub sessions: Sessions,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub reporter: Reporter,
    /// What the ten rules for production are judged by.
    pub readiness: Memory,
    /// What was done lately and need not be repeated; losing it costs a repetition, never correctness.
    pub recent: Recent,
    /// The labels of all namespaces.
    pub namespaces: Namespaces,
    /// Roles at rest, and when they are compared with Vault.
    pub sweep: Sweep,
    /// What whoever installed the operator has set for all clusters.
    pub rules: Rules,
}

/// How long a deletion is held up by a pause, or by a Vault that cannot be reached, unless the settings say otherwise.
pub const CLEANUP_PATIENCE: Duration = Duration::from_secs(600);

/// What whoever installed the operator has set for all clusters.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Which Vaults outside of Kubernetes the operator may call at all.
    pub external_addresses: AllowedAddresses,
    /// How long a Vault that cannot be reached, or is paused, holds a deletion, and so that of a namespace, up.
    pub cleanup_patience: Duration,
}

impl Rules {
    /// How much of its patience is left for an object that is being deleted since then: nothing, when it is over. None:
    /// it is not being deleted.
    pub fn left_to_wait(&self, deleted: Option<&Time>, now: Timestamp) -> Option<Duration> {
        let waited = now.duration_since(deleted?.0);
        // A clock that went back: it has not waited at all.
        let waited = Duration::try_from(waited).unwrap_or_default();
        Some(self.cleanup_patience.saturating_sub(waited))
    }

    /// The patience in the words of a message: `10 minutes` or `90 s`.
    pub fn patience(&self) -> String {
        match self.cleanup_patience.as_secs() {
            seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
            seconds => format!("{seconds} s"),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            external_addresses: AllowedAddresses::default(),
            cleanup_patience: CLEANUP_PATIENCE,
        }
    }
}

/// Image of the helper that runs beside each member: that of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperImage {
    /// The image.
    pub image: String,
    /// Its pull policy; without one that of Kubernetes applies.
    pub pull_policy: Option<String>,
}

impl Default for HelperImage {
    fn default() -> Self {
        Self {
            image: concat!("vaultkeeper/agent:", env!("CARGO_PKG_VERSION")).to_owned(),
            pull_policy: None,
        }
    }
}

/// How Vault reaches the API server (`auth/kubernetes/config`).
#[derive(Clone, Debug)]
pub struct KubernetesAuthEnvironment {
    /// URL of the API server as members see it.
    pub host: String,
    /// CA of the API server in PEM. None: Vault reads the one mounted in its pod.
    pub ca_cert: Option<String>,
    /// Token that reviews logins. None: Vault uses the token mounted in its pod.
    pub token_reviewer_jwt: Option<SecretString>,
}

impl Default for KubernetesAuthEnvironment {
    fn default() -> Self {
        Self {
            host: "https://kubernetes.default.svc".to_owned(),
            ca_cert: None,
            token_reviewer_jwt: None,
        }
    }
}

/// Remembers when something was last done, and since when something looks the same, by a key of the caller's choice.
#[derive(Debug, Default)]
pub struct Recent {
    done: Mutex<HashMap<String, (u64, Instant)>>,
    seen: Mutex<HashMap<String, Seen>>,
    kept: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

#[derive(Debug)]
struct Seen {
    fingerprint: u64,
    since: Instant,
    looks: u32,
}

/// How long something has looked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// Since the first look.
    pub span: Duration,
    /// How many looks there were, the first included.
    pub looks: u32,
}

impl Recent {
    /// Whether `key` was marked with this fingerprint less than `within` ago.
    pub fn is_fresh(&self, key: &str, fingerprint: u64, within: Duration, now: Instant) -> bool {
        lock(&self.done)
            .get(key)
            .is_some_and(|(f, at)| *f == fingerprint && now.duration_since(*at) < within)
    }

    /// Marks `key` as done now.
    pub fn mark(&self, key: String, fingerprint: u64, now: Instant) {
        lock(&self.done).insert(key, (fingerprint, now));
    }

    /// Looks at `key` and says how long it has had this fingerprint, without another one at a look between.
    pub fn look(&self, key: &str, fingerprint: u64, now: Instant) -> Unchanged {
        let mut map = lock(&self.seen);
        let seen = map.entry(key.to_owned()).or_insert(Seen {
            fingerprint,
            since: now,
            looks: 0,
        });
        if seen.fingerprint != fingerprint {
            (seen.fingerprint, seen.since, seen.looks) = (fingerprint, now, 0);
        }
        seen.looks = seen.looks.saturating_add(1);
        Unchanged {
            span: now.duration_since(seen.since),
            looks: seen.looks,
        }
    }

    /// Keeps a value in place of the one before it.
    pub fn keep<T: Any + Send + Sync>(&self, key: String, value: T) {
        lock(&self.kept).insert(key, Arc::new(value));
    }

    /// The value that was kept, if there is one of this type.
    pub fn kept<T: Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        let value = lock(&self.kept).get(key).cloned()?;
        value.downcast().ok()
    }

    /// Forgets everything whose key starts with `prefix`.
    pub fn forget(&self, prefix: &str) {
        lock(&self.done).retain(|key, _| !key.starts_with(prefix));
        lock(&self.seen).retain(|key, _| !key.starts_with(prefix));
        lock(&self.kept).retain(|key, _| !key.starts_with(prefix));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_counts_from_the_last_change() {
        let recent = Recent::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let seen = |seconds, looks| Unchanged {
            span: Duration::from_secs(seconds),
            looks,
        };
        assert_eq!(recent.look("a", 1, at(0)), seen(0, 1), "first seen");
        assert_eq!(recent.look("a", 1, at(7)), seen(7, 2));
        assert_eq!(recent.look("b", 1, at(8)), seen(0, 1), "another key");
        assert_eq!(recent.look("a", 2, at(9)), seen(0, 1), "it has changed");
        assert_eq!(recent.look("a", 1, at(10)), seen(0, 1), "and changed back");
        recent.forget("a");
        assert_eq!(recent.look("a", 1, at(20)), seen(0, 1), "forgotten");
    }

    #[test]
    fn a_deletion_is_held_up_until_the_patience_is_over() {
        let rules = Rules::default();
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let left = |minutes| rules.left_to_wait(Some(&Time(at(100))), at(minutes));
        assert_eq!(rules.left_to_wait(None, at(100)), None, "it is not being deleted");
        assert_eq!(left(100), Some(CLEANUP_PATIENCE));
        assert_eq!(left(109), Some(Duration::from_secs(60)));
        assert_eq!(left(110), Some(Duration::ZERO));
        assert_eq!(left(9999), Some(Duration::ZERO));
        assert_eq!(left(50), Some(CLEANUP_PATIENCE), "the clock went back");
    }

    #[test]
    fn the_patience_is_told_in_its_own_unit() {
        assert_eq!(Rules::default().patience(), "10 minutes");
        let rules = Rules {
            cleanup_patience: Duration::from_secs(90),
            ..Rules::default()
        };
        assert_eq!(rules.patience(), "90 s");
    }

    #[test]
    fn a_value_is_kept_until_it_is_replaced_or_forgotten() {
        let recent = Recent::default();
        recent.keep("a/x".to_owned(), 1_u8);
        assert_eq!(recent.kept::<u8>("a/x").as_deref(), Some(&1));
        assert_eq!(recent.kept::<u16>("a/x"), None, "of another type");
        recent.keep("a/x".to_owned(), 2_u8);
        assert_eq!(recent.kept::<u8>("a/x").as_deref(), Some(&2));
        recent.forget("a/");
        assert_eq!(recent.kept::<u8>("a/x"), None);
    }
}
