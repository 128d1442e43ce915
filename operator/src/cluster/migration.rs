//! From unseal shares to a seal that opens by itself, and back. Pure; `act` does the I/O.
//!
//! Vault migrates when a member that was restarted for the new seal, and opened with the keys of the old one, becomes
//! active. So the ordinary roll-out does the work, and only two things are decided here: what the members' configuration
//! says, from what the data is under and what is wanted, and when the one has become the other. The note in the key
//! Secret is written before what it says is relied on, and all else is read from the world at each look.

pub(crate) mod act;
mod note;
pub(crate) mod report;

use super::keys::{KeyKind, KeyRecord, State};
use super::plan::Step;
use super::validate::{AutoSeal, Seal, Split, Storage, Validated};
use crate::members::{Member, Probe};

pub use note::{SealNote, Side};

use vaultkeeper_crds::cluster::Distribution;

/// What Vault calls the seal by shares.
pub(crate) const SHAMIR: &str = "shamir";

impl Side {
    /// The side of a seal.
    pub(crate) fn of(seal: &Seal) -> Self {
        match seal.auto() {
            None => Self::Shamir,
            Some(_) => Self::Auto,
        }
    }

    /// What the stored keys are on this side.
    pub(crate) fn keys(self) -> KeyKind {
        match self {
            Self::Shamir => KeyKind::Unseal,
            Self::Auto => KeyKind::Recovery,
        }
    }
}

/// What is known of the seal, also of a cluster that never changed its own. None: the operator cannot know it.
pub(crate) fn known(record: &KeyRecord, declared: &Seal) -> Option<SealNote> {
    let first = |in_force, auto: Option<&AutoSeal>| SealNote {
        in_force,
        target: None,
        auto: auto.cloned(),
        migrations: 0,
    };
    record
        .seal
        .clone()
        .or_else(|| match (record.kind, declared.auto()) {
            (KeyKind::Unseal, _) => Some(first(Side::Shamir, None)),
            (KeyKind::Recovery, Some(by)) => Some(first(Side::Auto, Some(by))),
            (KeyKind::Recovery, None) => None,
        })
}

/// Marks the pod template, so that every state of a migration is one of its own. None: as it was before the first.
fn mark(note: &SealNote, wanted: Side) -> Option<String> {
    let SealNote {
        in_force, migrations, ..
    } = note;
    if *in_force != wanted {
        return Some(format!("{migrations}-{}-to-{}", in_force.word(), wanted.word()));
    }
    (*migrations > 0).then(|| format!("{migrations}-{}", wanted.word()))
}

/// The cluster with what its members' configuration needs beside the spec: the seal that the data is still under.
pub(crate) fn bind(cluster: &Validated, note: Option<&SealNote>) -> Validated {
    let mut bound = cluster.clone();
    if let Some(note) = note {
        let wanted = Side::of(&cluster.seal);
        let former = note
            .auto
            .clone()
            .filter(|_| note.in_force == Side::Auto && wanted == Side::Shamir);
        bound.former = former.map(Box::new);
        bound.seal_mark = mark(note, wanted);
    }
    bound
}

/// The note that is to be written before anything of the spec is applied. None: nothing changes.
///
/// # Errors
/// Why this change is not made, and what to do instead.
pub(crate) fn begin(cluster: &Validated, record: &KeyRecord) -> Result<Option<SealNote>, String> {
    if record.state != State::Initialized || cluster.refused.is_some() {
        return Ok(None);
    }
    let wanted = Side::of(&cluster.seal);
    let Some(note) = known(record, &cluster.seal) else {
        return Err(
            "spec.seal became shamir, but the key Secret does not say what the seal was, which the members need to read their data: put the former spec.seal back, and change it when the cluster is rolled out"
                .to_owned(),
        );
    };
    if let (Some(from), Some(to)) = (&note.auto, cluster.seal.auto())
        && from.kind() != to.kind()
        && (note.in_force == Side::Auto || note.target.is_some())
    {
        return Err(format!(
            "spec.seal cannot be changed from {} to {} at once: change it to shamir first, and when the condition SealMigrated says that this is done, to {}",
            from.kind(),
            to.kind(),
            to.kind()
        ));
    }
    let heads_for = note.target.unwrap_or(note.in_force);
    if wanted == heads_for {
        return Ok(None);
    }
    // Whoever takes a change back may do so whatever the state of the cluster is.
    if wanted != note.in_force {
        may_begin(cluster, record)?;
    }
    Ok(Some(SealNote {
        target: Some(wanted),
        auto: cluster.seal.auto().cloned().or_else(|| note.auto.clone()),
        ..note
    }))
}

fn may_begin(cluster: &Validated, record: &KeyRecord) -> Result<(), String> {
    let refused = |words: &str| Err(format!("spec.seal cannot be changed to another kind {words}"));
    if cluster.distribution != Distribution::Vault {
        return refused(
            "with OpenBao, whose seal migration was never tried with this operator: create a new VaultCluster and restore a snapshot",
        );
    }
    if let Some(AutoSeal::Static(_) | AutoSeal::Pkcs11(_)) = cluster.seal.auto() {
        return refused("that is static or pkcs11: create a new VaultCluster and restore a snapshot");
    }
    if cluster.storage == Storage::Ephemeral {
        return refused("with its data in memory, which a restart would lose: create a new VaultCluster");
    }
    if cluster.replicas < 2 {
        return refused(
            "with a single member, since nobody would serve if the new seal did not work: raise spec.replicas to 3 first",
        );
    }
    if record.custody.is_some() || !record.hand_over.is_empty() || !cluster.seal.custodians().is_empty() {
        return refused(
            "where custodians hold the keys, since the operator has none to migrate with: put spec.seal back as it was; a new VaultCluster and a snapshot are the way. From another kind to custodians it goes by way of shamir without custodians",
        );
    }
    if record.root_token.is_some() {
        return refused("before the cluster is set up: put spec.seal back and wait until it is Available");
    }
    if !record.seals.latched.is_empty() || record.seals.damaged {
        return refused(
            "while members are sealed on purpose: release that first, see the condition SealLatched",
        );
    }
    let (field, split) = match &cluster.seal {
        Seal::Shamir { split, .. } => ("shamir", *split),
        Seal::Auto { recovery, .. } => ("recovery", *recovery),
    };
    let Split { shares, threshold } = split;
    if (usize::from(shares), usize::from(threshold)) != (record.shares.len(), record.threshold) {
        return refused(&format!(
            "with other numbers of keys, since the keys stay the same ones: set spec.seal.{field}.shares to {} and threshold to {}",
            record.shares.len(),
            record.threshold
        ));
    }
    Ok(())
}

/// The note after Vault has migrated, as the active member says. It alone migrates, so it alone knows.
///
/// To a seal of its own: an active member that runs with it and is not in migration has its data under it. Back to
/// shares: every member that was restarted for that says so too, but so would one of before a migration the other way;
/// therefore the mark on its pod must be that of the present one.
pub(crate) fn carried_out(note: &SealNote, members: &[Member]) -> Option<SealNote> {
    let mut active = members.iter().filter(|m| m.probe == Probe::Active);
    let (Some(active), None) = (active.next(), active.next()) else {
        return None;
    };
    let kind = active.seal_type.as_deref().filter(|_| !active.migrating)?;
    let in_force = match note.in_force {
        Side::Shamir => note
            .auto
            .as_ref()
            .filter(|by| by.kind() == kind)
            .map(|_| Side::Auto),
        Side::Auto => {
            (kind == SHAMIR && active.seal_mark == mark(note, Side::Shamir)).then_some(Side::Shamir)
        }
    }?;
    Some(SealNote {
        in_force,
        target: note.target.or(Some(in_force)),
        auto: note.auto.clone(),
        migrations: note.migrations.saturating_add(1),
    })
}

/// The step that notes it.
pub(crate) fn next(record: &KeyRecord, members: &[Member]) -> Option<Step> {
    carried_out(record.seal.as_ref()?, members).map(Step::RecordSeal)
}

/// The note once every member runs the present pod template and has proven that it starts with this seal alone. None:
/// not yet, or that is known.
pub(crate) fn settled(cluster: &Validated, record: &KeyRecord, members: &[Member]) -> Option<SealNote> {
    if record.state != State::Initialized || cluster.refused.is_some() {
        return None;
    }
    let note = known(record, &cluster.seal)?;
    let wanted = Side::of(&cluster.seal);
    let kind = cluster.seal.auto().map_or(SHAMIR, AutoSeal::kind);
    let is_proven = |m: &Member| m.probe.serves() && !m.migrating && m.seal_type.as_deref() == Some(kind);
    if note.in_force != wanted || !members.iter().all(is_proven) {
        return None;
    }
    let after = SealNote {
        in_force: wanted,
        target: None,
        auto: cluster.seal.auto().cloned(),
        migrations: note.migrations,
    };
    // Of shares that were never anything else there is nothing to remember.
    let is_known = record.seal.as_ref() == Some(&after) || (record.seal.is_none() && wanted == Side::Shamir);
    (!is_known).then_some(after)
}

/// Whether the operator opens a sealed member with the stored keys, though nobody released it.
pub(crate) fn opens(record: &KeyRecord, member: &Member) -> bool {
    let kind = member.seal_type.as_deref();
    if !member.migrating {
        // One that opens by itself is left to it.
        return kind.map_or(record.kind == KeyKind::Unseal, |kind| kind == SHAMIR);
    }
    // Only on the way there: one that was restarted for a change that was taken back is restarted again instead.
    let Some(note) = &record.seal else { return false };
    match note.target {
        Some(Side::Shamir) => kind == Some(SHAMIR),
        Some(Side::Auto) => kind.is_some_and(|kind| kind != SHAMIR),
        None => false,
    }
}

#[cfg(test)]
mod tests;
