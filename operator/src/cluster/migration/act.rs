//! Writes the notes of a migration, and tells of them.

use kube::Resource;
use vaultkeeper_crds::{VaultCluster, names};

use super::{SealNote, Side};
use crate::cluster::error::Error;
use crate::cluster::execute::Scope;
use crate::cluster::key_store;
use crate::cluster::keys::KeyRecord;
use crate::cluster::validate::Validated;
use crate::context::Context;
use crate::report::Reason;

/// What stands in the key Secret about the seal, and whether that was written just now.
pub(crate) struct Noted {
    /// The note.
    pub note: Option<SealNote>,
    /// Whether the record that was read before is out of date.
    pub is_new: bool,
}

/// Notes a change of the seal before anything of it is applied.
pub(crate) async fn begin(
    ctx: &Context,
    object: &VaultCluster,
    cluster: &Validated,
    record: Option<&KeyRecord>,
) -> Result<Noted, Error> {
    let Some(record) = record else {
        return Ok(Noted {
            note: None,
            is_new: false,
        });
    };
    let Some(note) = super::begin(cluster, record).map_err(Error::SealMigration)? else {
        return Ok(Noted {
            note: record.seal.clone(),
            is_new: false,
        });
    };
    key_store::record_seal(ctx, cluster, record, &note).await?;
    let text = match note.target {
        Some(side) if side == note.in_force => format!(
            "the change of spec.seal was taken back before the data was migrated: the members return to {}",
            describe(&note, side)
        ),
        _ => format!(
            "from {} to {}: every member is restarted for it, the active one last. The keys in Secret {} stay the same ones, and become {} with it",
            describe(&note, note.in_force),
            describe(&note, other(note.in_force)),
            names::key_secret(&cluster.namespace, &cluster.name),
            other(note.in_force).keys().words()
        ),
    };
    let about = object.object_ref(&());
    ctx.reporter
        .publish(&about, Reason::SealMigrationBegun, "", &text)
        .await;
    Ok(Noted {
        note: Some(note),
        is_new: true,
    })
}

/// Notes that Vault has migrated: from here on the keys are what they are on the other side.
pub(crate) async fn record(scope: &Scope<'_>, record: &KeyRecord, note: &SealNote) -> Result<(), Error> {
    key_store::record_seal(scope.ctx, scope.cluster, record, note).await?;
    let text = format!(
        "the data is under {} now, and the stored keys are its {}; every member is restarted once more, to prove that it starts with that alone",
        describe(note, note.in_force),
        note.in_force.keys().words()
    );
    scope.event(Reason::SealMigrated, "", &text).await;
    Ok(())
}

/// Every member runs the present pod template: what was proven by that is noted. True if there was something.
pub(crate) async fn settle(scope: &Scope<'_>) -> Result<bool, Error> {
    let Some(record) = scope.record else {
        return Ok(false);
    };
    let Some(note) = super::settled(scope.cluster, record, scope.members) else {
        return Ok(false);
    };
    key_store::record_seal(scope.ctx, scope.cluster, record, &note).await?;
    if record.seal.as_ref().is_some_and(|before| before.target.is_some()) {
        let text = format!(
            "every member has started with {} alone; the stored keys are its {}",
            describe(&note, note.in_force),
            note.in_force.keys().words()
        );
        scope.event(Reason::SealMigrationEnded, "", &text).await;
    }
    Ok(true)
}

fn other(side: Side) -> Side {
    match side {
        Side::Shamir => Side::Auto,
        Side::Auto => Side::Shamir,
    }
}

/// A side in the words of a message.
pub(super) fn describe(note: &SealNote, side: Side) -> String {
    match (side, &note.auto) {
        (Side::Auto, Some(by)) => by.describe(),
        (Side::Auto, None) => "a seal of its own".to_owned(),
        (Side::Shamir, _) => "unseal shares".to_owned(),
    }
}
