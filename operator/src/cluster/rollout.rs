//! Which member is restarted next, so that all come to run the present pod template. Pure.
//!
//! All is read from the world at each look, so that whoever is killed half way goes on where it was. A member that works
//! is restarted only while the others could lose one more besides it: standbys first, the active one last.

pub(crate) mod act;
pub(in crate::cluster) mod gates;
mod report;
pub(crate) mod version;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::error::Error;
use super::keys::KeyRecord;
use super::plan::Blocked;
use super::validate::{Storage, Validated};
use crate::members::{Member, Probe};

pub(crate) use report::tell;

/// The pod template as the StatefulSet's controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// The controller has not looked at the present one yet.
    Unsettled,
    /// Pods of this revision are made from the present one.
    Revision(String),
}

/// Everything that decides.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    /// The checked spec.
    pub cluster: &'a Validated,
    /// One entry per wanted member, in order.
    pub members: &'a [Member],
    /// What their pods are to be made from.
    pub template: &'a Template,
    /// The key Secret.
    pub record: Option<&'a KeyRecord>,
    /// What blocks everything without a person.
    pub blocked: Option<&'a Blocked>,
    /// Why the present spec is not applied.
    pub problem: Option<&'a Problem>,
    /// Whether this cluster was seen initialised at any time.
    pub was_begun: bool,
    /// How often the active member, in the same process, was made to give up its leadership for this template.
    pub gave_up: u32,
    /// Raft's members, when the active member could be asked.
    pub raft: Option<&'a (RaftConfiguration, AutopilotState)>,
    /// How long the active member has been so by its own clock, where that was asked.
    pub leads_for: Option<Duration>,
    /// The time.
    pub now: Timestamp,
}

/// Why the present spec is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// NotApplied or DowngradeRefused.
    reason: Reason,
    words: String,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        match error {
            Error::Downgrade(words) => Self {
                reason: Reason::DowngradeRefused,
                words: words.clone(),
            },
            error => Self {
                reason: Reason::NotApplied,
                words: format!("the present spec is not applied: {}", error.chain()),
            },
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Delete the pod of a member, which comes back from the present template.
    Restart {
        /// Index in the list of members.
        member: usize,
    },
    /// Make the active member give up its leadership.
    StepDown {
        /// Index in the list of members.
        member: usize,
    },
}

/// Where a roll-out stands: reasons of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Every member runs the present template.
    UpToDate,
    /// A member is restarted, or gives up its leadership.
    Rolling,
    /// The controller of the StatefulSet has not seen the present template yet.
    TemplatePending,
    /// A member is on its way back.
    WaitingForMember,
    /// There is no active member, or it has been active for a moment only.
    WaitingForLeader,
    /// Raft could not bear the loss of a member.
    WaitingForRaft,
    /// A member with the present template does not come back by itself.
    Stuck,
    /// The cluster is sealed on purpose, or blocked.
    Held,
    /// The cluster has no keys yet, or its bootstrap is not finished.
    NotSetUp,
    /// The present spec could not be applied.
    NotApplied,
    /// The spec asks for an older version than what runs.
    DowngradeRefused,
    /// A restart would lose all data.
    DataInMemory,
}

/// What is done and said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is done now.
    pub act: Option<Act>,
    /// Reason of the condition.
    pub reason: Reason,
    /// Message of the condition.
    pub message: String,
    /// Members whose pods are made from another template. None: not known yet.
    pub outdated: Option<Vec<String>>,
}

/// Why nothing is done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Reason of the condition.
    pub reason: Reason,
    /// What it waits for.
    pub words: String,
}

impl Wait {
    /// Waits for this.
    pub(crate) fn new(reason: Reason, words: impl Into<String>) -> Self {
        Self {
            reason,
            words: words.into(),
        }
    }
}

/// Decides.
pub(crate) fn decide(world: &World<'_>) -> Verdict {
    let Template::Revision(present) = world.template else {
        let pending = "the controller of the StatefulSet has not seen the present pod template yet";
        let applied = gates::applied(world);
        let Wait { reason, words } = applied
            .err()
            .unwrap_or_else(|| Wait::new(Reason::TemplatePending, pending));
        return Verdict {
            act: None,
            reason,
            message: words,
            outdated: None,
        };
    };
    let is_current = |m: &Member| is_current(m, present);
    // A pod without a revision is not one of the StatefulSet's.
    let outdated: Vec<usize> = (0..)
        .zip(world.members)
        .filter(|(_, m)| m.revision.is_some() && !is_current(m))
        .map(|(index, _)| index)
        .collect();
    let current = world.members.iter().filter(|m| is_current(m)).count();
    let (act, reason, words) = match next(world, &outdated) {
        Ok(Some(act)) => (Some(act), Reason::Rolling, announce(world, act)),
        Ok(None) => (None, Reason::UpToDate, String::new()),
        Err(Wait { reason, words }) => (None, reason, words),
    };
    let wanted = world.members.len();
    let message = match reason {
        Reason::UpToDate => "every member runs the present pod template".to_owned(),
        _ => format!("{current} of {wanted} members run the present pod template; {words}"),
    };
    Verdict {
        act,
        reason,
        message,
        outdated: Some(
            outdated
                .iter()
                .map(|index| world.members[*index].name.clone())
                .collect(),
        ),
    }
}

/// Whether a member's pod is made from this revision of the template.
fn is_current(member: &Member, present: &str) -> bool {
    member.revision.as_deref() == Some(present)
}

/// The next act, if any is due and allowed.
fn next(world: &World<'_>, outdated: &[usize]) -> Result<Option<Act>, Wait> {
    gates::applied(world)?;
    if outdated.is_empty() {
        return gates::all_serve(world).map(|()| None);
    }
    gates::may_act(world)?;
    let restart = |member| Ok(Some(Act::Restart { member }));
    let find = |test: &dyn Fn(&Member) -> bool| {
        let mut found = outdated
            .iter()
            .copied()
            .filter(|index| test(&world.members[*index]));
        found.next_back()
    };
    // Nothing runs there that could be lost: this is how a corrected template reaches a pod that cannot start.
    if let Some(member) = find(&gates::runs_nothing) {
        return restart(member);
    }
    if world.cluster.storage == Storage::Ephemeral {
        return Err(gates::data_in_memory(world));
    }
    gates::has_its_keys(world)?;
    if world.record.is_none()
        && let Some(member) = find(&|m| matches!(m.probe, Probe::Unreachable(_)))
    {
        // Without keys there is no quorum to lose, and it never begins while a member does not answer.
        return restart(member);
    }
    gates::set_up(world)?;
    if let Some(member) = find(&|m| !m.deleting && !m.probe.serves()) {
        gates::others_bear_its_loss(world, member)?;
        return restart(member);
    }
    gates::all_serve(world)?;
    let leader = gates::one_leader(world)?;
    gates::raft_bears_a_loss(world, leader)?;
    if let Some(member) = find(&|m| m.probe == Probe::Standby) {
        return restart(member);
    }
    if world.members.len() == 1 {
        return restart(leader);
    }
    gates::somebody_takes_over(world, leader)?;
    gates::leads_for_a_while(world, leader)?;
    Ok(Some(Act::StepDown { member: leader }))
}

fn announce(world: &World<'_>, act: Act) -> String {
    match act {
        Act::Restart { member } if world.members.len() == 1 => format!(
            "restarts {}, the only member: nobody serves until it is back",
            world.members[member].name
        ),
        Act::Restart { member } => format!("restarts {}", world.members[member].name),
        Act::StepDown { member } => format!(
            "{} gives up its leadership and is restarted then",
            world.members[member].name
        ),
    }
}

#[cfg(test)]
mod tests;
