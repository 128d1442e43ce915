//! Whether a secret-id is replaced, which others work on, and when to look again. Pure.

use std::hash::Hash;
use std::time::Duration;

use super::state::{Previous, State, remembered};
use crate::backoff::spread;
use crate::role::validate::{AppRoleWish, Period};

/// So many earlier ones work at a time at most. More come only from many requests within one overlap.
const MOST_PREVIOUS: usize = 5;

/// What was found. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What is remembered on the Secret.
    pub state: Option<State>,
    /// Whether the credentials in the Secret are those that were stored, for the role as it is.
    pub intact: bool,
    /// Accessors of all secret-ids that Vault has at this role.
    pub known: Vec<String>,
    /// The request on the VaultRole.
    pub request: Option<String>,
    /// Now.
    pub now: i64,
}

/// Why a secret-id is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was none.
    First,
    /// The Secret was edited, or is of a role that was made anew.
    Edited,
    /// The Secret has another name now.
    Moved,
    /// Vault does not know the stored one: used up, expired or destroyed by hand.
    Lost,
    /// Its parameters were changed.
    Changed,
    /// Somebody asked for it.
    Requested,
    /// Its time has come.
    Due,
}

impl Cause {
    /// In an event.
    pub fn words(self) -> &'static str {
        match self {
            Self::First => "there was none",
            Self::Edited => "the Secret was edited, or the role was made anew",
            Self::Moved => "the Secret has another name now",
            Self::Lost => {
                "Vault does not know the one before any more: it was used up, has expired or was destroyed"
            }
            Self::Changed => "its parameters were changed",
            Self::Requested => "it was asked for by an annotation",
            Self::Due => "its time had come",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Make a secret-id and store it, and why.
    pub issue: Option<Cause>,
    /// Earlier ones that work on.
    pub previous: Vec<Previous>,
}

/// Decides.
pub fn plan(seen: &Seen, wish: &AppRoleWish, uid: &str) -> Plan {
    let Seen {
        state,
        intact,
        known,
        request,
        now,
    } = seen;
    let is_known = |accessor: &String| known.contains(accessor);
    let Some(state) = state else {
        return Plan {
            issue: Some(Cause::First),
            previous: Vec::new(),
        };
    };
    let mut previous: Vec<Previous> = state.previous.clone();
    previous.retain(|old| old.until > *now && is_known(&old.accessor));
    if !wish.bind_secret_id {
        // No login needs one any more.
        let is_there = state.accessor.is_none() && *intact;
        return Plan {
            issue: (!is_there).then_some(Cause::Changed),
            previous: Vec::new(),
        };
    }
    let Some(accessor) = &state.accessor else {
        return Plan {
            issue: Some(Cause::Changed),
            previous,
        };
    };
    let asked = request.as_deref().map(remembered);
    let due = due(state, wish, &uid);
    let issue = if !is_known(accessor) {
        Some(Cause::Lost)
    } else if !intact {
        Some(Cause::Edited)
    } else if state.made_with != made_with(wish) {
        Some(Cause::Changed)
    } else if asked.is_some() && asked != state.request {
        Some(Cause::Requested)
    } else if due.is_some_and(|due| due <= *now) {
        Some(Cause::Due)
    } else {
        None
    };
    if issue.is_some() && is_known(accessor) {
        let end = now.saturating_add(seconds(wish.rotation.overlap(period(state, wish))));
        let until = state.expires.map_or(end, |expires| end.min(expires));
        if until > *now {
            previous.push(Previous {
                accessor: accessor.clone(),
                until,
            });
        }
        let surplus = previous.len().saturating_sub(MOST_PREVIOUS);
        previous.drain(..surplus);
    }
    Plan { issue, previous }
}

/// The parameters that a secret-id is made with.
pub fn made_with(wish: &AppRoleWish) -> String {
    format!("ttl={} uses={}", wish.ttl.as_secs(), wish.num_uses)
}

/// Accessors that are neither stored nor work on by intention: left by a crash, made by hand, or over.
pub fn strays(known: &[String], state: &State) -> Vec<String> {
    let is_kept = |accessor: &&String| {
        state.accessor.as_ref() == Some(*accessor)
            || state.previous.iter().any(|old| old.accessor == **accessor)
    };
    known
        .iter()
        .filter(|accessor| !is_kept(accessor))
        .cloned()
        .collect()
}

/// At which age the secret-id is replaced at the latest.
fn period(state: &State, wish: &AppRoleWish) -> Option<Duration> {
    let life = state.expires.map(|expires| {
        let life = u64::try_from(expires.saturating_sub(state.issued)).unwrap_or_default();
        Duration::from_secs(life)
    });
    match (wish.rotation.period, life) {
        (Period::Never | Period::AfterPercent(_), None) => None,
        // Vault may let it live for a shorter time than was asked for.
        (Period::Never, Some(life)) => Some(life * 9 / 10),
        (Period::Every(every), life) => Some(life.map_or(every, |life| every.min(life * 9 / 10))),
        (Period::AfterPercent(percent), Some(life)) => Some(life * percent / 100),
    }
}

/// When the secret-id is replaced: up to a quarter early, so that many that were made together are not replaced together.
pub fn due(state: &State, wish: &AppRoleWish, seed: &impl Hash) -> Option<i64> {
    state.accessor.as_ref()?;
    let period = period(state, wish)?;
    Some(state.issued.saturating_add(seconds(spread(period, seed))))
}

/// When something is to be done next.
pub fn next(state: &State, wish: &AppRoleWish, seed: &impl Hash) -> Option<i64> {
    let ends = state.previous.iter().map(|old| old.until);
    ends.chain(due(state, wish, seed)).min()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
