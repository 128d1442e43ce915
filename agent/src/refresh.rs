//! When to ask Vault again for a secret: decided from its lease, without I/O.

use std::time::Duration;

use vaultkeeper_template::Value;

/// What matters about an answer for its next fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It has a lease id.
    pub(crate) leased: bool,
    pub(crate) renewable: bool,
    pub(crate) duration: Duration,
    /// A certificate without a lease: how long it is still valid.
    pub(crate) certificate: Option<Duration>,
    /// A password that the server rotates (static database roles): when it does next.
    pub(crate) rotates: Option<Duration>,
    /// A secret-id made by a write: how long it lives.
    pub(crate) secret_id: Option<Duration>,
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
    /// Reads the facts out of an answer. `now` is the time in seconds since 1970.
    pub(crate) fn of(leased: bool, renewable: bool, duration: Duration, data: &Value, now: u64) -> Self {
        let number = |key: &str| match data {
            Value::Map(entries) => match entries.get(key) {
                Some(Value::Number(text)) => text.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        };
        let holds = |key: &str| matches!(data, Value::Map(entries) if entries.contains_key(key));
        let certificate = number("expiration").filter(|_| holds("certificate") && !leased);
        let rotates = number("ttl").filter(|_| holds("rotation_period") && !leased);
        let secret_id = number("secret_id_ttl").filter(|ttl| holds("secret_id") && !leased && *ttl > 0);
        Self {
            leased,
            renewable,
            duration,
            certificate: certificate.map(|end| Duration::from_secs(end.saturating_sub(now))),
            rotates: rotates.map(Duration::from_secs),
            secret_id: secret_id.map(Duration::from_secs),
        }
    }
}

/// Decides the next step. `chance` is in 0..1.
pub(crate) fn next(facts: &Facts, settings: &Settings, chance: f64) -> Next {
    let Facts {
        leased,
        renewable,
        duration,
        certificate,
        rotates,
        secret_id,
    } = facts;
    let spread = (chance.clamp(0.0, 1.0) - 0.5) / 10.0;
    let early = |whole: Duration| whole.mul_f64((settings.threshold + spread).clamp(0.01, 0.99));
    if *leased && !duration.is_zero() {
        return if *renewable {
            Next::Renew(duration.mul_f64(2.0 / 3.0 + spread))
        } else {
            Next::Read(early(*duration))
        };
    }
    if let Some(rotates) = rotates {
        // One second after the rotation, never before: the old password would be rendered.
        return Next::Read(*rotates + Duration::from_secs(1));
    }
    if let Some(left) = certificate.or(*secret_id) {
        return Next::Read(early(left).max(Duration::from_secs(1)));
    }
    // The static interval, also for KV version 1, which reports a lease of a month that nobody means.
    Next::Read(settings.interval.mul_f64(0.9 + spread))
}

/// Whether a renewed lease is worth keeping: at its maximum the server grants less and less.
pub(crate) fn is_spent(first: Duration, granted: Duration) -> bool {
    granted < first / 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use vaultkeeper_template::json::{Numbers, parse};

    fn settings() -> Settings {
        Settings {
            interval: Duration::from_secs(300),
            threshold: 0.9,
        }
    }

    fn facts(leased: bool, renewable: bool, seconds: u64, data: &str) -> Facts {
        let data = parse(data, Numbers::AsSent).unwrap();
        Facts::of(leased, renewable, Duration::from_secs(seconds), &data, 1_000)
    }

    #[test]
    fn a_secret_without_a_lease_follows_the_interval_with_jitter() {
        let facts = facts(false, false, 0, "{}");
        assert_eq!(
            next(&facts, &settings(), 0.0),
            Next::Read(Duration::from_secs(255))
        );
        assert_eq!(
            next(&facts, &settings(), 1.0),
            Next::Read(Duration::from_secs(285))
        );
    }

    #[test]
    fn kv_version_1_follows_the_interval_and_not_its_month_long_lease() {
        let facts = facts(false, false, 2_764_800, "{\"a\":1}");
        assert_eq!(
            next(&facts, &settings(), 0.5),
            Next::Read(Duration::from_secs(270))
        );
    }

    #[test]
    fn a_renewable_lease_is_renewed_and_another_read_again_before_its_end() {
        let renewable = next(&facts(true, true, 300, "{}"), &settings(), 0.5);
        assert_eq!(renewable, Next::Renew(Duration::from_secs(200)));
        assert_eq!(
            next(&facts(true, false, 100, "{}"), &settings(), 0.5),
            Next::Read(Duration::from_secs(90))
        );
    }

    #[test]
    fn a_certificate_is_issued_again_only_near_its_end() {
        let facts = facts(false, false, 0, "{\"certificate\":\"x\",\"expiration\":2000}");
        assert_eq!(
            next(&facts, &settings(), 0.5),
            Next::Read(Duration::from_secs(900))
        );
    }

    #[test]
    fn a_rotated_password_is_read_just_after_its_rotation() {
        let facts = facts(
            false,
            false,
            0,
            "{\"rotation_period\":60,\"ttl\":25,\"password\":\"x\"}",
        );
        assert_eq!(
            next(&facts, &settings(), 0.5),
            Next::Read(Duration::from_secs(26))
        );
    }

    #[test]
    fn a_lease_at_its_maximum_is_spent() {
        assert!(!is_spent(Duration::from_secs(300), Duration::from_secs(299)));
        assert!(is_spent(Duration::from_secs(300), Duration::from_secs(90)));
    }
}
