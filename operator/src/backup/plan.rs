//! What is to be done next for the backups of a cluster. Pure.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use vaultkeeper_crds::cluster::{BackupFailure, BackupRecord, BackupStatus};

use super::schedule::Schedule;

/// The first pause after a failed backup. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// How often the bucket is looked at between backups.
const LOOK: Duration = Duration::from_secs(3600);

/// When things are due.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Backups.
    pub backups: Schedule,
    /// Rehearsals.
    pub rehearsals: Schedule,
    /// Where they are now. What lies elsewhere does not count.
    pub place: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make a backup.
    Backup,
    /// Rehearse the restore of the newest one.
    Rehearse,
    /// See what is in the bucket.
    Look,
    /// Nothing before then.
    Wait(Timestamp),
}

fn after(at: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    at.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn retry(failure: &BackupFailure) -> Timestamp {
    let doublings = u32::try_from(failure.attempts - 1).unwrap_or_default().min(10);
    after(
        failure.last.0,
        (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE),
    )
}

impl Calendar {
    /// The newest good backup in the present place.
    pub fn newest<'a>(&self, status: &'a BackupStatus) -> Option<&'a BackupRecord> {
        status
            .last_success
            .as_ref()
            .filter(|record| record.place == self.place)
    }

    /// When the next backup is due. None: at once.
    pub fn next_backup(&self, status: &BackupStatus) -> Option<Timestamp> {
        match (&status.failure, self.newest(status)) {
            (Some(failure), _) => Some(retry(failure)),
            (None, Some(record)) => Some(self.backups.after(record.time.0).unwrap_or(Timestamp::MAX)),
            (None, None) => None,
        }
    }

    /// When the next rehearsal is due. None: at once.
    pub fn next_rehearsal(&self, status: &BackupStatus) -> Option<Timestamp> {
        let done = status
            .last_rehearsal
            .as_ref()
            .filter(|done| done.place == self.place);
        match (&status.rehearsal_failure, done) {
            (Some(failure), _) => Some(retry(failure)),
            (None, Some(done)) => Some(self.rehearsals.after(done.time.0).unwrap_or(Timestamp::MAX)),
            (None, None) => None,
        }
    }

    /// Decides. Backups come first.
    pub fn next(&self, status: &BackupStatus, now: Timestamp) -> Next {
        let (backup, rehearsal) = (self.next_backup(status), self.next_rehearsal(status));
        let is_due = |at: Option<Timestamp>| at.is_none_or(|at| at <= now);
        if is_due(backup) {
            return Next::Backup;
        }
        let newest = self.newest(status).is_some();
        if newest && is_due(rehearsal) {
            return Next::Rehearse;
        }
        let look = status.looked_at.as_ref().map(|at| after(at.0, LOOK));
        if newest && status.failure.is_none() && is_due(look) {
            return Next::Look;
        }
        let look = look.filter(|_| status.failure.is_none());
        let times = [backup, rehearsal.filter(|_| newest), look.filter(|_| newest)];
        let earliest = times.into_iter().flatten().min();
        Next::Wait(earliest.unwrap_or_else(|| after(now, LOOK)))
    }
}

/// A failure after the ones before it.
pub fn failed(
    before: Option<&BackupFailure>,
    reason: &str,
    message: String,
    now: Timestamp,
) -> BackupFailure {
    let now = super::whole(now);
    BackupFailure {
        reason: reason.to_owned(),
        message,
        since: before.map_or(now.clone(), |before| before.since.clone()),
        last: now,
        attempts: before.map_or(0, |before| before.attempts).saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use vaultkeeper_crds::cluster::{RehearsalDepth, RehearsalRecord};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    fn calendar() -> Calendar {
        Calendar {
            backups: Schedule::parse("0 * * * *").unwrap(),
            rehearsals: Schedule::parse("0 4 * * 0").unwrap(),
            place: "here".to_owned(),
        }
    }

    fn status(backup: &str, rehearsal: Option<&str>, looked: &str) -> BackupStatus {
        BackupStatus {
            last_success: Some(BackupRecord {
                place: "here".to_owned(),
                object: "o".to_owned(),
                time: Time(at(backup)),
                size: 1,
                sha256: String::new(),
                version: None,
            }),
            last_rehearsal: rehearsal.map(|time| RehearsalRecord {
                time: Time(at(time)),
                place: "here".to_owned(),
                object: "o".to_owned(),
                depth: RehearsalDepth::Archive,
                message: String::new(),
            }),
            looked_at: Some(Time(at(looked))),
            ..BackupStatus::default()
        }
    }

    #[test]
    fn the_first_backup_is_made_at_once_and_then_rehearsed() {
        let now = at("23T10:20:00");
        assert_eq!(calendar().next(&BackupStatus::default(), now), Next::Backup);
        let made = status("23T10:20:00", None, "23T10:20:00");
        assert_eq!(calendar().next(&made, now), Next::Rehearse);
        let all = status("23T10:20:00", Some("23T10:20:05"), "23T10:20:00");
        assert_eq!(
            calendar().next(&all, now),
            Next::Wait(at("23T11:00:00")),
            "the next hour"
        );
        assert_eq!(calendar().next(&all, at("23T11:00:00")), Next::Backup);
    }

    #[test]
    fn a_failure_is_tried_again_with_growing_pauses_and_stops_nothing_else() {
        let mut made = status("23T10:00:00", None, "23T11:00:00");
        let mut failure = failed(None, "X", String::new(), at("23T11:00:00"));
        made.failure = Some(failure.clone());
        assert_eq!(
            calendar().next(&made, at("23T11:00:01")),
            Next::Rehearse,
            "what there is"
        );
        made.last_rehearsal = status("23T10:00:00", Some("23T11:00:02"), "23T10:00:00").last_rehearsal;
        assert_eq!(
            calendar().next(&made, at("23T11:00:10")),
            Next::Wait(at("23T11:00:30"))
        );
        assert_eq!(calendar().next(&made, at("23T11:00:30")), Next::Backup);
        for _ in 0..40 {
            failure = failed(Some(&failure), "X", String::new(), at("23T12:00:00"));
        }
        assert_eq!(
            (failure.since.0, failure.attempts),
            (at("23T11:00:00"), 41),
            "since the first"
        );
        made.failure = Some(failure);
        assert_eq!(
            calendar().next(&made, at("23T12:00:01")),
            Next::Wait(at("23T12:30:00")),
            "not longer"
        );
    }

    #[test]
    fn what_lies_in_another_bucket_does_not_count() {
        let mut elsewhere = status("23T10:00:00", Some("23T10:00:00"), "23T10:00:00");
        elsewhere.last_success.as_mut().unwrap().place = "there".to_owned();
        assert_eq!(calendar().next(&elsewhere, at("23T10:00:01")), Next::Backup);
        let mut moved = status("23T10:00:00", Some("23T10:00:00"), "23T10:00:00");
        moved.last_rehearsal.as_mut().unwrap().place = "there".to_owned();
        assert_eq!(
            calendar().next(&moved, at("23T10:00:01")),
            Next::Rehearse,
            "the new place is proven too"
        );
    }

    #[test]
    fn the_bucket_is_looked_at_between_rare_backups() {
        let rare = Calendar {
            backups: Schedule::parse("0 0 * * *").unwrap(),
            ..calendar()
        };
        let made = status("23T00:00:00", Some("23T00:00:00"), "23T00:00:00");
        assert_eq!(rare.next(&made, at("23T00:30:00")), Next::Wait(at("23T01:00:00")));
        assert_eq!(rare.next(&made, at("23T01:00:00")), Next::Look);
    }
}
