//! What is seen of the agent from outside, beside its log: counters and last times. Every part reports here, as it does to
//! the log; only the listener reads. Nothing here is secret: no value, no path in Vault.

mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(crate) use text::{Process, text};

/// What went wrong, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// A login failed.
    Login,
    /// The token was not renewed.
    Renewal,
    /// A secret was not read.
    Read,
    /// A secret was denied: a policy is missing, or the token is dead.
    Denied,
    /// A lease was not renewed.
    Lease,
    /// A template failed.
    Render,
    /// A file was not written.
    Write,
    /// What is to be done after a change failed.
    Action,
}

impl Trouble {
    const ALL: [Self; 8] = [
        Self::Login,
        Self::Renewal,
        Self::Read,
        Self::Denied,
        Self::Lease,
        Self::Render,
        Self::Write,
        Self::Action,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Renewal => "renewal",
            Self::Read => "read",
            Self::Denied => "denied",
            Self::Lease => "lease",
            Self::Render => "render",
            Self::Write => "write",
            Self::Action => "action",
        }
    }
}

/// A file's renderings.
#[derive(Debug, Clone, Copy, Default)]
struct Renderings {
    /// How often it got a new content.
    count: u64,
    /// When it was last known to have the content of the newest secrets.
    last: Option<SystemTime>,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    errors: BTreeMap<Trouble, u64>,
    logins: u64,
    renewals: u64,
    logged_in: bool,
    /// When the token ends; `None` for never.
    token_ends: Option<Instant>,
    /// How many leases are held, and when the first of them ends.
    leases: usize,
    lease_ends: Option<Instant>,
    files: BTreeMap<PathBuf, Renderings>,
}

impl Seen {
    const fn new() -> Self {
        Self {
            errors: BTreeMap::new(),
            logins: 0,
            renewals: 0,
            logged_in: false,
            token_ends: None,
            leases: 0,
            lease_ends: None,
            files: BTreeMap::new(),
        }
    }
}

static SEEN: Mutex<Seen> = Mutex::new(Seen::new());

/// What this process has seen.
pub(crate) fn now() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Something went wrong.
    pub(crate) fn trouble(&mut self, kind: Trouble) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// A login gave a token for this long; zero for ever.
    pub(crate) fn logged_in(&mut self, lease: Duration, now: Instant) {
        self.logins += 1;
        self.logged_in = true;
        self.token_ends = now.checked_add(lease).filter(|_| !lease.is_zero());
    }

    /// The token was renewed for this long.
    pub(crate) fn renewed(&mut self, lease: Duration, now: Instant) {
        self.renewals += 1;
        self.token_ends = now.checked_add(lease).filter(|_| !lease.is_zero());
    }

    /// The token is given up.
    pub(crate) fn logged_out(&mut self) {
        self.logged_in = false;
        self.token_ends = None;
    }

    /// So many leases are held, and the first ends then.
    pub(crate) fn leases(&mut self, count: usize, first_ends: Option<Instant>) {
        self.leases = count;
        self.lease_ends = first_ends;
    }

    /// Whether this process has rendered the file.
    pub(crate) fn has_rendered(&self, file: &Path) -> bool {
        self.files.contains_key(file)
    }

    /// A file holds what it should.
    pub(crate) fn rendered(&mut self, file: &Path, changed: bool, now: SystemTime) {
        let there = self.files.entry(file.to_owned()).or_default();
        there.count += u64::from(changed);
        there.last = Some(now);
    }
}
