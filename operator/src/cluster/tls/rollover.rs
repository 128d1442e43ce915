//! The replacement of a managed CA, step by step. Pure: what there is lies in the CA Secret, and each step is one write
//! to it, so that a crash between any two leaves a state from which the same steps go on.
//!
//! At rest there is one CA. *Begin* stores a new one beside it: from then on both are trusted, and members and clients
//! are given both. *Promote*, once all of them have both and had time: the new one signs, the old one is trusted still.
//! *Finish*, once all members show a certificate of the new one and clients had time again: the old one goes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::Issued;
use super::certificate::Facts;

/// The CAs of a cluster.
pub struct Authority {
    /// The one that signs.
    pub current: Issued,
    /// The one that is to sign, trusted already.
    pub next: Option<Issued>,
    /// The certificate of the one that has signed, trusted still.
    pub previous: Option<String>,
    /// Since when everything has been in place for the next step.
    pub since: Option<Timestamp>,
}

impl Authority {
    /// The certificates (PEM) that members and clients are to trust.
    pub fn bundle(&self) -> String {
        let Self {
            current,
            next,
            previous,
            since: _,
        } = self;
        let next = next.as_ref().map(|next| next.certificate.as_str());
        let all = [Some(current.certificate.as_str()), next, previous.as_deref()];
        join(all.into_iter().flatten())
    }

    /// Which half of a replacement is under way.
    pub fn phase(&self) -> Phase {
        match (&self.next, &self.previous) {
            (Some(_), _) => Phase::Distributing,
            (None, Some(_)) => Phase::Retiring,
            (None, None) => Phase::AtRest,
        }
    }
}

/// Certificates one after the other. A single one stays as it is.
pub fn join<'a>(certificates: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = certificates.collect();
    match all.as_slice() {
        [one] => (*one).to_owned(),
        several => several.iter().flat_map(|pem| [pem.trim_end(), "\n"]).collect(),
    }
}

/// How far a replacement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is one CA.
    AtRest,
    /// The new CA is given to everybody, the old one signs.
    Distributing,
    /// The new CA signs, the old one is trusted still.
    Retiring,
}

/// What was seen.
pub struct Seen<'a> {
    /// The CA that signs, if it could be read.
    pub ca: Option<&'a Facts>,
    /// Why the CA is to be replaced, if somebody asks for it.
    pub asked: Option<&'a str>,
    /// Who does not have yet what this phase gives to everybody: members that show another certificate than the stored
    /// one, ConfigMaps with another bundle.
    pub behind: &'a [String],
    /// How long each half lasts at least.
    pub overlap: Duration,
    /// The present.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be replaced.
    Rest,
    /// Make and store a new CA, for this reason.
    Begin(String),
    /// Wait for those who are behind.
    AwaitThem,
    /// Note that nobody is behind any more.
    Note,
    /// Wait until then.
    AwaitTime(Timestamp),
    /// Let the new CA sign.
    Promote,
    /// Trust the old CA no more.
    Finish,
}

/// Decides.
pub fn next(authority: &Authority, seen: &Seen<'_>) -> Step {
    let Seen {
        ca,
        asked,
        behind,
        overlap,
        now,
    } = seen;
    let last = match authority.phase() {
        Phase::AtRest => {
            return match (asked, ca) {
                (Some(reason), _) => Step::Begin((*reason).to_owned()),
                (None, Some(ca)) if ca.is_due(*now) => Step::Begin(format!(
                    "two thirds of its life are over, it expires at {}",
                    ca.not_after
                )),
                (None, _) => Step::Rest,
            };
        }
        // What it signs is accepted by nobody: there is nothing to wait for.
        Phase::Distributing if ca.is_some_and(|ca| ca.not_after <= *now) => return Step::Promote,
        Phase::Distributing => Step::Promote,
        Phase::Retiring => Step::Finish,
    };
    if !behind.is_empty() {
        return Step::AwaitThem;
    }
    let Some(since) = authority.since else {
        return Step::Note;
    };
    // A time that cannot be computed is one that never comes.
    match since.checked_add(*overlap) {
        Ok(end) if end <= *now => last,
        Ok(end) => Step::AwaitTime(end),
        Err(_) => Step::AwaitTime(Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::examine;
    use super::super::new_ca;
    use super::*;

    const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const DAY: Duration = Duration::from_secs(86_400);

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(START.as_second() + seconds).unwrap()
    }

    fn ca() -> Issued {
        new_ca("vault", "main", START).unwrap()
    }

    fn authority(next: bool, previous: bool, since: Option<Timestamp>) -> Authority {
        Authority {
            current: ca(),
            next: next.then(ca),
            previous: previous.then(|| ca().certificate),
            since,
        }
    }

    fn decide(authority: &Authority, asked: Option<&str>, behind: &[&str], now: Timestamp) -> Step {
        let facts = examine(&authority.current.certificate).unwrap();
        let behind: Vec<String> = behind.iter().map(|b| (*b).to_owned()).collect();
        let seen = Seen {
            ca: Some(&facts),
            asked,
            behind: &behind,
            overlap: DAY,
            now,
        };
        next(authority, &seen)
    }

    #[test]
    fn a_ca_is_replaced_after_two_thirds_of_its_life_or_when_somebody_asks() {
        let at_rest = authority(false, false, None);
        let years = |n: i64| after(n * 365 * 86_400);
        assert_eq!(decide(&at_rest, None, &[], START), Step::Rest);
        assert_eq!(decide(&at_rest, None, &[], years(6)), Step::Rest);
        assert!(
            matches!(decide(&at_rest, None, &[], years(7)), Step::Begin(why) if why.contains("two thirds"))
        );
        assert_eq!(
            decide(&at_rest, Some("leaked"), &[], START),
            Step::Begin("leaked".to_owned())
        );
        assert_eq!(
            decide(&at_rest, Some("leaked"), &["main-2"], START),
            Step::Begin("leaked".to_owned()),
            "to trust one more harms nobody"
        );
    }

    #[test]
    fn the_new_ca_signs_only_when_everybody_has_had_both_for_the_stated_time() {
        let of = |since| authority(true, false, since);
        assert_eq!(decide(&of(None), None, &["main-2"], START), Step::AwaitThem);
        assert_eq!(decide(&of(None), None, &[], START), Step::Note);
        assert_eq!(
            decide(&of(Some(START)), None, &[], after(86_399)),
            Step::AwaitTime(after(86_400))
        );
        assert_eq!(decide(&of(Some(START)), None, &[], after(86_400)), Step::Promote);
        assert_eq!(
            decide(&of(Some(START)), None, &["main-2"], after(86_400)),
            Step::AwaitThem,
            "a member that came anew meanwhile"
        );
        assert_eq!(
            decide(&of(Some(START)), Some("again"), &[], after(86_400)),
            Step::Promote,
            "one replacement at a time"
        );
    }

    #[test]
    fn an_old_ca_that_has_expired_meanwhile_is_not_waited_for() {
        let rolling = authority(true, false, None);
        let end = examine(&rolling.current.certificate).unwrap().not_after;
        assert_eq!(
            decide(&rolling, None, &["main-2"], end),
            Step::Promote,
            "nobody accepts what it signs"
        );
        let just_before = Timestamp::from_second(end.as_second() - 1).unwrap();
        assert_eq!(decide(&rolling, None, &["main-2"], just_before), Step::AwaitThem);
        let retiring = authority(false, true, None);
        assert_eq!(
            decide(&retiring, None, &["main-2"], START),
            Step::AwaitThem,
            "the new one is good: clients need their time"
        );
    }

    #[test]
    fn the_old_ca_goes_only_when_every_member_has_shown_the_new_one_for_the_stated_time() {
        let of = |since| authority(false, true, since);
        assert_eq!(decide(&of(None), None, &["main-0"], START), Step::AwaitThem);
        assert_eq!(decide(&of(None), None, &[], START), Step::Note);
        assert_eq!(
            decide(&of(Some(START)), None, &[], after(1)),
            Step::AwaitTime(after(86_400))
        );
        assert_eq!(decide(&of(Some(START)), None, &[], after(86_400)), Step::Finish);
    }

    #[test]
    fn both_cas_are_in_the_bundle_in_between_and_one_is_left_as_it_is() {
        let count = |authority: &Authority| authority.bundle().matches("BEGIN CERTIFICATE").count();
        let one = authority(false, false, None);
        assert_eq!(one.bundle(), one.current.certificate);
        assert_eq!(count(&authority(true, false, None)), 2);
        assert_eq!(count(&authority(false, true, None)), 2);
    }
}
