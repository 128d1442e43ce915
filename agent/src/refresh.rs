//! When to ask Vault again for a secret: decided from its answer, without I/O.

use std::time::Duration;

use vaultkeeper_template::Value;

/// A renewal that granted less than the lease had at first by more than this met its maximum; servers round to seconds.
const SLACK: Duration = Duration::from_secs(2);

/// No secret is asked for more often than this because of what its answer says.
const LEAST: Duration = Duration::from_secs(1);

/// Nothing is waited for longer than this: a server may say any number, and clocks cannot add all of them.
const MOST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What matters about an answer for its next fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It has a lease id.
    pub(crate) leased: bool,
    pub(crate) renewable: bool,
    pub(crate) duration: Duration,
    /// When to ask again, exactly: for an answer that was judged before.
    pub(crate) due: Option<Duration>,
    /// It ends by itself, without a lease: a certificate with its expiration, a secret-id, a token made by a write.
    pub(crate) ends: Option<Duration>,
    /// A password that the server rotates (static roles of databases and directories): when it does next. Zero while a
    /// rotation is under way.
    pub(crate) rotates: Option<Duration>,
    /// How often to read it, as it says itself (the key `ttl` or `lease` of KV version 1).
    pub(crate) own_interval: Option<Duration>,
    /// It lives no longer than this, and may be read earlier (`identity/oidc/token`).
    pub(crate) lives: Option<Duration>,
}

/// What to do, counted from the fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask again.
    Read(Duration),
    /// Renew the lease.
    Renew(Duration),
}

/// The user's settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// How often secrets without a lease are read again.
    pub(crate) interval: Duration,
    /// The part of a lease after which a secret that cannot be renewed is read again.
    pub(crate) threshold: f64,
}

impl Facts {
    /// What ends never and is read at the interval.
    pub(crate) fn none() -> Self {
        Self {
            leased: false,
            renewable: false,
            duration: Duration::ZERO,
            due: None,
            ends: None,
            rotates: None,
            own_interval: None,
            lives: None,
        }
    }

    /// It ends after this time, which is not said in its data: a token made by a write.
    pub(crate) fn ends_in(&mut self, left: Duration) {
        self.ends = Some(left.min(MOST));
    }

    /// Reads the facts out of an answer. `now` is the time since 1970.
    pub(crate) fn of(leased: bool, renewable: bool, duration: Duration, data: &Value, now: Duration) -> Self {
        let duration = duration.min(MOST);
        let lease = Self {
            leased,
            renewable,
            duration,
            ..Self::none()
        };
        let Value::Map(entries) = data else { return lease };
        if leased {
            return lease;
        }
        let number = |key: &str| match entries.get(key) {
            Some(Value::Number(text)) => text.parse().ok(),
            _ => None,
        };
        let seconds = |key: &str| number(key).map(|number| Duration::from_secs(number).min(MOST));
        let holds = |key: &str| entries.contains_key(key);
        // One that has ended already by our clock: the clock is wrong, and asking again at once would give the same.
        let certificate = number("expiration")
            .filter(|_| holds("certificate"))
            .and_then(|end| Duration::from_secs(end).checked_sub(now))
            .filter(|left| !left.is_zero())
            .map(|left| left.min(MOST));
        let secret_id = seconds("secret_id_ttl").filter(|ttl| holds("secret_id") && !ttl.is_zero());
        let rotates = seconds("ttl").filter(|_| holds("rotation_period"));
        // Only KV version 1 gives a duration without a lease: the mount's default, or what the secret itself asks for.
        let own_interval = (holds("ttl") || holds("lease")) && rotates.is_none() && !duration.is_zero();
        let lives = seconds("ttl").filter(|ttl| rotates.is_none() && duration.is_zero() && !ttl.is_zero());
        Self {
            ends: certificate.or(secret_id),
            rotates,
            own_interval: own_interval.then_some(duration),
            lives,
            ..lease
        }
    }
}

/// Decides the next step. `asked` is the interval that the user set for this secret; `chance` is in 0..1.
pub(crate) fn next(facts: &Facts, settings: &Settings, asked: Option<Duration>, chance: f64) -> Next {
    let Facts {
        leased,
        renewable,
        duration,
        due,
        ends,
        rotates,
        own_interval,
        lives,
    } = facts;
    if let Some(due) = due {
        return Next::Read((*due).max(LEAST));
    }
    if *leased && !duration.is_zero() {
        return lease(*duration, *duration, *renewable, settings, chance);
    }
    if let Some(rotates) = rotates {
        // One second after the rotation, never before: the old password would be rendered.
        return Next::Read(*rotates + Duration::from_secs(1));
    }
    if let Some(left) = ends {
        return Next::Read(early(*left, settings, chance).max(LEAST));
    }
    let interval = match (asked, *own_interval) {
        (Some(asked), Some(own)) => asked.min(own),
        (Some(interval), None) | (None, Some(interval)) => interval,
        // Also for KV version 1, which reports a lease of a month that nobody means.
        (None, None) => settings.interval,
    };
    let after = interval.mul_f64(0.9 + spread(chance));
    let before_end = lives.map(|left| early(left, settings, chance).max(LEAST));
    Next::Read(before_end.map_or(after, |end| end.min(after)))
}

/// The shorter of the intervals that two templates ask for; `None` is the one that is set for all.
pub(crate) fn shorter(a: Option<Duration>, b: Option<Duration>, settings: &Settings) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other).filter(|interval| *interval < settings.interval),
    }
}

/// Decides the next step of a lease of which the server granted `granted`, and `first` at its beginning.
///
/// At its maximum a lease comes out shorter and renewing no longer moves its end. The secret is then replaced while a
/// third of its first duration is left: the application has that time to change over.
pub(crate) fn lease(
    first: Duration,
    granted: Duration,
    renewable: bool,
    settings: &Settings,
    chance: f64,
) -> Next {
    let granted = granted.min(MOST);
    if !renewable {
        return Next::Read(early(granted, settings, chance));
    }
    if granted + SLACK < first || granted < first / 2 {
        return Next::Read(granted.saturating_sub(first / 3));
    }
    Next::Renew(granted.mul_f64((2.0 / 3.0) * (1.0 - 0.1 * chance.clamp(0.0, 1.0))))
}

/// The part of a life after which its end is near: the threshold and a twentieth around it, as consul-template has it.
fn early(whole: Duration, settings: &Settings, chance: f64) -> Duration {
    let part = settings.threshold + spread(chance);
    let part = if part > 0.0 && part < 1.0 {
        part
    } else {
        settings.threshold
    };
    whole.mul_f64(part.clamp(0.0, 1.0))
}

/// From -0.05 to 0.05.
fn spread(chance: f64) -> f64 {
    (chance.clamp(0.0, 1.0) - 0.5) / 10.0
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
