//! What is told of a secret-id, and when to look again. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::role::{AppRoleStatus, PreviousSecretId};

use super::plan;
use super::state::{Previous, State};
use crate::role::validate::AppRoleWish;

/// A moment after the time that is waited for, when it is surely over.
const AFTER: Duration = Duration::from_millis(100);

/// The status of a login with a secret-id.
pub fn status(state: &State, wish: &AppRoleWish, uid: &str) -> Option<AppRoleStatus> {
    let previous = |old: &Previous| PreviousSecretId {
        secret_id_accessor: old.accessor.clone(),
        destroyed_at: text(old.until),
    };
    Some(AppRoleStatus {
        secret_id_accessor: state.accessor.clone()?,
        issued_at: text(state.issued),
        expires_at: state.expires.map(text),
        next_rotation_at: plan::due(state, wish, &uid).map(text),
        previous: state.previous.iter().map(previous).collect(),
    })
}

/// How long to wait until something is to be done. None: nothing is, by time.
pub fn look_again(state: &State, wish: &AppRoleWish, uid: &str, now: Timestamp) -> Option<Duration> {
    let next = plan::next(state, wish, &uid)?;
    let next = Timestamp::from_second(next).ok()?;
    let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
    Some(wait.saturating_add(AFTER))
}

fn text(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}
