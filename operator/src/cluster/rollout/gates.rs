//! What must hold before a member is restarted. Pure.

use std::time::Duration;

use vaultkeeper_crds::annotations::RESTART;

use super::{Problem, Reason, Template, Wait, World, is_current, version};
use crate::cluster::keys::State;
use crate::cluster::validate::Storage;
use crate::cluster::{outage, seals};
use crate::members::{Member, Probe, STARTING, Unready};

/// Autopilot notices the loss of a member after this time (`last_contact_threshold`): until then its judgement may be of
/// the process before.
const SETTLES: Duration = Duration::from_secs(10);
/// A node that has given up its leadership does not compete for ten seconds. Two step-downs in that time were seen to
/// leave seven seconds without an active member.
const BETWEEN_LEADERS: Duration = Duration::from_secs(10);
/// How often a process gives up its leadership for one template before somebody has to look why nobody else takes it.
const STEP_DOWNS: u32 = 2;
/// How many entries of the log a member may lack: the members do not answer at the very same moment.
const MAX_LAG: u64 = 250;

/// The template is that of the present spec.
pub(in crate::cluster) fn applied(world: &World<'_>) -> Result<(), Wait> {
    match world.problem {
        Some(Problem { reason, words }) => Err(Wait::new(*reason, words.clone())),
        None => Ok(()),
    }
}

/// Nothing that a person has to decide first.
pub(in crate::cluster) fn may_act(world: &World<'_>) -> Result<(), Wait> {
    if let Some(blocked) = world.blocked {
        return Err(Wait::new(
            Reason::Held,
            format!("nothing can go on: {}", blocked.message),
        ));
    }
    if let Some(record) = world.record {
        let held = seals::held(world.members, &record.seals);
        if record.seals.damaged {
            let words = "nobody knows which members were sealed on purpose";
            return Err(Wait::new(Reason::Held, words));
        }
        if !held.is_empty() {
            let names: Vec<&str> = held.iter().map(String::as_str).collect();
            let words = format!(
                "{} sealed on purpose: nothing is restarted before that is released",
                names.join(", ")
            );
            return Err(Wait::new(Reason::Held, words));
        }
    }
    let newer = world.members.iter().find(|m| {
        let runs = m.version.as_deref().filter(|_| m.probe.serves());
        runs.is_some_and(|runs| version::is_older(&world.cluster.version, runs))
    });
    match newer {
        Some(member) => Err(Wait::new(
            Reason::DowngradeRefused,
            version::refusal(
                &world.cluster.version,
                &member.name,
                member.version.as_deref().unwrap_or_default(),
            ),
        )),
        None => Ok(()),
    }
}

/// Whether there is a pod without a running container.
pub(in crate::cluster) fn runs_nothing(member: &Member) -> bool {
    member.probe == Probe::Pending && member.pod.is_some() && member.container.is_none() && !member.deleting
}

/// A member that runs may be unsealed still. Without the keys it would never be again, also where it does not answer.
pub(in crate::cluster) fn has_its_keys(world: &World<'_>) -> Result<(), Wait> {
    if world.record.is_none() && world.was_begun {
        let words = "the key Secret is not there: no member is restarted before it is restored, since none could be unsealed again";
        return Err(Wait::new(Reason::Held, words));
    }
    Ok(())
}

/// A Vault in memory is never restarted by the operator.
pub(in crate::cluster) fn data_in_memory(world: &World<'_>) -> Wait {
    let pods: Vec<&str> = world.members.iter().map(|m| m.name.as_str()).collect();
    Wait::new(
        Reason::DataInMemory,
        format!(
            "its data is in memory and would be lost by a restart. When it may go: kubectl delete pod {} -n {}",
            pods.join(" "),
            world.cluster.namespace
        ),
    )
}

/// A restarted member finds keys that unseal it, or unseals itself.
pub(in crate::cluster) fn set_up(world: &World<'_>) -> Result<(), Wait> {
    match world.record {
        // Which shares open a restarted member is not known until it is done.
        Some(record) if !record.hand_over.is_empty() => Err(Wait::new(
            Reason::NotSetUp,
            "waits until the shares are with the custodians",
        )),
        Some(record) if record.state == State::Initialized && record.root_token.is_none() => Ok(()),
        _ => Err(Wait::new(Reason::NotSetUp, "waits until the cluster is set up")),
    }
}

/// A member that does not serve may go when all the others do, with a leader among them.
pub(in crate::cluster) fn others_bear_its_loss(world: &World<'_>, broken: usize) -> Result<(), Wait> {
    if let Probe::Removed = world.members[broken].probe {
        return Err(waits_for(world, &world.members[broken]));
    }
    let others = || {
        let all = world.members.iter().enumerate();
        all.filter(move |(index, _)| *index != broken).map(|(_, m)| m)
    };
    if let Some(missing) = others().find(|m| m.deleting || !m.probe.serves()) {
        return Err(waits_for(world, missing));
    }
    if others().count() == 0 {
        return Ok(());
    }
    if others().filter(|m| m.probe == Probe::Active).count() != 1 {
        return Err(no_leader());
    }
    if !matches!(world.cluster.storage, Storage::Raft(_)) {
        return Ok(());
    }
    let (configuration, autopilot) = world.raft.ok_or_else(unknown)?;
    for member in others() {
        let votes = configuration.has_vote(&member.name);
        let is_well = autopilot.servers.get(&member.name).is_some_and(|s| s.healthy);
        if !votes || !is_well {
            let words = format!("waits until {} is a healthy voter", member.name);
            return Err(Wait::new(Reason::WaitingForRaft, words));
        }
    }
    Ok(())
}

/// Every member is unsealed and serves.
pub(in crate::cluster) fn all_serve(world: &World<'_>) -> Result<(), Wait> {
    match world.members.iter().find(|m| m.deleting || !m.probe.serves()) {
        Some(member) => Err(waits_for(world, member)),
        None => are_ready(world),
    }
}

/// What was restarted is back in the Services. One of an older template may be out of them: perhaps the present one is to
/// mend that.
fn are_ready(world: &World<'_>) -> Result<(), Wait> {
    let Template::Revision(present) = world.template else {
        return Ok(());
    };
    let mut current = world.members.iter().filter(|m| is_current(m, present));
    let Some((member, unready)) = current.find_map(|m| Some((m, m.unready.as_ref()?))) else {
        return Ok(());
    };
    let Unready { words, stuck } = unready;
    let words = format!(
        "{}, but its pod is not ready, and Services leave it out: {words}",
        member.says()
    );
    Err(if *stuck {
        let words =
            format!("{words}. The other members are left alone: correct the spec or the image of the helper");
        Wait::new(Reason::Stuck, words)
    } else {
        Wait::new(Reason::WaitingForMember, format!("waits for it: {words}"))
    })
}

/// Exactly one member says of itself that it is active.
pub(in crate::cluster) fn one_leader(world: &World<'_>) -> Result<usize, Wait> {
    let mut active = (0..)
        .zip(world.members)
        .filter(|(_, m)| m.probe == Probe::Active)
        .map(|(index, _)| index);
    match (active.next(), active.next()) {
        (Some(leader), None) => Ok(leader),
        _ => Err(no_leader()),
    }
}

/// Raft keeps its majority when one member goes and another one fails then. Two members or fewer never do, and whoever
/// runs so few accepts that.
pub(in crate::cluster) fn raft_bears_a_loss(world: &World<'_>, leader: usize) -> Result<(), Wait> {
    if !matches!(world.cluster.storage, Storage::Raft(_)) || world.members.len() < 3 {
        return Ok(());
    }
    let wait = |words: String| Err(Wait::new(Reason::WaitingForRaft, words));
    let (configuration, autopilot) = world.raft.ok_or_else(unknown)?;
    if let Some(member) = world.members.iter().find(|m| !configuration.has_vote(&m.name)) {
        return wait(format!("waits until {} has a vote", member.name));
    }
    if !autopilot.healthy || autopilot.failure_tolerance < 1 {
        let judgement = if autopilot.healthy {
            "healthy"
        } else {
            "not healthy"
        };
        return wait(format!(
            "waits until a member may fail: Vault's autopilot says {judgement}, failure tolerance {}",
            autopilot.failure_tolerance
        ));
    }
    let is_new = |m: &&Member| {
        m.started
            .is_some_and(|at| world.now.duration_since(at).as_secs_f64() < SETTLES.as_secs_f64())
    };
    if let Some(member) = world.members.iter().find(is_new) {
        return wait(format!(
            "waits until {} has run for {} s, since autopilot's judgement may be older",
            member.name,
            SETTLES.as_secs()
        ));
    }
    if let Some(committed) = world.members[leader].raft_index {
        let lags = |m: &&Member| {
            m.raft_index
                .is_some_and(|has| committed.saturating_sub(has) > MAX_LAG)
        };
        if let Some(member) = world.members.iter().find(lags) {
            let lacks = committed - member.raft_index.unwrap_or_default();
            return wait(format!(
                "waits until {} has caught up: it lacks {lacks} entries",
                member.name
            ));
        }
    }
    Ok(())
}

/// Not another change of leaders within ten seconds.
pub(in crate::cluster) fn leads_for_a_while(world: &World<'_>, leader: usize) -> Result<(), Wait> {
    match world.leads_for {
        Some(span) if span < BETWEEN_LEADERS => Err(Wait::new(
            Reason::WaitingForLeader,
            format!(
                "waits until {} has led for {} s before it steps down",
                world.members[leader].name,
                BETWEEN_LEADERS.as_secs()
            ),
        )),
        _ => Ok(()),
    }
}

/// Members can answer as standbys and yet be unable to become active, when an audit device cannot be opened for example.
/// The leader then comes back each time, after seconds without any.
pub(in crate::cluster) fn somebody_takes_over(world: &World<'_>, leader: usize) -> Result<(), Wait> {
    if world.gave_up < STEP_DOWNS {
        return Ok(());
    }
    Err(Wait::new(
        Reason::Stuck,
        format!(
            "{leader} has given up its leadership {times} times and leads again each time: the others answer and do not become active. It is left alone: see why in their logs (kubectl logs, at `post-unseal setup failed` for example) and correct the spec, with which they are restarted. To try once more as it is: kubectl annotate vc {name} -n {namespace} {RESTART}=again --overwrite",
            leader = world.members[leader].name,
            times = world.gave_up,
            name = world.cluster.name,
            namespace = world.cluster.namespace,
        ),
    ))
}

fn no_leader() -> Wait {
    Wait::new(
        Reason::WaitingForLeader,
        "waits until exactly one member is active",
    )
}

pub(in crate::cluster) fn unknown() -> Wait {
    Wait::new(Reason::WaitingForRaft, "waits until Raft's members can be read")
}

/// A member that does not serve, in its pod's own words.
pub(in crate::cluster) fn waits_for(world: &World<'_>, member: &Member) -> Wait {
    let words = match outage::explain(world.cluster.auto_seal(), member) {
        Some(outage) => format!("{}: {}", member.says(), outage.message),
        None => member.says(),
    };
    if is_stuck(member) {
        let words = format!(
            "{words}. The other members are left alone: correct the spec, and this member is restarted with it"
        );
        return Wait::new(Reason::Stuck, words);
    }
    // What keeps a container from being made, such as a Secret that is missing, is told in events of the pod only.
    let more = match member.probe {
        Probe::Pending if member.pod.is_some() && !member.deleting => format!(
            ". If it lasts: kubectl describe pod {} -n {}",
            member.name, world.cluster.namespace
        ),
        _ => String::new(),
    };
    Wait::new(Reason::WaitingForMember, format!("waits for it: {words}{more}"))
}

/// Whether a member's process ended by itself, or cannot begin.
fn is_stuck(member: &Member) -> bool {
    if member.deleting || member.pod.is_none() {
        return false;
    }
    match (&member.probe, &member.stopped) {
        (Probe::Pending, Some(stopped)) => {
            stopped.exit_code.is_some()
                || stopped
                    .waiting
                    .as_deref()
                    .is_some_and(|reason| !STARTING.contains(&reason))
        }
        // Nobody knows a node for it.
        (Probe::Pending, None) => member.obstacle.is_some(),
        (Probe::Unreachable(_), Some(stopped)) => stopped.exit_code.is_some(),
        _ => false,
    }
}
