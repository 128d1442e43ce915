//! Fewer members, and more again: who goes next, and what has to be cleared before somebody comes. Pure.
//!
//! The members that run are those of the StatefulSet, whatever the spec says by now. One goes at a time, the highest number
//! first: it is taken out of Raft, and only when the others are healthy without it the StatefulSet has one fewer. All is read
//! from the world at each look, so that whoever is killed half way goes on where it was.

pub(crate) mod act;
mod mark;
mod size;

use vaultkeeper_vault::sys::raft::RaftConfiguration;

use super::outage::Outage;
use super::rollout::{self, Reason, Wait, gates};
use super::validate::Storage;
use crate::members::{Member, Probe};

pub(crate) use size::{Left, Size};

/// How often the active member, in the same process, is made to give up its leadership before it may go.
const STEP_DOWNS: u32 = 2;

/// Everything that decides.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    /// What a roll-out is decided by.
    pub roll: rollout::World<'a>,
    /// How many there are and are to be.
    pub size: &'a Size,
    /// Whether every member runs the present pod template.
    pub rolled_out: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Make the active member give up its leadership: it is the one that goes.
    StepDown {
        /// Index in the list of members.
        member: usize,
    },
    /// Mark a member's volume claim and take the member out of Raft.
    Remove {
        /// Name of the member.
        member: String,
        /// Its number.
        ordinal: u32,
    },
    /// The StatefulSet has one member fewer.
    Shrink {
        /// How many it has then.
        to: u32,
    },
    /// Delete the volume claim of a member that was taken out: a new one of its name must come empty.
    Clear(Left),
    /// Take the mark from a volume claim whose member was not taken out.
    Unmark(Left),
}

/// What is done and said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is done now.
    pub act: Option<Act>,
    /// Reason of the condition.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
    /// The member that goes.
    pub leaving: Option<String>,
    /// Whether what it waits for comes without a person.
    pub goes_on: bool,
}

impl Verdict {
    /// Whether this member was taken out of Raft and goes.
    pub(crate) fn takes_out(&self, member: &Member) -> bool {
        self.leaving.as_ref() == Some(&member.name) && member.probe == Probe::Removed
    }
}

/// What the row of a member says that was taken out and goes.
pub(crate) fn taken_out() -> Outage {
    Outage {
        reason: "RemovingMember",
        message: "spec.replicas is lower: it was taken out of Raft, and its pod goes next".to_owned(),
    }
}

/// Decides. None: there are as many as there are to be.
pub(crate) fn decide(world: &World<'_>) -> Option<Verdict> {
    let Size { wanted, present, .. } = *world.size;
    let last = world.roll.members.last()?;
    let (leaving, next) = if let Some((name, ordinal)) = leftover(world) {
        (Some(name.clone()), forget(world, name, ordinal))
    } else if last.ordinal >= wanted || was_removed(world, last) {
        (Some(last.name.clone()), shrink(world, last))
    } else {
        (None, clear(world, in_the_way(world)?))
    };
    let about = match &leaving {
        Some(name) => format!("{present} members run and {wanted} are wanted; {name} goes"),
        None => format!("{present} members run and {wanted} are wanted"),
    };
    Some(match next {
        Ok(act) => Verdict {
            reason: act.reason(),
            message: format!("{about}: {}", act.says(world)),
            act: Some(act),
            leaving,
            goes_on: true,
        },
        Err(Wait { reason, words }) => Verdict {
            act: None,
            reason: reason.as_str(),
            message: format!("{about}, which {}", waits(&words)),
            leaving,
            goes_on: reason.goes_on_by_itself(),
        },
    })
}

/// The words of a gate as the end of a sentence.
fn waits(words: &str) -> String {
    if words.starts_with("waits") {
        words.to_owned()
    } else {
        format!("is held: {words}")
    }
}

impl Act {
    fn reason(&self) -> &'static str {
        match self {
            Self::StepDown { .. } | Self::Remove { .. } | Self::Shrink { .. } => "RemovingMember",
            Self::Clear(_) | Self::Unmark(_) => "ClearingVolume",
        }
    }

    fn says(&self, world: &World<'_>) -> String {
        match self {
            Self::StepDown { member } => format!(
                "{} gives up its leadership first",
                world.roll.members[*member].name
            ),
            Self::Remove { member, .. } => format!("{member} is taken out of Raft; its volume claim is kept"),
            Self::Shrink { to } => format!("the StatefulSet has {to} members from now on"),
            Self::Clear(left) => format!(
                "volume claim {} of a member that was taken out is deleted: the new one comes empty",
                left.claim
            ),
            Self::Unmark(left) => format!("volume claim {} is used again", left.claim),
        }
    }
}

/// A member that was taken out by us, with its pod there still: that is brought to its end, whatever the spec says by now.
fn was_removed(world: &World<'_>, last: &Member) -> bool {
    let is_marked = world.size.left.iter().any(|left| left.ordinal == last.ordinal);
    is_marked && last.probe == Probe::Removed && last.ordinal > 0
}

/// A member of Raft that nobody runs or wants: somebody lowered the number of pods past us.
fn leftover<'a>(world: &World<'a>) -> Option<(&'a String, u32)> {
    let Size { wanted, present, .. } = *world.size;
    let (configuration, _) = world.roll.raft.filter(|_| world.size.counted)?;
    let prefix = format!("{}-", world.roll.cluster.name);
    let peers = configuration.servers.iter();
    let named = peers.filter_map(|peer| {
        let ordinal = peer.node_id.strip_prefix(&prefix)?.parse::<u32>().ok()?;
        Some((&peer.node_id, ordinal))
    });
    named
        .filter(|(_, ordinal)| *ordinal >= present.max(wanted))
        .max_by_key(|(_, ordinal)| *ordinal)
}

/// A marked volume claim that a new member would come up with.
fn in_the_way<'a>(world: &World<'a>) -> Option<&'a Left> {
    let Size { wanted, present, .. } = *world.size;
    let mut left = world.size.left.iter();
    left.find(|left| (present..wanted).contains(&left.ordinal))
}

/// What holds for every act.
fn may_act(world: &World<'_>) -> Result<(), Wait> {
    gates::applied(&world.roll)?;
    gates::may_act(&world.roll)
}

/// Nothing is done to members whose keys are about to change.
fn settled(world: &World<'_>) -> Result<(), Wait> {
    gates::has_its_keys(&world.roll)?;
    gates::set_up(&world.roll)?;
    let note = world.roll.record.and_then(|record| record.seal.as_ref());
    if note.is_some_and(|note| note.target.is_some()) {
        let words = "waits until the change of the seal is over";
        return Err(Wait::new(Reason::Rolling, words));
    }
    Ok(())
}

fn shrink(world: &World<'_>, last: &Member) -> Result<Act, Wait> {
    let roll = &world.roll;
    may_act(world)?;
    let fewer = Act::Shrink { to: last.ordinal };
    if roll.record.is_none() && !roll.was_begun {
        // Nothing was ever stored, and it may be this member for which everything waits.
        return Ok(fewer);
    }
    settled(world)?;
    let leader = gates::one_leader(roll)?;
    let has_raft = matches!(roll.cluster.storage, Storage::Raft(_));
    stay(world, last.ordinal)?;
    if has_raft && !is_peer(&roll.raft.ok_or_else(gates::unknown)?.0, &last.name) {
        return Ok(fewer);
    }
    let remove = Act::Remove {
        member: last.name.clone(),
        ordinal: last.ordinal,
    };
    let goes = if has_raft { remove } else { fewer };
    if !last.probe.serves() {
        // Without it the others need one fewer for a majority.
        return Ok(goes);
    }
    if !world.rolled_out {
        let words = "waits until every member runs the present pod template";
        return Err(Wait::new(Reason::Rolling, words));
    }
    gates::all_serve(roll)?;
    gates::raft_bears_a_loss(roll, leader)?;
    // Also the others that go later: with all of them well, one fewer is a majority still.
    stay_well(world, roll.members)?;
    if roll.members[leader].name == last.name {
        return step_down(world, leader);
    }
    Ok(goes)
}

fn step_down(world: &World<'_>, leader: usize) -> Result<Act, Wait> {
    if world.roll.gave_up >= STEP_DOWNS {
        let words = format!(
            "{} has given up its leadership {} times and leads again each time: see in the logs of the others why they do not become active",
            world.roll.members[leader].name, world.roll.gave_up
        );
        return Err(Wait::new(Reason::Stuck, words));
    }
    gates::leads_for_a_while(&world.roll, leader)?;
    Ok(Act::StepDown { member: leader })
}

/// Those that are to stay are well without the one that goes.
fn stay(world: &World<'_>, goes: u32) -> Result<(), Wait> {
    let members = world.roll.members;
    let stay = usize::try_from(world.size.wanted.min(goes)).unwrap_or_default();
    stay_well(world, members.get(..stay).unwrap_or(members))
}

fn stay_well(world: &World<'_>, members: &[Member]) -> Result<(), Wait> {
    if let Some(missing) = members.iter().find(|m| m.deleting || !m.probe.serves()) {
        return Err(gates::waits_for(&world.roll, missing));
    }
    if !matches!(world.roll.cluster.storage, Storage::Raft(_)) {
        return Ok(());
    }
    let (configuration, autopilot) = world.roll.raft.ok_or_else(gates::unknown)?;
    let is_well = |m: &&Member| {
        configuration.has_vote(&m.name) && autopilot.servers.get(&m.name).is_some_and(|s| s.healthy)
    };
    match members.iter().find(|m| !is_well(m)) {
        Some(member) => Err(Wait::new(
            Reason::WaitingForRaft,
            format!("waits until {} is a healthy voter", member.name),
        )),
        None => Ok(()),
    }
}

fn is_peer(configuration: &RaftConfiguration, name: &str) -> bool {
    configuration.servers.iter().any(|peer| peer.node_id == name)
}

/// A peer without a pod is a dead voter: the others need one fewer for a majority without it.
fn forget(world: &World<'_>, name: &str, ordinal: u32) -> Result<Act, Wait> {
    may_act(world)?;
    settled(world)?;
    gates::one_leader(&world.roll)?;
    stay(world, ordinal)?;
    Ok(Act::Remove {
        member: name.to_owned(),
        ordinal,
    })
}

/// What the claim holds is an old copy of what the active member has, or it is left alone.
fn clear(world: &World<'_>, left: &Left) -> Result<Act, Wait> {
    may_act(world)?;
    settled(world)?;
    let leader = gates::one_leader(&world.roll)?;
    let (configuration, _) = world.roll.raft.ok_or_else(gates::unknown)?;
    let name = vaultkeeper_crds::names::member(&world.roll.cluster.name, left.ordinal);
    let vault = world.roll.members[leader].cluster_id.as_ref();
    let vault = vault.ok_or_else(gates::unknown)?;
    if is_peer(configuration, &name) || *vault != left.vault {
        return Ok(Act::Unmark(left.clone()));
    }
    if left.deleting {
        let words = format!("waits until volume claim {} is gone", left.claim);
        return Err(Wait::new(Reason::WaitingForMember, words));
    }
    Ok(Act::Clear(left.clone()))
}

#[cfg(test)]
mod tests;
