//! How it stands with the backups of a cluster, for its condition and for the rule Backups. Pure.

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{BackupFailure, RehearsalDepth};

use super::open::calendar;
use crate::controllers::chain;

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None is asked for.
    Off,
    /// A fresh one was proven.
    Good(String),
    /// It is not as it should be.
    Bad {
        /// A word for it.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Type of the condition.
pub(crate) const BACKED_UP: &str = "BackedUp";

fn why(failure: Option<&BackupFailure>) -> String {
    failure.map_or_else(String::new, |failure| {
        format!(
            ". The last attempt failed ({} of them since {}): {}: {}",
            failure.attempts, failure.since.0, failure.reason, failure.message
        )
    })
}

/// Judges.
pub(crate) fn judge(cluster: &VaultCluster, now: Timestamp) -> Standing {
    let Some(backup) = &cluster.spec.backup else {
        return Standing::Off;
    };
    let bad = |reason, message| Standing::Bad { reason, message };
    let calendar = match calendar(backup) {
        Ok(calendar) => calendar,
        Err(error) => return bad("InvalidBackup", chain(&error)),
    };
    let status = cluster.status.as_ref().and_then(|status| status.backup.clone());
    let status = status.unwrap_or_default();
    let failed = why(status.failure.as_ref());
    let Some(newest) = calendar.newest(&status) else {
        return bad("NoBackup", format!("there is no backup yet{failed}"));
    };
    if !calendar.backups.is_fresh(newest.time.0, now) {
        let message = format!(
            "the newest backup is of {}, which is more than two intervals ago{failed}",
            newest.time.0
        );
        return bad("BackupOverdue", message);
    }
    let unproven = why(status.rehearsal_failure.as_ref());
    if status.rehearsal_failure.is_some() {
        return bad(
            "RehearsalFailed",
            format!("a restore could not be rehearsed{unproven}"),
        );
    }
    let done = status
        .last_rehearsal
        .as_ref()
        .filter(|done| done.place == calendar.place);
    let Some(done) = done else {
        return bad("NotRehearsed", "no restore was rehearsed yet".to_owned());
    };
    if !calendar.rehearsals.is_fresh(done.time.0, now) {
        let message = format!(
            "the last rehearsal of a restore was at {}, which is more than two intervals ago",
            done.time.0
        );
        return bad("RehearsalOverdue", message);
    }
    let proven = match done.depth {
        RehearsalDepth::Archive => "read back, decrypted and checked",
        RehearsalDepth::Opened => "restored into a Vault of its own and opened",
    };
    Standing::Good(format!(
        "the newest backup is of {}, and one was {proven} at {}{failed}",
        newest.time.0, done.time.0
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::validate::tests::cluster;

    const BACKUP: &str = "  backup: {schedule: '0 * * * *', recipients: [], s3: {endpoint: 'https://s', bucket: b, credentials: {accessKeyId: {name: n, key: a}, secretAccessKey: {name: n, key: b}}}}";

    fn judged(status: serde_json::Value, now: &str) -> Standing {
        let mut object = cluster(BACKUP);
        object.status = serde_json::from_value(json!({ "backup": status })).unwrap();
        judge(&object, format!("2026-11-{now}Z").parse().unwrap())
    }

    fn word(standing: &Standing) -> &str {
        match standing {
            Standing::Off => "off",
            Standing::Good(_) => "good",
            Standing::Bad { reason, .. } => reason,
        }
    }

    fn status(backup: &str, rehearsal: &str, place: &str) -> serde_json::Value {
        json!({
            "lastSuccess": {"place": place, "object": "o", "time": format!("2026-11-{backup}Z"), "size": 1, "sha256": ""},
            "lastRehearsal": {"place": place, "object": "o", "time": format!("2026-11-{rehearsal}Z"), "depth": "Opened", "message": ""},
        })
    }

    #[test]
    fn a_backup_counts_while_it_is_fresh_and_was_rehearsed_lately() {
        assert_eq!(judge(&cluster(""), Timestamp::UNIX_EPOCH), Standing::Off);
        let here = "https://s/b/";
        let good = status("23T10:00:00", "22T04:00:00", here);
        for (now, expected) in [
            ("23T10:30:00", "good"),
            ("23T11:59:00", "good"),
            ("23T12:00:01", "BackupOverdue"),
        ] {
            assert_eq!(word(&judged(good.clone(), now)), expected, "at {now}");
        }
        assert_eq!(word(&judged(json!({}), "23T10:30:00")), "NoBackup");
        let elsewhere = status("23T10:00:00", "22T04:00:00", "https://s/other/");
        assert_eq!(
            word(&judged(elsewhere, "23T10:30:00")),
            "NoBackup",
            "it is in another bucket"
        );
        let old = status("23T10:00:00", "08T04:00:00", here);
        assert_eq!(word(&judged(old, "23T10:30:00")), "RehearsalOverdue");
        let mut never = good.clone();
        never["lastRehearsal"] = json!(null);
        assert_eq!(word(&judged(never, "23T10:30:00")), "NotRehearsed");
        let mut failed = good;
        let failure = json!({"reason": "BackupDiffers", "message": "x", "since": "2026-11-23T10:00:00Z", "last": "2026-11-23T10:00:00Z", "attempts": 2});
        failed["rehearsalFailure"] = failure.clone();
        assert_eq!(word(&judged(failed.clone(), "23T10:30:00")), "RehearsalFailed");
        failed["rehearsalFailure"] = json!(null);
        failed["failure"] = failure;
        let standing = judged(failed, "23T10:30:00");
        assert!(
            matches!(&standing, Standing::Good(message) if message.contains("BackupDiffers")),
            "one failed attempt does not undo what is there, and is told: {standing:?}"
        );
    }
}
