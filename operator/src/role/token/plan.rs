//! What to do about a delivered token. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// How long a token that was replaced stays valid, for who has not read the new one yet; never more than a quarter of
/// a token's life.
const OVERLAP: Duration = Duration::from_secs(120);

/// The token in the Secret, as its annotations say and Vault confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long it still lives.
    pub left: Duration,
    /// How old it is.
    pub age: Duration,
    /// How long it can live at most from now with renewals. None: without end.
    pub longest: Option<Duration>,
    /// Whether it can be renewed at all.
    pub renewable: bool,
    /// Whether it was minted with the settings as they are now.
    pub current: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is good. Look again after this time.
    Keep(Duration),
    /// Renew it.
    Renew,
    /// Mint another one. The one before stays valid for this long.
    Replace(Duration),
}

/// Decides about a token whose life is `life`. None held: there is none, or it is not the one that was stored, or Vault
/// does not know it.
pub fn plan(held: Option<&Held>, life: Duration) -> Plan {
    let Some(held) = held else {
        return Plan::Replace(Duration::ZERO);
    };
    let Held {
        left,
        age: _,
        longest,
        renewable,
        current,
    } = held;
    let overlap = OVERLAP.min(life / 4);
    if !current {
        return Plan::Replace(overlap);
    }
    let half = life / 2;
    if *left > half {
        return Plan::Keep(left.saturating_sub(half).max(Duration::from_secs(1)));
    }
    // One that cannot get another whole life is replaced while the other half of this one is left to read the new one.
    if *renewable && longest.is_none_or(|longest| longest >= life) {
        Plan::Renew
    } else {
        Plan::Replace(overlap)
    }
}

/// What follows from a renewal that gave a token of this age so long to live from now on. Vault may give less than was asked
/// for, without a word: the maximum of its mount was lowered, or is near.
pub fn renewed(given: Duration, age: Duration, life: Duration) -> Plan {
    // What another one would get.
    let fresh = life.min(given.saturating_add(age));
    let half = fresh / 2;
    if given > half {
        Plan::Keep(given.saturating_sub(half).max(Duration::from_secs(1)))
    } else {
        Plan::Replace(OVERLAP.min(fresh / 4))
    }
}

/// How long until then; nothing when it is past.
pub fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn held(left_minutes: u64, longest_minutes: Option<u64>) -> Held {
        Held {
            left: Duration::from_secs(left_minutes * 60),
            age: Duration::from_secs(60),
            longest: longest_minutes.map(|minutes| Duration::from_secs(minutes * 60)),
            renewable: true,
            current: true,
        }
    }

    #[test]
    fn a_token_is_renewed_at_half_of_its_life_and_replaced_when_no_whole_one_is_left() {
        assert_eq!(
            plan(Some(&held(60, Some(240))), HOUR),
            Plan::Keep(HOUR / 2),
            "fresh"
        );
        assert_eq!(
            plan(Some(&held(31, Some(240))), HOUR),
            Plan::Keep(Duration::from_secs(60))
        );
        assert_eq!(
            plan(Some(&held(30, Some(60))), HOUR),
            Plan::Renew,
            "one more life"
        );
        assert_eq!(
            plan(Some(&held(30, Some(59))), HOUR),
            Plan::Replace(OVERLAP),
            "Vault would cut the next life short"
        );
        assert_eq!(plan(Some(&held(30, None)), HOUR), Plan::Renew, "periodic");
        assert_eq!(
            plan(Some(&held(1, Some(240))), HOUR),
            Plan::Renew,
            "just minted: its first life is short until it is known to be stored"
        );
    }

    #[test]
    fn a_token_that_cannot_be_renewed_or_is_of_other_settings_is_replaced_with_an_overlap() {
        let batch = Held {
            renewable: false,
            ..held(30, None)
        };
        assert_eq!(plan(Some(&batch), HOUR), Plan::Replace(OVERLAP));
        let old = Held {
            current: false,
            ..held(60, None)
        };
        assert_eq!(plan(Some(&old), HOUR), Plan::Replace(OVERLAP), "at once");
        let short = Duration::from_secs(40);
        assert_eq!(plan(Some(&batch), short), Plan::Keep(Duration::from_secs(1780)));
        assert_eq!(
            plan(
                Some(&Held {
                    left: Duration::ZERO,
                    ..batch
                }),
                short
            ),
            Plan::Replace(Duration::from_secs(10)),
            "a quarter of a short life"
        );
    }

    #[test]
    fn a_renewal_that_gave_less_than_was_asked_for_leaves_no_dead_token_in_the_secret() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(
            renewed(HOUR, minutes(30), HOUR),
            Plan::Keep(HOUR / 2),
            "all of it"
        );
        // The mount allows 20 minutes in all.
        assert_eq!(
            renewed(minutes(20), Duration::ZERO, HOUR),
            Plan::Keep(minutes(10)),
            "another one would get no more: it is looked at in time"
        );
        assert_eq!(
            renewed(minutes(10), minutes(10), HOUR),
            Plan::Replace(OVERLAP),
            "another one gets twice as much"
        );
        assert_eq!(
            renewed(minutes(29), HOUR * 3, HOUR),
            Plan::Replace(OVERLAP),
            "it is near its end, whatever the operator's clock says"
        );
        assert_eq!(
            renewed(minutes(45), HOUR * 3, HOUR),
            Plan::Keep(minutes(15)),
            "looked at again while enough is left"
        );
    }

    #[test]
    fn a_secret_without_a_token_that_lives_gets_one_at_once() {
        assert_eq!(
            plan(None, HOUR),
            Plan::Replace(Duration::ZERO),
            "nobody uses the one before"
        );
    }
}
