//! What the status says of a seal migration. Pure.

use super::act::describe;
use super::{SealNote, Side};
use crate::cluster::error::Error;
use crate::cluster::rollout::Verdict;
use crate::conditions::{Draft, Status};
use crate::members::Member;

/// Type of the condition: the data is under the seal of the spec. It is there once a migration was asked for.
pub(crate) const SEAL_MIGRATED: &str = "SealMigrated";

/// What the condition is made of.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The note in the key Secret.
    pub note: Option<&'a SealNote>,
    /// The error of the pass.
    pub error: Option<&'a Error>,
    /// How far the roll-out is.
    pub rollout: Option<&'a Verdict>,
    /// The members.
    pub members: &'a [Member],
}

/// Sets or removes the condition.
pub(crate) fn tell(draft: &mut Draft, told: Told<'_>) {
    match judge(told) {
        Some((status, reason, message)) => draft.set(SEAL_MIGRATED, status, reason, &message),
        None => draft.remove(SEAL_MIGRATED),
    }
}

fn judge(told: Told<'_>) -> Option<(Status, &'static str, String)> {
    let Told {
        note,
        error,
        rollout,
        members,
    } = told;
    if let Some(Error::SealMigration(words)) = error {
        return Some((Status::False, "SealMigrationRefused", words.clone()));
    }
    let note = note?;
    let keys = note.in_force.keys().words();
    let step = rollout
        .map(|verdict| format!("; {}", verdict.message))
        .unwrap_or_default();
    let in_force = describe(note, note.in_force);
    match note.target {
        None if note.migrations == 0 => None,
        None => Some((
            Status::True,
            "Migrated",
            format!(
                "the data is under {in_force}, every member has started with it alone, and the stored keys are {keys}"
            ),
        )),
        Some(target) if target == note.in_force => Some((
            Status::False,
            "ProvingSeal",
            format!(
                "the data is under {in_force}, and the stored keys are {keys}; every member is restarted until it has started with that alone{step}"
            ),
        )),
        Some(target) => {
            let ready = members
                .iter()
                .filter(|m| m.probe.serves() && runs_for(m, target))
                .count();
            Some((
                Status::False,
                "MigratingSeal",
                format!(
                    "from {in_force} to {}: {ready} of {} members run for it, and the data is migrated when one of them becomes active. Until then the stored keys are {keys}{step}",
                    describe(note, target),
                    members.len()
                ),
            ))
        }
    }
}

/// Whether a member's process was started for this side.
fn runs_for(member: &Member, side: Side) -> bool {
    let is_shamir = member.seal_type.as_deref().map(|kind| kind == super::SHAMIR);
    is_shamir == Some(side == Side::Shamir)
}
