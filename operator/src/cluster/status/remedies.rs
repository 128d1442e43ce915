//! What to do about members that do not serve, where nothing more is known of them than their state. Pure.

use crate::cluster::build::CONTAINER;
use crate::cluster::outage::Outage;
use crate::members::{Member, Probe};

/// Each remedy once. An outage has its own, and an obstacle is the scheduler's or the kubelet's word already.
pub(super) fn of_members(members: &[Member], outages: &[Option<Outage>]) -> Vec<String> {
    let untold: Vec<&Member> = members
        .iter()
        .enumerate()
        .filter(|(n, _)| outages.get(*n).is_none_or(Option::is_none))
        .map(|(_, member)| member)
        .collect();
    let names = |test: fn(&Member) -> bool| -> Vec<&str> {
        let chosen = untold.iter().filter(|m| test(m));
        chosen.map(|m| m.name.as_str()).collect()
    };
    let mut remedies = Vec::new();
    let pending = names(|m| m.probe == Probe::Pending && m.obstacle.is_none());
    if !pending.is_empty() {
        remedies.push(format!(
            "kubectl describe pod {} says why none runs",
            pending.join(" ")
        ));
    }
    for name in names(|m| matches!(m.probe, Probe::Unreachable(_))) {
        remedies.push(format!(
            "kubectl logs {name} -c {CONTAINER} says why it does not answer"
        ));
    }
    if !names(|m| matches!(m.probe, Probe::Sealed { .. })).is_empty() {
        remedies.push(
            "a sealed member is opened within seconds, unless SealLatched, AwaitingCustodians or Configured says why not"
                .to_owned(),
        );
    }
    if !names(|m| m.probe == Probe::Uninitialized).is_empty()
        && members.iter().any(|m| m.probe.is_initialized())
    {
        remedies.push("an empty member joins by itself as soon as another one is active".to_owned());
    }
    remedies
}

/// How the members get an active one, where enough of them are up.
pub(super) fn of_no_active_member(members: &[Member]) -> String {
    match members.iter().find(|m| m.probe.serves()) {
        Some(first) => format!(
            "one of those that are up becomes active within half a minute; if none does, kubectl logs {} -c {CONTAINER} says what keeps it from that",
            first.name
        ),
        None => "one becomes active as soon as it is up and unsealed: bring it back".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ordinal: u32, probe: Probe) -> Member {
        Member {
            name: format!("main-{ordinal}"),
            ordinal,
            probe,
            ..Member::default()
        }
    }

    #[test]
    fn each_state_that_a_member_does_not_serve_in_has_its_remedy() {
        let away = Probe::Unreachable("no answer".to_owned());
        for (probe, words) in [
            (Probe::Pending, "kubectl describe pod main-1"),
            (away, "kubectl logs main-1 -c vault"),
            (Probe::Sealed { progress: 0 }, "SealLatched"),
            (Probe::Uninitialized, "joins by itself"),
        ] {
            let members = [member(0, Probe::Active), member(1, probe.clone())];
            let remedies = of_members(&members, &[]);
            assert!(
                remedies.len() == 1 && remedies[0].contains(words),
                "{probe:?} should be told with {words:?}: {remedies:?}"
            );
        }
        assert!(of_members(&[member(0, Probe::Active)], &[]).is_empty());
        let new = [member(0, Probe::Uninitialized), member(1, Probe::Uninitialized)];
        assert!(of_members(&new, &[]).is_empty(), "nothing is there to join yet");
    }

    #[test]
    fn an_outage_and_an_obstacle_have_their_own_words() {
        let outage = Outage {
            reason: "ServerExits",
            message: "see its log".to_owned(),
        };
        let away = member(0, Probe::Unreachable(String::new()));
        assert!(of_members(&[away], &[Some(outage)]).is_empty());
        let unplaced = Member {
            obstacle: Some("Unschedulable: too many pods".to_owned()),
            ..member(0, Probe::Pending)
        };
        assert!(of_members(&[unplaced], &[None]).is_empty());
    }

    #[test]
    fn where_enough_members_are_up_it_is_said_what_to_look_at_if_none_becomes_active() {
        let election = [
            member(0, Probe::Pending),
            member(1, Probe::Standby),
            member(2, Probe::Standby),
        ];
        let said = of_no_active_member(&election);
        assert!(
            said.contains("half a minute") && said.contains("kubectl logs main-1"),
            "{said}"
        );
        let said = of_no_active_member(&election[..1]);
        assert!(said.contains("up and unsealed"), "{said}");
    }
}
