//! Whether a secret-id is replaced, which others work on, and when to look again. Pure.

use std::hash::Hash;
use std::time::Duration;

use super::state::{Held, Previous, State, Wrapping, remembered};
use crate::backoff::spread;
use crate::role::validate::{AppRoleWish, Period};

/// So many earlier ones work at a time at most. More come only from many requests within one overlap.
const MOST_PREVIOUS: usize = 5;

/// By so much clocks may differ: of the machine now and the one where the operator ran before.
const SKEW: i64 = 300;

/// What was found. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What is remembered on the Secret.
    pub state: Option<State>,
    /// Whether the credentials in the Secret are those that were stored, for the role as it is.
    pub intact: bool,
    /// What has become of the wrapping token in the Secret.
    pub token: Token,
    /// Accessors of all secret-ids that Vault has at this role.
    pub known: Vec<String>,
    /// The request on the VaultRole.
    pub request: Option<String>,
    /// Now.
    pub now: i64,
}

/// What has become of a wrapping token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// There is none, or none that could be asked for.
    None,
    /// Nobody has used it.
    Waiting,
    /// It was used, or has expired.
    Gone,
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
    /// The consumer has unwrapped it, and needs another one for its next start.
    Taken,
    /// Its wrapping token has expired before anybody looked: it was unwrapped, or not.
    Late,
    /// Its wrapping token is about to expire.
    Stale,
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
            Self::Taken => "the one before was unwrapped",
            Self::Late => "the wrapping token has expired",
            Self::Stale => "the wrapping token was about to expire",
        }
    }

    /// Whether those who hold the one before have to take another one.
    fn rotates(self) -> bool {
        match self {
            Self::First | Self::Taken | Self::Late | Self::Stale => false,
            Self::Edited | Self::Moved | Self::Lost | Self::Changed | Self::Requested | Self::Due => true,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Make a secret-id and store it, and why.
    pub issue: Option<Cause>,
    /// Earlier ones that work on.
    pub previous: Vec<Previous>,
    /// Those that the consumer holds, or may hold.
    pub unwrapped: Vec<Held>,
    /// Whoever uses the credentials has to take others.
    pub rotates: bool,
    /// The wrapping token in the Secret is to be used up once the next one is stored: it is this secret-id's.
    pub take_back: Option<String>,
}

/// Decides.
pub fn plan(seen: &Seen, wish: &AppRoleWish, uid: &str) -> Plan {
    let Seen {
        state,
        intact,
        token,
        known,
        request: _,
        now,
    } = seen;
    let is_known = |accessor: &String| known.contains(accessor);
    let Some(state) = state else {
        return Plan {
            issue: Some(Cause::First),
            // There were some: somebody has deleted the Secret, and they end now.
            rotates: !known.is_empty(),
            ..Plan::default()
        };
    };
    if !wish.bind_secret_id {
        // No login needs one any more.
        let is_there = state.accessor.is_none() && *intact;
        return Plan {
            issue: (!is_there).then_some(Cause::Changed),
            ..Plan::default()
        };
    }
    let end = |held: Held| {
        let end = now.saturating_add(seconds(wish.rotation.overlap(period(&held, wish))));
        Previous {
            until: held.expires.map_or(end, |expires| end.min(expires)),
            accessor: held.accessor,
        }
    };
    let issue = cause(seen, state, wish, uid);
    // One that the application has used up itself is no reason to restart it: that would go on for ever.
    let is_used_up = issue == Some(Cause::Lost) && wish.num_uses > 0;
    let rotates = issue.is_some_and(Cause::rotates) && !is_used_up;
    // None works longer from now on than one that ends now would: a clock that was ahead, or somebody who edited the Secret,
    // has said otherwise.
    let latest = now.saturating_add(seconds(wish.rotation.overlap(None)));
    let mut previous: Vec<Previous> = state.previous.clone();
    for old in &mut previous {
        old.until = old.until.min(latest);
    }
    // Of those that the consumer may hold some end: all by a rotation or plain delivery, others when their time has come.
    let ends = |held: &Held| rotates || wish.wrap.is_none() || is_due(held, wish, &uid, *now);
    let (ended, mut unwrapped): (Vec<Held>, Vec<Held>) = state.unwrapped.iter().cloned().partition(ends);
    let any_ended = !ended.is_empty();
    previous.extend(ended.into_iter().map(end));
    if is_used_up && state.wrapping.is_some() {
        // The consumer has used the one after them.
        previous.extend(unwrapped.drain(..).map(end));
    }
    let mut take_back = None;
    if let (Some(cause), Some(current)) = (issue, Held::of(state).filter(|held| is_known(&held.accessor))) {
        match (&state.wrapping, cause) {
            (Some(_), Cause::Taken) => {
                // The consumer holds this one now, and has no use for what it held before.
                previous.extend(unwrapped.drain(..).map(end));
                unwrapped.push(current);
            }
            (Some(_), _) if *token == Token::Waiting => {
                take_back = Some(current.accessor.clone());
                unwrapped.push(current);
            }
            (Some(_), Cause::Late) => unwrapped.push(current),
            _ => previous.push(end(current)),
        }
    }
    let surplus = unwrapped.len().saturating_sub(MOST_PREVIOUS);
    previous.extend(unwrapped.drain(..surplus).map(end));
    unwrapped.retain(|held| is_known(&held.accessor));
    previous.retain(|old| old.until > *now && is_known(&old.accessor));
    let surplus = previous.len().saturating_sub(MOST_PREVIOUS);
    previous.drain(..surplus);
    Plan {
        issue,
        previous,
        unwrapped,
        rotates: rotates || any_ended,
        take_back,
    }
}

/// Why another secret-id is to be made; none while this one will do.
fn cause(seen: &Seen, state: &State, wish: &AppRoleWish, uid: &str) -> Option<Cause> {
    let Seen {
        state: _,
        intact,
        token,
        known,
        request,
        now,
    } = seen;
    let Some(current) = Held::of(state) else {
        return Some(Cause::Changed);
    };
    let asked = request.as_deref().map(remembered);
    if !known.contains(&current.accessor) {
        return Some(Cause::Lost);
    }
    if !intact {
        return Some(Cause::Edited);
    }
    if state.made_with != made_with(wish) {
        return Some(Cause::Changed);
    }
    if asked.is_some() && asked != state.request {
        return Some(Cause::Requested);
    }
    let wrapping = state.wrapping.as_ref();
    match (token, wrapping) {
        (Token::Gone, Some(wrapping)) if *now < wrapping.expires() => return Some(Cause::Taken),
        (Token::Gone, Some(_)) => return Some(Cause::Late),
        _ => {}
    }
    if is_due(&current, wish, &uid, *now) {
        return Some(Cause::Due);
    }
    wrapping
        .is_some_and(|wrapping| wrapping.due() <= *now)
        .then_some(Cause::Stale)
}

impl Plan {
    /// What is kept once it is known whether the wrapping token that was to be used up had been taken by the consumer. Until
    /// then its secret-id counts as one that may be held.
    pub fn taken_back(&self, state: &State, accessor: &str, was_taken: bool, ends: i64) -> State {
        let mut state = state.clone();
        let (of_it, others): (Vec<Held>, Vec<Held>) = state
            .unwrapped
            .drain(..)
            .partition(|held| held.accessor == accessor);
        let end = |held: Held| Previous {
            until: held.expires.map_or(ends, |expires| ends.min(expires)),
            accessor: held.accessor,
        };
        if !was_taken {
            // Nobody can have it: it becomes a stray.
            state.unwrapped = others;
        } else if self.rotates {
            state.unwrapped = others;
            state.previous.extend(of_it.into_iter().map(end));
        } else {
            state.previous.extend(others.into_iter().map(end));
            state.unwrapped = of_it;
        }
        state
    }
}

impl Held {
    /// The secret-id of a state.
    pub fn of(state: &State) -> Option<Self> {
        Some(Self {
            accessor: state.accessor.clone()?,
            issued: state.issued,
            expires: state.expires,
        })
    }
}

impl Wrapping {
    /// When it ends.
    pub fn expires(&self) -> i64 {
        self.issued.saturating_add(self.ttl)
    }

    /// When it is replaced if nobody has used it: after two thirds of its life.
    fn due(&self) -> i64 {
        self.issued.saturating_add(self.ttl.saturating_mul(2) / 3)
    }
}

/// The parameters that a secret-id is made with.
pub fn made_with(wish: &AppRoleWish) -> String {
    let wrap = wish.wrap.map(|ttl| format!(" wrap={}", ttl.as_secs()));
    let (ttl, uses) = (wish.ttl.as_secs(), wish.num_uses);
    format!("ttl={ttl} uses={uses}{}", wrap.unwrap_or_default())
}

/// Accessors that are neither stored nor work on by intention: left by a crash, made by hand, or over.
pub fn strays(known: &[String], state: &State) -> Vec<String> {
    let is_kept = |accessor: &&String| {
        state.accessor.as_ref() == Some(*accessor)
            || state.previous.iter().any(|old| old.accessor == **accessor)
            || state.unwrapped.iter().any(|held| held.accessor == **accessor)
    };
    known
        .iter()
        .filter(|accessor| !is_kept(accessor))
        .cloned()
        .collect()
}

/// At which age a secret-id is replaced at the latest.
pub fn period(held: &Held, wish: &AppRoleWish) -> Option<Duration> {
    let life = held.expires.map(|expires| {
        let life = u64::try_from(expires.saturating_sub(held.issued)).unwrap_or_default();
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

/// When a secret-id is replaced: up to a quarter early, so that many that were made together are not replaced together.
pub fn due(held: &Held, wish: &AppRoleWish, seed: &impl Hash) -> Option<i64> {
    let period = period(held, wish)?;
    Some(held.issued.saturating_add(seconds(spread(period, seed))))
}

/// Whether its time has come. One that was made by a clock that was ahead would else be kept until it has long expired.
fn is_due(held: &Held, wish: &AppRoleWish, seed: &impl Hash, now: i64) -> bool {
    due(held, wish, seed).is_some_and(|due| due <= now || held.issued > now.saturating_add(SKEW))
}

/// When something is to be done next.
pub fn next(state: &State, wish: &AppRoleWish, seed: &impl Hash) -> Option<i64> {
    let ends = state.previous.iter().map(|old| old.until);
    let held = state.unwrapped.iter().cloned().chain(Held::of(state));
    let dues = held.filter_map(|held| due(&held, wish, seed));
    let wrapping = state.wrapping.iter().map(Wrapping::due);
    ends.chain(dues).chain(wrapping).min()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "plan_wrapped_tests.rs"]
mod wrapped_tests;
