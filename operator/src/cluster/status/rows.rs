//! What is told of members: a row for each, who leads, and all of that while the key Secret cannot be read.

use vaultkeeper_crds::VaultClusterStatus;
use vaultkeeper_crds::cluster::MemberStatus;
use vaultkeeper_vault::sys::raft::RaftConfiguration;

use super::remedies;
use crate::cluster::certificates;
use crate::cluster::outage::Outage;
use crate::cluster::rollout::Verdict;
use crate::conditions::Draft;
use crate::members::{Member, Probe};

/// A row for each member.
pub(super) fn all(
    members: &[Member],
    outages: &[Option<Outage>],
    raft: Option<&RaftConfiguration>,
    rollout: Option<&Verdict>,
) -> Vec<MemberStatus> {
    let row = |(member, outage): (&Member, &Option<Outage>)| MemberStatus {
        name: member.name.clone(),
        state: member.probe.word().to_owned(),
        voter: raft.map(|configuration| configuration.has_vote(&member.name)),
        version: member.version.clone(),
        up_to_date: rollout.and_then(|verdict| verdict.is_current(member)),
        certificate: member.certificate.as_ref().map(|shown| shown.serial.clone()),
        message: match outage {
            Some(outage) => Some(outage.message.clone()),
            None => unready(member),
        },
    };
    members.iter().zip(outages).map(row).collect()
}

/// The member that leads.
pub(super) fn leader(members: &[Member]) -> Option<String> {
    let active = members.iter().find(|m| m.probe == Probe::Active);
    active.map(|m| m.name.clone())
}

/// How many of the members serve.
pub(super) fn ready(members: &[Member]) -> String {
    let serving = members.iter().filter(|m| m.probe.serves()).count();
    format!("{serving}/{}", members.len())
}

/// A member that serves and is in no Service.
fn unready(member: &Member) -> Option<String> {
    let unready = member.unready.as_ref().filter(|_| member.probe.serves())?;
    Some(format!(
        "it serves, but its pod is not ready, and Services leave it out: {}",
        unready.words
    ))
}

/// What a pass without members or keys leaves of the old status.
pub(super) fn unobserved(
    mut status: VaultClusterStatus,
    mut draft: Draft,
    members: &[Member],
    failed: Option<(&'static str, String)>,
    certificates: Option<&certificates::Report>,
) -> VaultClusterStatus {
    if let Some(report) = certificates {
        status.tls = Some(report.tls.clone());
    }
    if !members.is_empty() {
        without_keys(&mut status, &mut draft, members, failed.as_ref());
    }
    if !draft.has("Available") {
        let (reason, message) = failed.unwrap_or(("Waiting", "not looked at yet".to_owned()));
        draft.set("Available", false, reason, &message);
    }
    status.conditions = draft.finish();
    status
}

/// Rows and leader as they are now, and whether clients are served: an old word on that could be false for days.
fn without_keys(
    status: &mut VaultClusterStatus,
    draft: &mut Draft,
    members: &[Member],
    failed: Option<&(&'static str, String)>,
) {
    let old = std::mem::take(&mut status.members);
    let row = |member: &Member| MemberStatus {
        state: member.probe.word().to_owned(),
        version: member.version.clone(),
        certificate: member.certificate.as_ref().map(|shown| shown.serial.clone()),
        message: unready(member),
        ..old
            .iter()
            .find(|row| row.name == member.name)
            .cloned()
            .unwrap_or_else(|| MemberStatus {
                name: member.name.clone(),
                ..MemberStatus::default()
            })
    };
    status.members = members.iter().map(row).collect();
    status.leader = leader(members);
    status.members_ready = Some(ready(members));
    // Rules are judged only where it was set up.
    let was_set_up = !status.readiness_rules.is_empty();
    match (&status.leader, failed) {
        (Some(leader), _) if was_set_up => {
            let reason = if members.iter().all(|m| m.probe.serves()) {
                "AllMembersServe"
            } else {
                "Degraded"
            };
            let serving = ready(members).replace('/', " of ");
            let message = format!("{leader} is active, {serving} members serve");
            draft.set("Available", true, reason, &message);
        }
        // Nothing was promised yet.
        (Some(_), _) => {}
        (None, failed) => {
            let states: Vec<String> = members.iter().map(Member::says).collect();
            let states = states.join(", ");
            let (reason, why) = match failed {
                Some((reason, why)) => (*reason, why.clone()),
                None => ("NoActiveMember", remedies::of_members(members, &[]).join("; ")),
            };
            let message = format!("no member is active: {states}; {why}");
            draft.set("Available", false, reason, &message);
        }
    }
}
