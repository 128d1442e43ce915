//! Backups: encrypted snapshots outside of the Kubernetes cluster, which of them are kept, and the rehearsal of a restore.
//!
//! A controller of its own beside that of VaultClusters: a snapshot may take an hour, and members must be unsealed
//! meanwhile. It alone writes `status.backup`. See docs/backup.md.

pub mod age;
pub mod archive;
mod bucket;
mod error;
mod fetch;
mod manifest;
pub mod names;
mod open;
pub mod plan;
mod rehearse;
pub mod retention;
pub mod s3;
pub mod schedule;
pub(crate) mod standing;
mod status;
mod take;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{Backup, BackupRecord, BackupStatus, PendingUpload, RehearsalRecord};

pub use error::Error;

use crate::cluster::claim::{self, Claim};
use crate::conditions;
use crate::context::Context;
use crate::controllers::{ReconcileError, chain};
use crate::report::Reason;
use crate::sessions::{self, Target};
use names::Names;
use open::Opened;
use plan::{Calendar, Next};

/// How long one backup or rehearsal may take.
const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// How soon to look again for a cluster that serves.
const SOON: Duration = Duration::from_secs(5);
/// How long breaking an upload off may take when there is no time.
const HASTE: Duration = Duration::from_secs(5);
/// The longest sleep between two looks at what is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

impl ReconcileError for Error {
    fn reason(&self) -> &'static str {
        Self::reason(self)
    }
}

/// Whole seconds, as the API server keeps them.
fn whole(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// What one pass works on.
struct Work<'a> {
    ctx: &'a Context,
    cluster: &'a VaultCluster,
    backup: &'a Backup,
    calendar: Calendar,
    names: Names,
    namespace: String,
    name: String,
}

/// One pass over the backups of a VaultCluster: does at most one thing.
pub(crate) async fn reconcile(
    cluster: Arc<VaultCluster>,
    ctx: Arc<Context>,
    shutdown: CancellationToken,
) -> Result<Action, Error> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    // The copy of the watch may be older than what this controller wrote itself.
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), &namespace);
    if cluster.spec.backup.is_none()
        && cluster
            .status
            .as_ref()
            .is_none_or(|status| status.backup.is_none())
    {
        return Ok(Action::await_change());
    }
    let step = |e| Error::kubernetes("read the VaultCluster", e);
    let Some(cluster) = api.get_opt(&name).await.map_err(step)? else {
        return Ok(Action::await_change());
    };
    let is_idle = claim::read(&cluster, &ctx.namespace) != Claim::Ours
        || cluster.spec.paused
        || cluster.spec.external.is_some()
        || cluster.metadata.deletion_timestamp.is_some();
    if is_idle {
        return Ok(Action::await_change());
    }
    let before = cluster.status.as_ref().and_then(|status| status.backup.clone());
    let Some(backup) = &cluster.spec.backup else {
        if before.is_some() {
            status::write(&ctx, &namespace, &name, None).await?;
        }
        return Ok(Action::await_change());
    };
    let Ok(calendar) = open::calendar(backup) else {
        // The condition says why.
        return Ok(Action::await_change());
    };
    let serves = cluster.status.as_ref();
    let serves = serves.is_some_and(|status| conditions::is_true(&status.conditions, "Available"));
    let mut state = before.clone().unwrap_or_default();
    if !serves && state.last_success.is_none() {
        return Ok(Action::requeue(SOON));
    }
    let work = Work {
        ctx: &ctx,
        cluster: &cluster,
        backup,
        names: Names::new(
            &backup.s3.prefix,
            &namespace,
            &name,
            &cluster.uid().unwrap_or_default(),
        ),
        calendar,
        namespace,
        name,
    };
    let next = work.calendar.next(&state, Timestamp::now());
    let acted = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        acted = timeout(LIMIT, work.act(next, &mut state)) => Some(acted.unwrap_or(Err(Error::TooSlow(LIMIT)))),
    };
    let Some(acted) = acted else {
        // Begun anew by whoever leads next, which breaks off what is left.
        let _ = timeout(HASTE, work.break_off(&mut state)).await;
        return Ok(Action::await_change());
    };
    if let Err(error) = acted {
        work.failed(next, &mut state, &error).await;
        if matches!(error, Error::TooSlow(_)) {
            let _ = timeout(HASTE, work.break_off(&mut state)).await;
        }
    }
    state.next = work.calendar.next_backup(&state).map(whole);
    state.next_rehearsal = work.calendar.next_rehearsal(&state).map(whole);
    if before.as_ref() != Some(&state) {
        status::write(&ctx, &work.namespace, &work.name, Some(&state)).await?;
    }
    Ok(Action::requeue(match next {
        Next::Wait(until) => {
            let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
            left.clamp(Duration::from_millis(100), LONGEST_SLEEP)
        }
        _ => Duration::from_millis(100),
    }))
}

impl Work<'_> {
    async fn act(&self, next: Next, state: &mut BackupStatus) -> Result<(), Error> {
        match next {
            Next::Wait(_) => Ok(()),
            Next::Backup => self.back_up(state).await,
            Next::Rehearse => self.rehearse(state).await,
            Next::Look => self.look(state).await,
        }
    }

    async fn open(&self) -> Result<Opened, Error> {
        open::open(self.ctx, &self.namespace, &self.name, self.backup).await
    }

    async fn event(&self, reason: Reason, note: &str) {
        let about = self.cluster.object_ref(&());
        self.ctx.reporter.publish(&about, reason, "", note).await;
    }

    /// Notes a failure, and tells it when it is a new one.
    async fn failed(&self, next: Next, state: &mut BackupStatus, error: &Error) {
        let (slot, reason) = match next {
            Next::Rehearse => (&mut state.rehearsal_failure, Reason::RehearsalFailed),
            _ => (&mut state.failure, Reason::BackupFailed),
        };
        let message = chain(error);
        let is_new = slot.as_ref().is_none_or(|before| before.reason != error.reason());
        *slot = Some(plan::failed(
            slot.as_ref(),
            error.reason(),
            message.clone(),
            Timestamp::now(),
        ));
        if matches!(error, Error::Gone { .. } | Error::Differs { .. }) && next == Next::Look {
            // It does not count any more.
            state.last_success = None;
        }
        let (namespace, name) = (&self.namespace, &self.name);
        tracing::warn!(
            namespace,
            name,
            reason = error.reason(),
            error = message,
            ?next,
            "failed"
        );
        if is_new {
            self.event(reason, &message).await;
        }
    }

    async fn back_up(&self, state: &mut BackupStatus) -> Result<(), Error> {
        let opened = self.open().await?;
        state.operator_recipient = Some(opened.identity.recipient().to_string());
        self.break_off_with(&opened, state).await?;
        let target = Target::from(self.cluster);
        let client = self.ctx.sessions.active(self.ctx, &target).await;
        let client = client.map_err(|error| Error::Session(Box::new(error)))?;
        let now = whole(Timestamp::now());
        let status = self.cluster.status.as_ref();
        let job = take::Job {
            object: self.names.object(now.0),
            time: now.0.to_string(),
            cluster_id: status.and_then(|status| status.cluster_id.clone()),
            version: status.and_then(|status| status.members.iter().find_map(|m| m.version.clone())),
        };
        let id = opened.s3.begin(&job.object).await?;
        state.upload = Some(PendingUpload {
            place: self.calendar.place.clone(),
            object: job.object.clone(),
            id: id.clone(),
        });
        // Whoever comes after a crash can break it off.
        let noted = status::write(self.ctx, &self.namespace, &self.name, Some(state)).await;
        let made = match noted {
            Ok(()) => take::upload(&client, &opened, &job, &id).await,
            Err(error) => Err(error),
        };
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                if matches!(&error, Error::Vault { source, .. } if sessions::is_spoilt_by(source)) {
                    self.ctx.sessions.forget(&target.uid).await;
                }
                if opened.s3.abort(&job.object, &id).await.is_ok() {
                    state.upload = None;
                }
                return Err(error);
            }
        };
        state.upload = None;
        state.failure = None;
        let size = i64::try_from(made.size).unwrap_or(i64::MAX);
        state.last_success = Some(BackupRecord {
            place: self.calendar.place.clone(),
            object: job.object.clone(),
            time: now,
            size,
            sha256: made.sha256,
            version: job.version,
        });
        // Known before anything is deleted.
        status::write(self.ctx, &self.namespace, &self.name, Some(state)).await?;
        let note = format!("{} ({size} bytes) in {}", job.object, self.calendar.place);
        self.event(Reason::BackedUp, &note).await;
        if let Err(error) = self.tidy(&opened, state).await {
            self.event(Reason::LeftBehind, &format!("old backups: {}", chain(&error)))
                .await;
        }
        Ok(())
    }

    async fn look(&self, state: &mut BackupStatus) -> Result<(), Error> {
        let opened = self.open().await?;
        self.tidy(&opened, state).await
    }

    /// Sees that the newest backup is there, and deletes what is not to be kept.
    async fn tidy(&self, opened: &Opened, state: &mut BackupStatus) -> Result<(), Error> {
        let found = bucket::found(&opened.s3, &self.names).await?;
        if let Some(newest) = self.calendar.newest(state) {
            bucket::is_there(&found, newest)?;
        }
        let kept = bucket::prune(&opened.s3, &found, &self.backup.retention).await?;
        state.kept = i32::try_from(kept).ok();
        state.looked_at = Some(whole(Timestamp::now()));
        Ok(())
    }

    async fn break_off(&self, state: &mut BackupStatus) -> Result<(), Error> {
        if state.upload.is_some() {
            let opened = self.open().await?;
            self.break_off_with(&opened, state).await?;
        }
        Ok(())
    }

    /// Breaks an upload off that a predecessor left. In another bucket nobody can.
    async fn break_off_with(&self, opened: &Opened, state: &mut BackupStatus) -> Result<(), Error> {
        if let Some(PendingUpload { place, object, id }) = &state.upload
            && *place == self.calendar.place
        {
            opened.s3.abort(object, id).await?;
        }
        state.upload = None;
        Ok(())
    }

    async fn rehearse(&self, state: &mut BackupStatus) -> Result<(), Error> {
        let Some(newest) = self.calendar.newest(state).cloned() else {
            return Ok(());
        };
        let opened = self.open().await?;
        let time = whole(Timestamp::now());
        let (depth, message) = rehearse::rehearse(&opened, &newest).await?;
        self.event(Reason::RestoreRehearsed, &format!("{}: {message}", newest.object))
            .await;
        state.rehearsal_failure = None;
        state.last_rehearsal = Some(RehearsalRecord {
            time,
            place: newest.place,
            object: newest.object,
            depth,
            message,
        });
        Ok(())
    }
}
