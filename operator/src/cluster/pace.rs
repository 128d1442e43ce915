//! When to look at a cluster again. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::keys::KeyRecord;
use super::rollout::Verdict;
use super::volumes::Report;
use super::{Pass, seals};
use crate::controllers::hash;
use crate::members::{Member, Probe};

/// While something is under way: a restarted member is to be unsealed within a second.
pub(super) const SOON: Duration = Duration::from_millis(250);
/// While new members wait for their vote, or a seal may have been meant.
pub(super) const SETTLING: Duration = Duration::from_secs(2);
/// At rest: a seal through the API makes no Kubernetes event.
pub(super) const AT_REST: Duration = Duration::from_secs(5);
/// How long after the last change something counts as under way.
const LIVELY: Duration = Duration::from_secs(60);

/// What a pass has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Nothing can go on without a person: a block, or a cluster that is sealed on purpose.
    pub(super) waits_for_a_person: bool,
    /// A step asks for another look, a member is awaited, or the configuration is not in place and nobody has to mend it.
    pub(super) under_way: bool,
    /// A member may have been sealed on purpose, has no vote yet, or is to be restarted when the others allow it.
    pub(super) settling: bool,
}

/// A member whose server is to answer, or to join, without anybody's help.
pub(super) fn is_awaited(member: &Member) -> bool {
    matches!(member.probe, Probe::Uninitialized | Probe::Unreachable(_))
}

/// What matters of a pass. `again`: a step asks for another look.
pub(super) fn see(pass: &Pass, replicas: u32, again: bool) -> Seen {
    let held = pass
        .record
        .as_ref()
        .map(|r| seals::held(&pass.members, &r.seals))
        .unwrap_or_default();
    let latched = pass.record.as_ref().map(|r| &r.seals.latched);
    // A pod that cannot start makes an event when it does.
    let people_unseal = pass.record.as_ref().is_some_and(|r| r.custody.is_some());
    let sealed = |m: &Member| matches!(m.probe, Probe::Sealed { .. }) && !held.contains(&m.name);
    let to_unseal = |m: &Member| sealed(m) && !people_unseal;
    let being_unsealed = |m: &Member| people_unseal && matches!(m.probe, Probe::Sealed { progress: 1.. });
    // Without a leader nothing goes on but by the custodians, unless a server is on its way up.
    let custodians_only = people_unseal
        && pass.members.iter().any(sealed)
        && !pass
            .members
            .iter()
            .any(|m| m.probe == Probe::Active || is_awaited(m));
    let voters = pass
        .raft
        .as_ref()
        .map(|(configuration, _)| configuration.voters());
    Seen {
        waits_for_a_person: pass.plan.blocked.is_some()
            || custodians_only && !pass.members.iter().any(being_unsealed)
            || latched.is_some_and(|latched| seals::holds_all(latched, pass.members.len())),
        under_way: again
            || pass.members.iter().any(|m| is_awaited(m) || to_unseal(m))
            || !pass.configured && pass.problem().is_none() && pass.members.iter().any(|m| m.node.is_some()),
        settling: pass.rollout.as_ref().is_some_and(Verdict::goes_on_by_itself)
            || pass.resizing.as_ref().is_some_and(|resizing| resizing.goes_on)
            || pass.volumes.as_ref().is_some_and(Report::goes_on)
            || pass.members.iter().any(being_unsealed)
            || held.len() > latched.map_or(0, BTreeSet::len)
            || voters.is_some_and(|v| v < usize::try_from(replicas).unwrap_or_default()),
    }
}

/// Of everything whose change means that something is under way. Texts of errors are left out: they differ by chance.
pub(super) fn fingerprint(pass: &Pass, generation: i64, seen: Seen) -> u64 {
    let members: Vec<_> = pass
        .members
        .iter()
        .map(|m| {
            let address = m.node.as_ref().map(|n| n.address);
            (&m.name, &m.container, m.probe.word(), address)
        })
        .collect();
    let record = pass.record.as_ref().map(|r| {
        let KeyRecord {
            state,
            attempt,
            identity: _,
            wiping_volume,
            kind: _,
            shares: _,
            also_named: _,
            seal: _,
            seal_text,
            threshold: _,
            root_token,
            custody,
            encrypted: _,
            hand_over,
            seals,
            resource_version: _,
        } = r;
        (
            state.as_str(),
            attempt,
            wiping_volume,
            (root_token.is_some(), custody.is_some(), hand_over.is_empty()),
            seal_text,
            &seals.latched,
            &seals.unsealed,
        )
    });
    let blocked = pass.plan.blocked.as_ref().map(|b| b.reason);
    let Seen { settling, .. } = seen;
    hash(&(members, record, blocked, pass.configured, settling, generation))
}

/// When to look again, after `unchanged` without a change of what was seen. Changes of pods wake the operator anyway.
pub(super) fn next(seen: Seen, unchanged: Duration) -> Duration {
    let Seen {
        waits_for_a_person,
        under_way,
        settling,
    } = seen;
    let pace = if unchanged < LIVELY {
        SOON
    } else {
        // 2 s after a minute, at rest after two and a half.
        (unchanged / 30).min(AT_REST)
    };
    if waits_for_a_person {
        AT_REST
    } else if under_way {
        pace
    } else if settling {
        pace.max(SETTLING)
    } else {
        AT_REST
    }
}

/// Whether a member whose container has changed lately is awaited still: nothing may delay its unsealing.
pub(super) fn is_starting(awaited: bool, unchanged: Duration) -> bool {
    awaited && unchanged < LIVELY
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    const UNDER_WAY: Seen = Seen {
        waits_for_a_person: false,
        under_way: true,
        settling: false,
    };

    fn after(seen: Seen, seconds: u64) -> Duration {
        next(seen, Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_under_way_is_looked_at_four_times_a_second_until_nothing_changes_for_a_minute() {
        assert_eq!(after(UNDER_WAY, 0), SOON);
        assert_eq!(after(UNDER_WAY, 59), SOON);
        assert_eq!(after(UNDER_WAY, 60), Duration::from_secs(2));
        assert_eq!(after(UNDER_WAY, 120), Duration::from_secs(4));
        assert_eq!(after(UNDER_WAY, 86_400), AT_REST, "a state that lasts for days");
    }

    fn pass(probes: &[Probe], latched: &[&str]) -> Pass {
        let members = probes.iter().zip(0..).map(|(probe, ordinal)| Member {
            name: format!("main-{ordinal}"),
            ordinal,
            node: Some(crate::connect::Node {
                host: "h".to_owned(),
                address: ([127, 0, 0, 1], 8200).into(),
                ca: String::new(),
            }),
            container: Some("c".to_owned()),
            probe: probe.clone(),
            ..Member::default()
        });
        let record = KeyRecord {
            shares: Vec::new(),
            seals: keys::SealRecord {
                latched: latched.iter().map(|name| (*name).to_owned()).collect(),
                ..Default::default()
            },
            ..keys::tests::record(keys::State::Initialized)
        };
        Pass {
            members: members.collect(),
            record: Some(record),
            ..Pass::default()
        }
    }

    #[test]
    fn a_whole_cluster_that_was_sealed_on_purpose_is_at_rest() {
        let sealed = Probe::Sealed { progress: 0 };
        let three = [sealed.clone(), sealed.clone(), sealed.clone()];
        let latched = see(&pass(&three, &["main-0", "main-1"]), 3, false);
        assert_eq!(after(latched, 0), AT_REST, "{latched:?}");
        let one = see(&pass(&three, &["main-0"]), 3, false);
        assert_eq!(after(one, 0), SOON, "the others are to be unsealed: {one:?}");
    }

    #[test]
    fn a_cluster_that_only_its_custodians_can_open_is_at_rest_and_looked_at_often_while_they_do() {
        let closed = Probe::Sealed { progress: 0 };
        let held_by_people = |probes: &[Probe]| {
            let mut pass = pass(probes, &[]);
            if let Some(record) = &mut pass.record {
                record.custody = Some(super::super::custody::Custody {
                    threshold: 2,
                    custodians: Vec::new(),
                });
            }
            pass
        };
        let waiting = see(&held_by_people(&[closed.clone(), closed.clone()]), 2, false);
        assert_eq!(after(waiting, 0), AT_REST, "{waiting:?}");
        let mut one = held_by_people(&[Probe::Active, closed.clone()]);
        one.configured = true;
        let one = see(&one, 2, false);
        assert_eq!(after(one, 0), AT_REST, "the other serves meanwhile: {one:?}");
        let half = see(
            &held_by_people(&[Probe::Sealed { progress: 1 }, closed]),
            2,
            false,
        );
        assert!(after(half, 0) <= SETTLING, "one share was given: {half:?}");
    }

    #[test]
    fn a_seal_that_may_have_been_meant_is_looked_at_again_within_seconds() {
        let mut one = pass(
            &[Probe::Sealed { progress: 0 }, Probe::Active, Probe::Standby],
            &[],
        );
        one.configured = true;
        if let Some(record) = &mut one.record {
            record.seals.unsealed.insert("main-0".to_owned(), "c".to_owned());
        }
        let seen = see(&one, 3, false);
        assert_eq!(after(seen, 0), SETTLING, "{seen:?}");
    }

    #[test]
    fn a_member_that_never_answers_and_a_lost_quorum_are_looked_at_less_and_less() {
        let away = Probe::Unreachable("refused".to_owned());
        for probes in [
            [Probe::Active, Probe::Standby, away],
            [Probe::Standby, Probe::Pending, Probe::Pending],
        ] {
            let pass = pass(&probes, &[]);
            let seen = see(&pass, 3, false);
            assert_eq!(after(seen, 1), SOON, "at first: {probes:?}");
            assert_eq!(after(seen, 3600), AT_REST, "later: {probes:?}");
        }
    }

    #[test]
    fn an_object_that_somebody_has_to_mend_in_the_spec_is_no_reason_to_hurry() {
        let serving = pass(&[Probe::Active], &[]);
        assert_eq!(after(see(&serving, 1, false), 0), SOON, "not configured yet");
        let findings =
            super::super::configure::Findings::default().with_problem("Bad", "correct it".to_owned());
        serving.findings.set(findings).unwrap();
        assert_eq!(after(see(&serving, 1, false), 0), AT_REST);
    }

    #[test]
    fn a_new_container_is_a_change_and_other_words_of_an_error_are_none() {
        let print = |pass: &Pass| fingerprint(pass, 1, see(pass, 1, false));
        let mut one = pass(&[Probe::Unreachable("refused".to_owned())], &[]);
        let first = print(&one);
        one.members[0].probe = Probe::Unreachable("timed out".to_owned());
        assert_eq!(print(&one), first, "it does not answer still");
        one.members[0].container = Some("d".to_owned());
        assert_ne!(print(&one), first, "restarted");
    }

    #[test]
    fn a_cluster_that_waits_for_a_person_is_at_rest_at_once() {
        let seen = Seen {
            waits_for_a_person: true,
            ..UNDER_WAY
        };
        assert_eq!(after(seen, 0), AT_REST);
    }

    #[test]
    fn missing_votes_and_suspected_seals_are_looked_at_every_two_seconds_at_first() {
        let seen = Seen {
            settling: true,
            ..Seen::default()
        };
        assert_eq!(after(seen, 0), SETTLING);
        assert_eq!(after(seen, 3600), AT_REST, "a member that never votes");
        assert_eq!(after(Seen::default(), 0), AT_REST);
    }

    #[test]
    fn a_member_that_never_comes_is_not_starting_for_ever() {
        let starting = |seconds| is_starting(true, Duration::from_secs(seconds));
        assert!(starting(59) && !starting(60));
        assert!(!is_starting(false, Duration::ZERO));
    }
}
