//! The rehearsal of a restore.

use vaultkeeper_crds::cluster::{BackupRecord, RehearsalDepth};

use super::error::Error;
use super::fetch::{self, Nobody, Wanted};
use super::open::Opened;

/// Fetches a backup as a restore would. How far that proves it, and in words.
pub(super) async fn rehearse(
    opened: &Opened,
    record: &BackupRecord,
) -> Result<(RehearsalDepth, String), Error> {
    let wanted = Wanted {
        object: record.object.clone(),
        size: u64::try_from(record.size).unwrap_or_default(),
        sha256: record.sha256.clone(),
    };
    fetch::fetch(opened, &wanted, &mut Nobody).await?;
    let message = "fetched, compared with what was stored, decrypted, and every sum in it was right";
    Ok((RehearsalDepth::Archive, message.to_owned()))
}
