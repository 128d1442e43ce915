//! What is told of a secret-id, and when to look again. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::role::{AppRoleStatus, PreviousSecretId};

use super::plan;
use super::state::{Held, Previous, State};
use crate::role::validate::AppRoleWish;

/// A moment after the time that is waited for, when it is surely over.
const AFTER: Duration = Duration::from_millis(100);

/// How often it is looked at whether a wrapping token was used, at least.
const LOOK: Duration = Duration::from_secs(60);

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
        next_rotation_at: Held::of(state)
            .and_then(|held| plan::due(&held, wish, &uid))
            .map(text),
        wrapped_until: state.wrapping.as_ref().map(|wrapping| text(wrapping.expires())),
        previous: state.previous.iter().map(previous).collect(),
        unwrapped: state.unwrapped.iter().map(|held| held.accessor.clone()).collect(),
    })
}

/// How long to wait until something is to be done. None: nothing is, by time. Nobody tells that a wrapping token was used:
/// it is looked at often, so that the consumer finds another one at its next start.
pub fn look_again(state: &State, wish: &AppRoleWish, uid: &str, now: Timestamp) -> Option<Duration> {
    let next = plan::next(state, wish, &uid).and_then(|next| Timestamp::from_second(next).ok());
    let next = next.map(|next| {
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        wait.saturating_add(AFTER)
    });
    let looks = wish.wrap.map(|ttl| (ttl / 6).min(LOOK));
    next.into_iter().chain(looks).min()
}

fn text(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}
