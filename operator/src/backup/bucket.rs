//! What is in the bucket of this cluster's, and what goes.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::cluster::{BackupRecord, BackupRetention};

use super::error::Error;
use super::names::{self, Names};
use super::retention::{self, Found, Retention};
use super::s3::S3;

/// All objects of this cluster's.
pub(super) async fn found(s3: &S3, names: &Names) -> Result<Vec<Found>, Error> {
    let listed = s3.list(names.folder()).await?;
    let described: BTreeSet<&str> = listed
        .iter()
        .filter_map(|object| names::described(&object.key))
        .collect();
    let own = listed.iter().filter_map(|object| {
        Some(Found {
            at: names.time(&object.key)?,
            size: object.size,
            finished: described.contains(object.key.as_str()),
            object: object.key.clone(),
        })
    });
    Ok(own.collect())
}

/// Whether a backup is there as it was stored.
pub(super) fn is_there(found: &[Found], record: &BackupRecord) -> Result<(), Error> {
    let object = record.object.clone();
    let there = found
        .iter()
        .find(|found| found.object == object && found.finished);
    match there {
        None => Err(Error::Gone { object }),
        Some(there) if i64::try_from(there.size) != Ok(record.size) => Err(Error::Differs {
            object,
            what: format!("{} bytes instead of {}", there.size, record.size),
        }),
        Some(_) => Ok(()),
    }
}

/// Deletes what is not to be kept, and says how many finished ones are left.
pub(super) async fn prune(s3: &S3, found: &[Found], retention: &BackupRetention) -> Result<usize, Error> {
    let BackupRetention { keep, days } = retention;
    let day = Duration::from_secs(24 * 3600);
    let retention = Retention {
        keep: usize::try_from(*keep).unwrap_or(1),
        age: days.map(|days| day * u32::try_from(days).unwrap_or(u32::MAX)),
    };
    let doomed = retention::doomed(found, retention, Timestamp::now());
    for found in &doomed {
        // Without it the object counts as unfinished: after a crash in between a later pass deletes the rest.
        s3.delete(&names::manifest(&found.object)).await?;
        s3.delete(&found.object).await?;
    }
    let finished = |found: &&Found| found.finished;
    let gone = doomed.into_iter().filter(finished).count();
    Ok(found.iter().filter(finished).count() - gone)
}
