//! Whether the cluster is set up, open, and serves its clients, by what its members answer.

use super::{AWAITING, remedies};
use crate::cluster::keys::{KeyKind, KeyRecord, State};
use crate::cluster::outage::Outage;
use crate::conditions::Draft;
use crate::members::{Member, Probe};

/// What is known of that.
pub(super) struct Seen<'a> {
    pub members: &'a [Member],
    pub record: Option<&'a KeyRecord>,
    /// What blocks without a person.
    pub stuck: Option<(&'static str, String)>,
    /// Whether the declared configuration was tried once.
    pub tried: bool,
    /// What failed in this pass.
    pub failed: Option<(&'static str, String)>,
    /// Whom members wait for.
    pub awaited: Option<&'a str>,
    /// How many members make a majority, where Raft wants one.
    pub majority: Option<usize>,
    /// Why each member is out, where that is known.
    pub outages: &'a [Option<Outage>],
}

/// A condition: whether it holds, the reason and the message.
type Word = (bool, &'static str, String);

pub(super) fn tell(draft: &mut Draft, seen: &Seen<'_>) {
    let others = others(seen.members, seen.outages);
    for (type_, (holds, reason, message)) in [
        ("Initialized", initialized(seen)),
        ("Unsealed", unsealed(seen.members, &others)),
        ("Available", available(seen, &others)),
    ] {
        draft.set(type_, holds, reason, &message);
    }
}

fn serving(members: &[Member]) -> usize {
    members.iter().filter(|m| m.probe.serves()).count()
}

fn all_serve(members: &[Member]) -> bool {
    !members.is_empty() && members.iter().all(|m| m.probe.serves())
}

fn is_initialized(record: Option<&KeyRecord>) -> bool {
    record.is_some_and(|r| r.state == State::Initialized)
}

fn initialized(seen: &Seen<'_>) -> Word {
    if !is_initialized(seen.record) {
        let waits = (
            "Waiting",
            "waiting for every member to answer that it is empty".to_owned(),
        );
        let why = seen.stuck.clone().or_else(|| seen.failed.clone());
        let (reason, message) = why.unwrap_or(waits);
        return (false, reason, message);
    }
    let keys = seen.record.map_or(KeyKind::Unseal, |r| r.kind).words();
    let message = match seen.record.and_then(|r| r.custody.as_ref()) {
        Some(custody) => format!("initialised, and the {keys} are with {}", custody.quorum()),
        None => format!("initialised, and the {keys} are stored"),
    };
    (true, "KeysStored", message)
}

fn unsealed(members: &[Member], others: &str) -> Word {
    if all_serve(members) {
        (true, "AllMembers", "every member serves".to_owned())
    } else {
        (false, "SomeMembers", others.to_owned())
    }
}

fn available(seen: &Seen<'_>, others: &str) -> Word {
    let Seen {
        members,
        record,
        stuck,
        tried,
        failed,
        awaited,
        majority,
        outages,
    } = seen;
    let active = members.iter().find(|m| m.probe == Probe::Active);
    let is_set_up = is_initialized(*record) && record.is_some_and(|r| r.root_token.is_none());
    if let Some(leader) = active.filter(|_| is_set_up && *tried && stuck.is_none()) {
        let (serving, wanted) = (serving(members), members.len());
        let message = format!("{} is active, {serving} of {wanted} members serve", leader.name);
        return if all_serve(members) {
            (true, "AllMembersServe", message)
        } else {
            (true, "Degraded", format!("{message}: {others}"))
        };
    }
    let of_people = || awaited.map(|words| (AWAITING, words.to_owned()));
    let of_an_outage = || {
        let first = outages.iter().flatten().next();
        first.map(|outage| (outage.reason, others.to_owned()))
    };
    let why = stuck.clone().or_else(|| failed.clone());
    let (reason, message) = why.or_else(of_people).or_else(of_an_outage).unwrap_or_else(|| {
        match (is_initialized(*record), active) {
            (false, _) => (
                "Initializing",
                format!("waiting for every member to be up and empty: {others}"),
            ),
            (true, None) => ("NoActiveMember", no_active_member(members, others, *majority)),
            (true, Some(_)) => ("Configuring", "the configuration is being written".to_owned()),
        }
    });
    (false, reason, message)
}

fn no_active_member(members: &[Member], others: &str, majority: Option<usize>) -> String {
    if let Some(majority) = majority.filter(|majority| serving(members) < *majority) {
        return format!(
            "no member is active: {others}{}",
            without(majority, members.len())
        );
    }
    let remedy = remedies::of_no_active_member(members);
    if others.is_empty() {
        format!("no member is active: {remedy}")
    } else {
        format!("no member is active: {remedy}. {others}")
    }
}

/// What to do without a majority.
fn without(majority: usize, members: usize) -> String {
    format!(
        ". Raft needs {majority} of {members} members: bring back as many, with their volumes. Nothing is begun anew meanwhile. If they are lost for good: docs/lost-quorum.md"
    )
}

/// The members that do not serve, and each reason and each remedy once.
fn others(members: &[Member], outages: &[Option<Outage>]) -> String {
    let states: Vec<String> = members
        .iter()
        .filter(|m| !m.probe.serves())
        .map(Member::says)
        .collect();
    let mut text = states.join(", ");
    let mut said: Vec<&str> = Vec::new();
    for outage in outages.iter().flatten() {
        if !said.contains(&outage.message.as_str()) {
            said.push(&outage.message);
            text = format!("{text}; {}", outage.message);
        }
    }
    for remedy in remedies::of_members(members, outages) {
        text = format!("{text}; {remedy}");
    }
    text
}
