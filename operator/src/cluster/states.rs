//! Labels on the members' pods that say which one is active, for the Services of both names.
//!
//! They follow what the members themselves say and are a hint, never read back as truth. While the operator is away
//! they may be stale: readiness still takes dead and sealed pods out of the Services, and a standby forwards.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Patch;
use serde_json::json;
use vaultkeeper_crds::annotations::{ACTIVE, STANDBY, STATE};

use super::error::{Error, unless_gone};
use super::patch_params;
use crate::context::Context;
use crate::members::{Member, Probe};

/// A label to set, or to remove.
#[derive(Debug, PartialEq, Eq)]
struct Change<'a> {
    member: &'a str,
    /// UID of the pod: one that took its place meanwhile is not meant.
    pod: &'a str,
    state: Option<&'static str>,
}

/// Labels that differ from what the members say, the active one first: for a moment two may carry `active`, never none.
fn changes(members: &[Member]) -> Vec<Change<'_>> {
    let actives = members.iter().filter(|m| m.probe == Probe::Active).count();
    let mut due: Vec<Change<'_>> = members
        .iter()
        .filter_map(|member| {
            let state = match member.probe {
                Probe::Active if actives == 1 => Some(ACTIVE),
                Probe::Standby => Some(STANDBY),
                Probe::Sealed { .. } | Probe::Uninitialized | Probe::Removed => None,
                // It was the active one, does not answer, and another one is active now.
                Probe::Pending | Probe::Unreachable(_)
                    if actives == 1 && member.label.as_deref() == Some(ACTIVE) =>
                {
                    None
                }
                // Perhaps only the operator does not reach it, or it is an old leader that has not noticed yet: the
                // next look will tell.
                Probe::Active | Probe::Pending | Probe::Unreachable(_) => return None,
            };
            let pod = member.pod.as_deref()?;
            (member.label.as_deref() != state).then_some(Change {
                member: &member.name,
                pod,
                state,
            })
        })
        .collect();
    due.sort_by_key(|change| change.state != Some(ACTIVE));
    due
}

/// Brings the labels to what the members say.
pub async fn follow(ctx: &Context, namespace: &str, members: &[Member]) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let due = changes(members);
    let (first, others) = due.split_at(usize::from(due.first().is_some_and(|c| c.state == Some(ACTIVE))));
    for now in [first, others] {
        for result in join_all(now.iter().map(|change| label(&pods, change))).await {
            result?;
        }
    }
    Ok(())
}

/// By the status subresource: the right to patch it does not include what the pod runs.
async fn label(pods: &Api<Pod>, change: &Change<'_>) -> Result<(), Error> {
    let Change { member, pod, state } = change;
    let body = json!({"metadata": {"uid": pod, "labels": {STATE: state}}});
    unless_gone(
        "label a member's pod with its state",
        pods.patch_status(member, &patch_params(), &Patch::Merge(&body))
            .await,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ordinal: u32, label: Option<&str>, probe: Probe) -> Member {
        Member {
            name: format!("main-{ordinal}"),
            ordinal,
            pod: Some(format!("uid-{ordinal}")),
            label: label.map(str::to_owned),
            probe,
            ..Member::default()
        }
    }

    fn due(members: &[Member]) -> Vec<(&str, Option<&str>)> {
        changes(members).iter().map(|c| (c.member, c.state)).collect()
    }

    fn gone() -> Probe {
        Probe::Unreachable("connection refused".to_owned())
    }

    #[test]
    fn the_labels_follow_what_the_members_say_the_active_one_first() {
        let members = [
            member(0, Some(ACTIVE), Probe::Standby),
            member(1, None, Probe::Standby),
            member(2, Some(STANDBY), Probe::Active),
        ];
        assert_eq!(
            due(&members),
            [
                ("main-2", Some(ACTIVE)),
                ("main-0", Some(STANDBY)),
                ("main-1", Some(STANDBY))
            ]
        );
    }

    #[test]
    fn current_labels_are_not_written_again() {
        let members = [
            member(0, Some(ACTIVE), Probe::Active),
            member(1, Some(STANDBY), Probe::Standby),
        ];
        assert!(due(&members).is_empty(), "{:?}", due(&members));
    }

    #[test]
    fn a_dead_leader_keeps_its_label_until_another_one_is_active() {
        let mut members = [
            member(0, Some(ACTIVE), gone()),
            member(1, Some(STANDBY), Probe::Standby),
        ];
        assert!(
            due(&members).is_empty(),
            "nobody else leads: perhaps only the operator does not reach it"
        );
        members[1].probe = Probe::Active;
        assert_eq!(due(&members), [("main-1", Some(ACTIVE)), ("main-0", None)]);
    }

    #[test]
    fn a_sealed_member_carries_no_label() {
        let members = [
            member(0, Some(ACTIVE), Probe::Sealed { progress: 0 }),
            member(1, Some(STANDBY), Probe::Removed),
            member(2, None, Probe::Uninitialized),
        ];
        assert_eq!(due(&members), [("main-0", None), ("main-1", None)]);
    }

    #[test]
    fn two_members_that_both_claim_to_lead_change_no_label_of_theirs() {
        let members = [
            member(0, Some(ACTIVE), Probe::Active),
            member(1, Some(STANDBY), Probe::Active),
            member(2, None, Probe::Standby),
        ];
        assert_eq!(due(&members), [("main-2", Some(STANDBY))]);
    }

    #[test]
    fn a_member_without_a_pod_is_not_labelled() {
        let mut absent = member(0, None, Probe::Standby);
        absent.pod = None;
        assert!(due(&[absent]).is_empty());
    }
}
