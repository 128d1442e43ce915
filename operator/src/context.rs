//! What every reconcile shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use vaultkeeper_vault::SecretString;

use crate::connect::Connect;
use crate::metrics::Metrics;
use crate::report::Reporter;
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
    /// The Vault seam.
    pub vault: Arc<dyn Connect>,
    /// The operator's own logins.
    pub sessions: Sessions,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub reporter: Reporter,
    /// What was done lately and need not be repeated; losing it costs a repetition, never correctness.
    pub recent: Recent,
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

/// Remembers when something was last done, by a key of the caller's choice.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<String, (u64, Instant)>>);

impl Recent {
    /// Whether `key` was marked with this fingerprint less than `within` ago.
    pub fn is_fresh(&self, key: &str, fingerprint: u64, within: std::time::Duration, now: Instant) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(key)
            .is_some_and(|(f, at)| *f == fingerprint && now.duration_since(*at) < within)
    }

    /// Marks `key` as done now.
    pub fn mark(&self, key: String, fingerprint: u64, now: Instant) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (fingerprint, now));
    }

    /// Forgets everything whose key starts with `prefix`.
    pub fn forget(&self, prefix: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| !key.starts_with(prefix));
    }
}
