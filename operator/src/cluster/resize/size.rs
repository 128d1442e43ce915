//! How many members run and are to run. Pure.

use vaultkeeper_crds::VaultClusterStatus;

use crate::cluster::validate::{MOST_MEMBERS, Validated};
use crate::members::Probe;

/// How many there are and are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// What the spec says.
    pub wanted: u32,
    /// How many pods the StatefulSet has for now.
    pub present: u32,
    /// Marked volume claims of the highest member that runs, and of those that are to come.
    pub left: Vec<Left>,
    /// Whether the StatefulSet was looked at.
    pub counted: bool,
}

/// The volume claim of a member that was taken out of Raft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Number of the member.
    pub ordinal: u32,
    /// Name of the claim.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Identity of the Vault that the member was taken out of.
    pub vault: String,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Size {
    /// Nothing is to be done.
    pub(super) fn settled(wanted: u32) -> Self {
        Self {
            wanted,
            present: wanted,
            left: Vec::new(),
            counted: false,
        }
    }

    /// The cluster with the members that run for now: those that go belong to it until they are gone.
    pub(crate) fn of(&self, cluster: &Validated) -> Validated {
        Validated {
            replicas: self.present,
            ..cluster.clone()
        }
    }
}

/// Whether members and spec may differ in number, so that the StatefulSet has to be looked at.
pub(super) fn is_due(status: Option<&VaultClusterStatus>, wanted: u32) -> bool {
    let Some(status) = status else {
        return true;
    };
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let voters = status.voters.and_then(|voters| usize::try_from(voters).ok());
    status.members.len() != wanted
        || voters.is_some_and(|voters| voters > wanted)
        || status.members.iter().any(|m| m.state == Probe::Removed.word())
}

/// How many pods there are to be for now. `running`: those of the StatefulSet. `removed`: whether a member said that it was
/// taken out.
pub(super) fn present(wanted: u32, running: u32, left: &[Left], removed: impl Fn(u32) -> bool) -> u32 {
    let running = running.min(MOST_MEMBERS.unsigned_abs());
    if running >= wanted {
        return running;
    }
    let is_left = |ordinal: u32| left.iter().any(|left| left.ordinal == ordinal);
    if running > 1 && is_left(running - 1) && removed(running - 1) {
        // It goes first, and comes anew with the others.
        return running;
    }
    (running.max(1)..wanted).find(|o| is_left(*o)).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use vaultkeeper_crds::cluster::MemberStatus;

    use super::*;

    fn left(ordinal: u32) -> Left {
        Left {
            ordinal,
            claim: format!("data-main-{ordinal}"),
            uid: "claim".to_owned(),
            resource_version: "1".to_owned(),
            vault: "vault".to_owned(),
            deleting: false,
        }
    }

    #[test]
    fn those_that_run_stay_until_each_was_taken_out_and_none_comes_with_an_old_volume() {
        let nobody = |_: u32| false;
        assert_eq!(present(3, 5, &[], nobody), 5, "they go one by one");
        assert_eq!(present(5, 3, &[], nobody), 5, "two more at once");
        assert_eq!(present(5, 3, &[left(3), left(4)], nobody), 3);
        assert_eq!(present(5, 3, &[left(4)], nobody), 4, "the first has a new volume");
        assert_eq!(
            present(5, 0, &[left(3)], nobody),
            3,
            "a StatefulSet that is made anew"
        );
        assert_eq!(present(3, 0, &[], nobody), 3, "a new cluster");
        assert_eq!(present(3, 40, &[], nobody), 7, "somebody scaled it by hand");
    }

    #[test]
    fn a_member_that_was_taken_out_and_runs_still_goes_before_others_come() {
        assert_eq!(present(7, 5, &[left(4)], |o| o == 4), 5);
        assert_eq!(
            present(7, 5, &[left(4)], |_| false),
            7,
            "it is a member: the mark is old"
        );
    }

    #[test]
    fn a_cluster_at_rest_is_not_counted() {
        let members = |states: &[&str]| {
            let row = |state: &&str| MemberStatus {
                state: (*state).to_owned(),
                ..MemberStatus::default()
            };
            VaultClusterStatus {
                members: states.iter().map(row).collect(),
                voters: i32::try_from(states.len()).ok(),
                ..VaultClusterStatus::default()
            }
        };
        let three = members(&["Active", "Standby", "Standby"]);
        assert!(!is_due(Some(&three), 3));
        assert!(is_due(Some(&three), 1), "fewer are wanted");
        assert!(is_due(Some(&three), 5), "more are wanted");
        assert!(is_due(None, 3), "nothing is known");
        assert!(is_due(Some(&members(&["Active", "Removed", "Standby"])), 3));
        let voters = VaultClusterStatus {
            voters: Some(5),
            ..three
        };
        assert!(is_due(Some(&voters), 3), "two dead voters");
    }
}
