//! Which seals were meant. Pure.
//!
//! A member found sealed in the very container that was seen unsealed was sealed by somebody, or its process has just
//! died and the kubelet has not told yet that there is another container. It is not unsealed either way; it is
//! latched, which only a person undoes, when the container has stayed the same for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vaultkeeper_crds::annotations::RELEASE_SEAL;

use super::keys::SealRecord;
use crate::context::Unchanged;
use crate::members::{Member, Probe};

/// How long a kubelet may take to tell of another container.
const KUBELET_TELLS: Duration = Duration::from_secs(10);

/// Whether a member that was sealed in the same container all the while was sealed on purpose.
pub fn is_deliberate(seen: Unchanged) -> bool {
    seen.span >= KUBELET_TELLS && seen.looks >= 2
}

/// The reason for which a person releases a deliberate seal, from the annotations of the VaultCluster. Without a reason
/// nothing is released.
pub fn release_of(annotations: &BTreeMap<String, String>) -> Option<&str> {
    let reason = annotations.get(RELEASE_SEAL)?.trim();
    (!reason.is_empty()).then_some(reason)
}

/// Members that are sealed in the container that was seen unsealed and are not latched (yet), with that container.
pub fn suspects<'a>(members: &'a [Member], seals: &SealRecord) -> BTreeMap<&'a str, &'a str> {
    members
        .iter()
        .filter(|m| matches!(m.probe, Probe::Sealed { .. }) && !seals.latched.contains(&m.name))
        .filter_map(|m| Some((m, m.container.as_ref()?)))
        .filter(|(m, container)| seals.unsealed.get(&m.name) == Some(container))
        .map(|(m, container)| (m.name.as_str(), container.as_str()))
        .collect()
}

/// The record as it is to be: `confirmed` are the suspects that were sealed on purpose.
pub fn next(
    members: &[Member],
    before: &SealRecord,
    confirmed: &BTreeSet<String>,
    release: bool,
) -> SealRecord {
    let mut seals = SealRecord {
        damaged: false,
        ..before.clone()
    };
    if before.damaged && !release {
        // Nobody knows any more which of them were sealed on purpose, so all that could have been are held.
        let held = members.iter().filter(|m| {
            matches!(
                m.probe,
                Probe::Sealed { .. } | Probe::Pending | Probe::Unreachable(_)
            )
        });
        seals.latched.extend(held.map(|m| m.name.clone()));
    }
    if release {
        for member in std::mem::take(&mut seals.latched) {
            seals.unsealed.remove(&member);
        }
        // Who releases a seal in its first seconds means that one too.
        let sealed = members.iter().filter(|m| matches!(m.probe, Probe::Sealed { .. }));
        for member in sealed {
            seals.unsealed.remove(&member.name);
        }
    } else {
        seals.latched.extend(confirmed.iter().cloned());
    }
    for member in members {
        if let (true, Some(container)) = (member.probe.serves(), &member.container) {
            seals.unsealed.insert(member.name.clone(), container.clone());
            // Somebody unsealed it by hand: that releases it as well.
            seals.latched.remove(&member.name);
        }
    }
    seals
}

/// Members that are not unsealed: the latched ones, and those that may have been sealed on purpose.
pub fn held(members: &[Member], seals: &SealRecord) -> BTreeSet<String> {
    let suspects = suspects(members, seals).into_keys().map(str::to_owned);
    seals.latched.iter().cloned().chain(suspects).collect()
}

/// With so many members sealed on purpose that the rest has no quorum, the whole cluster was meant: a new
/// process of another member stays sealed too, since unsealing it would undo the seal.
pub fn holds_all(held: &BTreeSet<String>, members: usize) -> bool {
    members - held.len().min(members) < members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ordinal: u32, container: &str, probe: Probe) -> Member {
        Member {
            name: format!("main-{ordinal}"),
            ordinal,
            container: Some(container.to_owned()),
            probe,
            ..Member::default()
        }
    }

    fn sealed() -> Probe {
        Probe::Sealed { progress: 0 }
    }

    fn seals(unsealed: &[(&str, &str)], latched: &[&str]) -> SealRecord {
        SealRecord {
            unsealed: unsealed
                .iter()
                .map(|(m, c)| ((*m).to_owned(), (*c).to_owned()))
                .collect(),
            latched: names(latched),
            damaged: false,
        }
    }

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn seen(seconds: u64, looks: u32) -> Unchanged {
        Unchanged {
            span: Duration::from_secs(seconds),
            looks,
        }
    }

    #[test]
    fn a_kubelet_has_ten_seconds_to_tell_of_a_restart_before_a_seal_counts_as_meant() {
        assert!(!is_deliberate(seen(0, 1)), "first seen");
        assert!(
            !is_deliberate(seen(9, 40)),
            "a restart may still be told, however often one looks"
        );
        assert!(
            !is_deliberate(seen(60, 1)),
            "one look proves nothing about the time between"
        );
        assert!(is_deliberate(seen(10, 2)), "the container stayed the same");
    }

    #[test]
    fn a_seal_is_released_with_a_reason_and_not_without() {
        let given = |text: &str| BTreeMap::from([(RELEASE_SEAL.to_owned(), text.to_owned())]);
        assert_eq!(release_of(&given("the drill is over")), Some("the drill is over"));
        for blank in ["", " ", "\n"] {
            assert_eq!(release_of(&given(blank)), None, "{blank:?} is no reason");
        }
        assert_eq!(release_of(&BTreeMap::new()), None);
    }

    #[test]
    fn the_first_sighting_is_held_but_not_latched() {
        let before = seals(&[("main-0", "c1")], &[]);
        let members = [member(0, "c1", sealed()), member(1, "c", Probe::Active)];
        assert_eq!(suspects(&members, &before), BTreeMap::from([("main-0", "c1")]));
        let after = next(&members, &before, &names(&[]), false);
        assert!(after.latched.is_empty(), "not written down yet: {after:?}");
        assert_eq!(
            held(&members, &after),
            names(&["main-0"]),
            "but not unsealed either"
        );

        let after = next(&members, &before, &names(&["main-0"]), false);
        assert_eq!(after.latched, names(&["main-0"]), "confirmed");
    }

    #[test]
    fn a_container_that_was_told_late_is_no_suspect() {
        let before = seals(&[("main-0", "c1")], &[]);
        assert!(suspects(&[member(0, "c2", sealed())], &before).is_empty());
    }

    #[test]
    fn a_release_in_the_first_seconds_of_a_seal_releases_it_too() {
        let before = seals(&[("main-0", "c1")], &[]);
        let members = [member(0, "c1", sealed())];
        let after = next(&members, &before, &names(&["main-0"]), true);
        assert!(held(&members, &after).is_empty(), "{after:?}");
    }

    #[test]
    fn with_a_damaged_record_all_that_may_have_been_sealed_are_held() {
        let before = SealRecord {
            damaged: true,
            ..SealRecord::default()
        };
        let members = [
            member(0, "c0", sealed()),
            member(1, "c1", Probe::Active),
            member(2, "c2", Probe::Pending),
            member(3, "c3", Probe::Uninitialized),
        ];
        let after = next(&members, &before, &names(&[]), false);
        assert_eq!(after, seals(&[("main-1", "c1")], &["main-0", "main-2"]));
        let released = next(&members, &before, &names(&[]), true);
        assert_eq!(released, seals(&[("main-1", "c1")], &[]), "a person said so");
    }
}
