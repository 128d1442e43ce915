//! What was last observed of each cluster. Losing it costs another look, never correctness.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::sweep::Sweep;
use super::tokens::Known;
use super::{AppRoles, Device, Enforcements, Lifetime, Look, Network, Policies, Tokens};

/// By the UID of the VaultCluster.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

/// What was last observed of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    /// When it was looked at first.
    pub begun: Option<Instant>,
    pub tokens: Known,
    pub policies: Sweep,
    pub app_roles: Sweep,
    pub seen: Option<Seen>,
    pub network: Option<Look<Network>>,
}

/// What one look at Vault gave.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub at: Instant,
    /// More is to be read at once.
    pub unfinished: bool,
    pub tokens: Look<Tokens>,
    pub certificate: Look<Option<Lifetime>>,
    pub audit: Look<Vec<Device>>,
    pub policies: Look<Policies>,
    pub mfa: Look<Enforcements>,
    pub key_made: Look<i64>,
    pub app_roles: Look<AppRoles>,
}

impl Seen {
    /// Nothing could be looked at, for one reason.
    pub(crate) fn blind(why: &str, at: Instant) -> Self {
        let why = || why.to_owned();
        Self {
            at,
            unfinished: false,
            tokens: Err(why()),
            certificate: Err(why()),
            audit: Err(why()),
            policies: Err(why()),
            mfa: Err(why()),
            key_made: Err(why()),
            app_roles: Err(why()),
        }
    }
}

impl Memory {
    /// What is remembered of a cluster.
    pub(crate) fn get(&self, uid: &str) -> Remembered {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(uid).cloned().unwrap_or_default()
    }

    /// Remembers something more.
    pub(crate) fn change(&self, uid: &str, change: impl FnOnce(&mut Remembered)) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(map.entry(uid.to_owned()).or_default());
    }

    /// Forgets a cluster that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(uid);
    }
}
