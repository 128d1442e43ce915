//! What is told of members: of those that serve and are in no Service, and of all while the key Secret cannot be read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::VaultClusterStatus;
use vaultkeeper_crds::cluster::MemberStatus;

use crate::conditions::{self, Status};
use crate::members::{Member, Probe};

/// A member that serves and is in no Service.
pub(super) fn unready(member: &Member) -> Option<String> {
    let unready = member.unready.as_ref().filter(|_| member.probe.serves())?;
    Some(format!(
        "it serves, but its pod is not ready, and Services leave it out: {}",
        unready.words
    ))
}

/// Rows and leader as they are now, and whether clients are served: an old word on that could be false for days.
pub(super) fn without_keys(
    status: &mut VaultClusterStatus,
    list: &mut Vec<Condition>,
    members: &[Member],
    failed: Option<&(&'static str, String)>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let serving = members.iter().filter(|m| m.probe.serves()).count();
    let active = members.iter().find(|m| m.probe == Probe::Active);
    let wanted = members.len();
    let old = std::mem::take(&mut status.members);
    status.members = members
        .iter()
        .map(|member| MemberStatus {
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
        })
        .collect();
    status.leader = active.map(|m| m.name.clone());
    status.members_ready = Some(format!("{serving}/{wanted}"));
    // Rules are judged only where it was set up.
    let was_set_up = !status.readiness_rules.is_empty();
    let (holds, reason, message) = match active {
        Some(leader) if was_set_up => {
            let reason = if serving == wanted {
                "AllMembersServe"
            } else {
                "Degraded"
            };
            let message = format!("{} is active, {serving} of {wanted} members serve", leader.name);
            (true, reason, message)
        }
        // Nothing was promised yet.
        Some(_) => return,
        None => {
            let states: Vec<String> = members.iter().map(Member::says).collect();
            let states = states.join(", ");
            match failed {
                Some((reason, why)) => (false, *reason, format!("no member is active: {states}; {why}")),
                None => (false, "NoActiveMember", format!("no member is active: {states}")),
            }
        }
    };
    conditions::set(
        list,
        "Available",
        Status::from(holds),
        reason,
        &message,
        generation,
        now,
    );
}
