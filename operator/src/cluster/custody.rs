//! Who holds the unseal shares when people do: what is recorded, what a hand-over does next, what members wait for. Pure.
//!
//! The hand-over is a rekey to the custodians' keys. Its answer may be lost, and the old shares are dead by then: Vault is
//! therefore told to keep a backup of the encrypted shares, and every attempt is noted in the key Secret before a share
//! is given to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use vaultkeeper_crds::cluster::{CustodianStatus, CustodyStatus, Distribution, WaitingMember};
use vaultkeeper_crds::names;
use vaultkeeper_vault::sys::rekey::{RekeyBackup, RekeyStatus};

use super::keys::{KeyKind, KeyRecord, State};
use super::seals;
use super::validate::{Custodian, Seal, Split};
use crate::members::{Member, Probe};

/// The custody that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// How many shares unseal.
    pub threshold: u8,
    /// Who holds one.
    pub custodians: Vec<Holder>,
}

/// Who holds a share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the person.
    pub name: String,
    /// Fingerprint of the key that the share is encrypted to.
    pub fingerprint: String,
}

impl Custody {
    /// What the spec asks for, if it asks for custodians.
    pub fn wanted(seal: &Seal) -> Option<Self> {
        let Seal::Shamir { split, custodians } = seal else {
            return None;
        };
        let Split { shares: _, threshold } = *split;
        let holder = |custodian: &Custodian| Holder {
            name: custodian.name.clone(),
            fingerprint: custodian.key.fingerprint.clone(),
        };
        (!custodians.is_empty()).then(|| Self {
            threshold,
            custodians: custodians.iter().map(holder).collect(),
        })
    }

    /// The same people with the same quorum, in whatever order.
    fn is_same(&self, other: &Self) -> bool {
        let people = |custody: &Self| custody.custodians.iter().cloned().collect::<BTreeSet<_>>();
        self.threshold == other.threshold && people(self) == people(other)
    }

    /// `2 of alice, bob, carol`.
    pub fn quorum(&self) -> String {
        let names: Vec<&str> = self.custodians.iter().map(|c| c.name.as_str()).collect();
        format!("{} of {}", self.threshold, names.join(", "))
    }
}

/// Whether the shares are still to be handed over.
pub fn is_due(seal: &Seal, record: &KeyRecord) -> bool {
    Custody::wanted(seal).is_some()
        && record.custody.is_none()
        && record.kind == KeyKind::Unseal
        && record.state == State::Initialized
        && record.root_token.is_none()
        && record.seal.as_ref().is_none_or(|note| note.target.is_none())
}

/// One attempt to hand over, noted before a share is given to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What Vault calls it.
    pub nonce: String,
    /// Whom the new shares are for. The spec may have changed since.
    pub custody: Custody,
}

/// How many attempts are remembered: a refused key may be tried for hours.
const REMEMBERED: usize = 8;

/// The list to write before a share is given to another attempt. The one that the backup is of is never forgotten.
pub fn with_attempt(noted: &[Attempt], backup: Option<&RekeyBackup>, another: Attempt) -> Vec<Attempt> {
    let old = noted.len().saturating_sub(REMEMBERED - 1);
    let kept = noted
        .iter()
        .enumerate()
        .filter(|(at, attempt)| *at >= old || backup.is_some_and(|backup| backup.nonce == attempt.nonce));
    kept.map(|(_, attempt)| attempt.clone())
        .chain([another])
        .collect()
}

/// Encrypted shares by the name of their custodian, base64 of the PGP message.
pub type Encrypted = BTreeMap<String, String>;

/// What Vault says before the next step.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The attempts that were noted, oldest first.
    pub noted: &'a [Attempt],
    /// What is under way.
    pub status: &'a RekeyStatus,
    /// What Vault has kept.
    pub backup: Option<&'a RekeyBackup>,
    /// Shares and threshold in force at the active member.
    pub in_force: (u32, u32),
    /// Shares and threshold of what is stored in plain text.
    pub stored: (u32, u32),
}

/// The next step of a hand-over.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// An earlier attempt came into force and its answer was lost: these are its shares.
    Keep(Custody, Encrypted),
    /// An earlier attempt of ours is open: it is ended, and another one started.
    CancelAndStart(String),
    /// A new attempt.
    Start,
    /// Somebody else is at it.
    Elsewhere,
}

/// Decides.
pub fn next(wanted: &Custody, seen: &Seen<'_>) -> Next {
    if let Some((custody, encrypted)) = ours(seen.noted, seen.backup)
        && seen.in_force == custody.split()
        && seen.in_force != seen.stored
    {
        return Next::Keep(custody, encrypted);
    }
    let status = seen.status;
    if !status.started {
        return Next::Start;
    }
    if is_ours(wanted, status) || seen.noted.iter().any(|a| a.nonce == status.nonce) {
        Next::CancelAndStart(status.nonce.clone())
    } else {
        Next::Elsewhere
    }
}

impl Custody {
    /// Shares and threshold.
    pub fn split(&self) -> (u32, u32) {
        let shares = u32::try_from(self.custodians.len()).unwrap_or_default();
        (shares, u32::from(self.threshold))
    }
}

/// Whether an attempt is for these people and their quorum. Where Vault takes it from anybody, one for others may be
/// under way at any moment.
pub fn is_ours(wanted: &Custody, status: &RekeyStatus) -> bool {
    let fingerprints: Vec<&str> = wanted.custodians.iter().map(|c| c.fingerprint.as_str()).collect();
    status.started
        && status.backup
        && (status.shares, status.threshold) == wanted.split()
        && status.pgp_fingerprints == fingerprints
}

/// The backup, where it is of an attempt that was noted, with one share for each of its people.
pub fn ours(noted: &[Attempt], backup: Option<&RekeyBackup>) -> Option<(Custody, Encrypted)> {
    let backup = backup?;
    let attempt = noted.iter().find(|attempt| attempt.nonce == backup.nonce)?;
    let custody = &attempt.custody;
    if backup.keys.len() != custody.custodians.len() {
        return None;
    }
    let share = |holder: &Holder| match backup.keys.get(&holder.fingerprint).map(Vec::as_slice) {
        Some([one]) => Some((holder.name.clone(), one.clone())),
        _ => None,
    };
    let encrypted = custody.custodians.iter().map(share).collect::<Option<_>>()?;
    Some((custody.clone(), encrypted))
}

/// The shares of an answer, if it holds one for each of these people.
pub fn answered(wanted: &Custody, fingerprints: &[String], keys: &[String]) -> Option<Encrypted> {
    let expected = wanted.custodians.iter().map(|c| &c.fingerprint);
    if keys.len() != wanted.custodians.len() || !fingerprints.iter().eq(expected) {
        return None;
    }
    let names = wanted.custodians.iter().map(|c| c.name.clone());
    Some(names.zip(keys.iter().cloned()).collect())
}

/// Custodians whose encrypted share is not stored any more: somebody has edited the key Secret.
pub fn without_share<'a>(custody: &'a Custody, encrypted: &BTreeMap<String, Vec<u8>>) -> Vec<&'a str> {
    let is_stored = |name: &str| encrypted.get(name).is_some_and(|message| !message.is_empty());
    let names = custody.custodians.iter().map(|holder| holder.name.as_str());
    names.filter(|name| !is_stored(name)).collect()
}

/// Members that only the custodians can unseal, with the shares that each was given. A member that was sealed on
/// purpose is not among them: somebody wants it so.
pub fn waiting<'a>(members: &'a [Member], record: Option<&KeyRecord>) -> Vec<(&'a str, u32)> {
    let Some(record) = record.filter(|r| r.custody.is_some()) else {
        return Vec::new();
    };
    let held = seals::held(members, &record.seals);
    let waits = |m: &'a Member| match m.probe {
        Probe::Sealed { progress } if m.container.is_some() && !held.contains(&m.name) => {
            Some((m.name.as_str(), progress))
        }
        _ => None,
    };
    members.iter().filter_map(waits).collect()
}

/// Where a cluster is, for commands that a person types.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its product.
    pub distribution: Distribution,
}

/// Who may unseal which members, and how.
pub fn instructions(custody: &Custody, waiting: &[(&str, u32)], place: Place<'_>) -> String {
    let Place {
        namespace,
        name,
        distribution,
    } = place;
    let mut members = String::new();
    for (member, progress) in waiting {
        let separator = if members.is_empty() { "" } else { ", " };
        let _ = write!(members, "{separator}{member} ({progress}/{})", custody.threshold);
    }
    let program = match distribution {
        Distribution::Vault => "vault",
        Distribution::OpenBao => "bao",
    };
    format!(
        "sealed since their start, and the operator holds no share: {members}. They are unsealed by {}. Each of them decrypts their share (kubectl get secret {} -n {namespace} -o jsonpath='{{.data.NAME}}' | base64 -d | gpg --decrypt) and gives it to each of these members (kubectl exec -it MEMBER -n {namespace} -- {program} operator unseal)",
        custody.quorum(),
        names::custodian_secret(name),
    )
}

/// What is wrong where others hold the shares than the spec names.
pub fn differs(seal: &Seal, record: &KeyRecord) -> Option<String> {
    let custody = record.custody.as_ref()?;
    if Custody::wanted(seal).is_some_and(|wanted| wanted.is_same(custody)) {
        return None;
    }
    Some(format!(
        "the shares are held by {}, whatever spec.seal says, and only they can change that. Put spec.seal.shamir back to them and their keys",
        custody.quorum()
    ))
}

/// The status. `delivered`: the Secret for the custodians is in place.
pub fn status(
    seal: Option<&Seal>,
    record: Option<&KeyRecord>,
    members: &[Member],
    name: &str,
    delivered: bool,
) -> Option<CustodyStatus> {
    let in_force = record.and_then(|r| r.custody.clone());
    let handed_over = in_force.is_some();
    let custody = in_force.or_else(|| Custody::wanted(seal?))?;
    let (shares, threshold) = custody.split();
    let number = |number: u32| i32::try_from(number).unwrap_or_default();
    let held = record.map_or(0, |r| r.shares.len());
    Some(CustodyStatus {
        shares: number(shares),
        threshold: number(threshold),
        held_by_operator: i32::try_from(held).unwrap_or_default(),
        delivered: handed_over && delivered,
        secret: handed_over.then(|| names::custodian_secret(name)),
        waiting: waiting(members, record)
            .into_iter()
            .map(|(member, progress)| WaitingMember {
                name: member.to_owned(),
                progress: format!("{progress}/{threshold}"),
            })
            .collect(),
        custodians: custody
            .custodians
            .into_iter()
            .map(|Holder { name, fingerprint }| CustodianStatus { name, fingerprint })
            .collect(),
    })
}

#[cfg(test)]
#[path = "custody_tests.rs"]
mod tests;
