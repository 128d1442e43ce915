//! Looks how many members run and does what is decided: marks, removes, shrinks, clears.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use vaultkeeper_crds::annotations::{CLUSTER, REMOVED_FROM};
use vaultkeeper_crds::{VaultCluster, names};

use super::{Act, Left, Size, Verdict, World, decide, mark, size};
use crate::cluster::apply::is_owned_by;
use crate::cluster::build::volume_claim;
use crate::cluster::error::{Error, unless_gone};
use crate::cluster::execute::Scope;
use crate::cluster::patch_params;
use crate::cluster::rollout::act::{Known, look_again, step_down};
use crate::cluster::rollout::{self, Template};
use crate::cluster::validate::{Storage, Validated};
use crate::context::Context;
use crate::members::{Member, Probe};
use crate::report::Reason;
use crate::sessions::Target;

/// Looks how many members run, where that may differ from the spec.
pub(crate) async fn measure(
    ctx: &Context,
    object: &VaultCluster,
    cluster: &Validated,
) -> Result<Size, Error> {
    let wanted = cluster.replicas;
    let status = object.status.as_ref();
    if !size::is_due(status, wanted) {
        return Ok(Size::settled(wanted));
    }
    let sets: Api<StatefulSet> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let set = sets.get_opt(&cluster.name).await;
    let set = set.map_err(|e| Error::kubernetes("count the members", e))?;
    let rows = status.map_or(&[][..], |status| &status.members);
    // Of a StatefulSet that somebody deleted, the members come back: as many as there were.
    let known = u32::try_from(rows.len()).unwrap_or_default();
    let set = set.filter(|set| is_owned_by(set, &cluster.uid));
    let running = set.as_ref().map_or(known, replicas);
    let left = match cluster.storage {
        Storage::Raft(_) => marked(ctx, cluster, running, wanted).await?,
        Storage::Consul(_) | Storage::Ephemeral => Vec::new(),
    };
    let removed = |ordinal: u32| {
        let name = names::member(&cluster.name, ordinal);
        rows.iter()
            .any(|row| row.name == name && row.state == Probe::Removed.word())
    };
    Ok(Size {
        wanted,
        present: size::present(wanted, running, &left, removed),
        left,
        counted: set.is_some(),
    })
}

fn replicas(set: &StatefulSet) -> u32 {
    let spec = set.spec.as_ref().and_then(|spec| spec.replicas);
    u32::try_from(spec.unwrap_or(1)).unwrap_or_default()
}

/// Marked claims of the highest member that runs and of those that are to come. The first member is never taken out.
async fn marked(ctx: &Context, cluster: &Validated, running: u32, wanted: u32) -> Result<Vec<Left>, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let first = running.saturating_sub(1).max(1);
    let mut found = Vec::new();
    for ordinal in first..wanted.max(running.min(first + 1)) {
        let claim = claims.get_opt(&volume_claim(&cluster.name, ordinal)).await;
        let claim = claim.map_err(|e| Error::kubernetes("read a member's volume claim", e))?;
        found.extend(claim.and_then(|claim| mark::read(&claim, ordinal)));
    }
    Ok(found)
}

/// What became of it.
pub(crate) struct Resized {
    /// What is said. None: there are as many members as there are to be.
    pub verdict: Option<Verdict>,
    /// Whether something was done.
    pub acted: Result<bool, Error>,
}

/// How often one process was made to give up its leadership.
#[derive(Clone, Debug, Default)]
struct Yielded {
    container: Option<String>,
    times: u32,
}

impl Yielded {
    fn of(&self, members: &[Member]) -> u32 {
        let active = members.iter().find(|m| m.probe == Probe::Active);
        let is_same = active.is_some_and(|m| m.container == self.container);
        if is_same { self.times } else { 0 }
    }
}

/// Goes one step further, if it may.
pub(crate) async fn resize(scope: &Scope<'_>, size: &Size, known: &Known<'_>, rolled_out: bool) -> Resized {
    let key = format!("{}/gave-up-to-go", scope.cluster.uid);
    let yielded = scope.ctx.recent.kept::<Yielded>(&key).unwrap_or_default();
    let first = World {
        roll: rollout::World {
            cluster: scope.cluster,
            members: scope.members,
            template: &Template::Unsettled,
            record: scope.record,
            blocked: known.blocked,
            problem: known.problem,
            was_begun: known.was_begun,
            gave_up: yielded.of(scope.members),
            raft: known.raft,
            leads_for: None,
            now: Timestamp::now(),
        },
        size,
        rolled_out,
    };
    let verdict = decide(&first);
    let Some(act) = verdict.as_ref().and_then(|v| v.act.clone()) else {
        let acted = Ok(false);
        return Resized { verdict, acted };
    };
    let steps_down = match &act {
        Act::StepDown { member } => Some(*member),
        _ => None,
    };
    let (seen, raft, record, leads_for) = match look_again(scope, known.ca, steps_down).await {
        Ok(seen) => seen,
        Err(error) => {
            let acted = Err(error);
            return Resized { verdict, acted };
        }
    };
    let second = decide(&World {
        roll: rollout::World {
            members: &seen,
            gave_up: yielded.of(&seen),
            raft: raft.as_ref(),
            record: record.as_ref(),
            leads_for,
            now: Timestamp::now(),
            ..first.roll
        },
        ..first
    });
    let again = second.as_ref().and_then(|v| v.act.as_ref());
    let acted = match (&second, again == Some(&act)) {
        (Some(second), true) => {
            if let Some(member) = steps_down {
                let container = seen[member].container.clone();
                let times = yielded.of(&seen) + 1;
                scope.ctx.recent.keep(key, Yielded { container, times });
            }
            perform(scope, &seen, &act, &second.message).await
        }
        // Another act is thought over from the beginning.
        _ => Ok(again.is_some()),
    };
    Resized {
        verdict: second,
        acted,
    }
}

async fn perform(scope: &Scope<'_>, members: &[Member], act: &Act, note: &str) -> Result<bool, Error> {
    let done = match act {
        Act::StepDown { member } => step_down(scope, &members[*member], note).await.map(|_| true),
        Act::Remove { member, ordinal } => remove(scope, members, member, *ordinal).await,
        Act::Shrink { to } => shrink(scope, *to, note).await,
        Act::Clear(left) => clear(scope, left, note).await,
        Act::Unmark(left) => unmark(scope, left).await,
    }?;
    // It may lead to the member that has just gone.
    scope.ctx.sessions.forget(&scope.cluster.uid).await;
    Ok(done)
}

/// The mark comes first: who dies in between has marked a member that is taken out next, or one whose mark counts for nothing.
async fn remove(scope: &Scope<'_>, members: &[Member], name: &str, ordinal: u32) -> Result<bool, Error> {
    let active = members.iter().find(|m| m.probe == Probe::Active);
    let Some((node, vault)) = active.and_then(|m| Some((m.node.as_ref()?, m.cluster_id.as_ref()?))) else {
        return Ok(false);
    };
    if usize::try_from(ordinal).is_ok_and(|n| n >= members.len()) && has_pod(scope, name).await? {
        // Somebody has just raised the number of pods by hand: it is counted anew.
        return Ok(false);
    }
    mark_claim(scope, ordinal, vault).await?;
    let target = Target::from(scope.cluster);
    // A session of before may lead to another node.
    scope.ctx.sessions.forget(&target.uid).await;
    let session = scope.ctx.sessions.active(scope.ctx, &target).await;
    let session = session.map_err(Box::new)?;
    let is_the_one = session.node() == format!("https://{}:{}", node.host, names::API_PORT);
    if !is_the_one {
        return Ok(true);
    }
    let removed = session.on_this_node().remove_peer(name).await;
    removed.map_err(|e| Error::vault("take a member out of Raft", name, e))?;
    let note = format!(
        "{name} was taken out of Raft, since spec.replicas is lower; its volume claim {} is kept until a member of that name comes again",
        volume_claim(&scope.cluster.name, ordinal)
    );
    scope.event(Reason::MemberRemoved, name, &note).await;
    Ok(true)
}

async fn has_pod(scope: &Scope<'_>, name: &str) -> Result<bool, Error> {
    let pods: Api<Pod> = Api::namespaced(scope.ctx.client.clone(), &scope.cluster.namespace);
    let ours = ListParams::default().labels(&format!("{CLUSTER}={}", scope.cluster.name));
    let found = pods.list(&ours).await;
    let found = found.map_err(|e| Error::kubernetes("list the members' pods", e))?;
    Ok(found.items.iter().any(|pod| pod.name_any() == name))
}

fn claims(scope: &Scope<'_>) -> Api<PersistentVolumeClaim> {
    Api::namespaced(scope.ctx.client.clone(), &scope.cluster.namespace)
}

async fn mark_claim(scope: &Scope<'_>, ordinal: u32, vault: &str) -> Result<(), Error> {
    let step = "mark the volume claim of a member that goes";
    let claims = claims(scope);
    let name = volume_claim(&scope.cluster.name, ordinal);
    let found = claims.get_opt(&name).await;
    let Some(claim) = found.map_err(|e| Error::kubernetes(step, e))? else {
        return Ok(());
    };
    let mark = mark::text(vault, &claim.uid().unwrap_or_default());
    if claim.annotations().get(REMOVED_FROM) == Some(&mark) {
        return Ok(());
    }
    let body = json!({"metadata": {
        "resourceVersion": claim.resource_version(),
        "annotations": {REMOVED_FROM: mark},
    }});
    let patched = claims.patch(&name, &patch_params(), &Patch::Merge(&body)).await;
    patched.map(drop).map_err(|e| Error::kubernetes(step, e))
}

/// The number of pods that the decision was made on, or nothing.
async fn shrink(scope: &Scope<'_>, to: u32, note: &str) -> Result<bool, Error> {
    let step = "lower the number of members";
    let Validated {
        namespace, name, uid, ..
    } = scope.cluster;
    let sets: Api<StatefulSet> = Api::namespaced(scope.ctx.client.clone(), namespace);
    let found = sets.get_opt(name).await;
    let found = found.map_err(|e| Error::kubernetes(step, e))?;
    let Some(set) = found.filter(|set| is_owned_by(set, uid) && replicas(set) == to + 1) else {
        return Ok(true);
    };
    let body = json!({
        "metadata": {"resourceVersion": set.resource_version()},
        "spec": {"replicas": to},
    });
    let patched = sets.patch(name, &patch_params(), &Patch::Merge(&body)).await;
    patched.map_err(|e| Error::kubernetes(step, e))?;
    scope.ctx.recent.forget(&format!("{uid}/apply/StatefulSet/"));
    let member = names::member(name, to);
    scope.event(Reason::ScaledDown, &member, note).await;
    Ok(true)
}

/// This very claim in this very state: nobody has taken the mark away meanwhile.
async fn clear(scope: &Scope<'_>, left: &Left, note: &str) -> Result<bool, Error> {
    let this = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(left.uid.clone()),
            resource_version: Some(left.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    unless_gone(
        "delete the volume claim of a member that was taken out",
        claims(scope).delete(&left.claim, &this).await,
    )?;
    scope.event(Reason::VolumeCleared, &left.claim, note).await;
    Ok(true)
}

async fn unmark(scope: &Scope<'_>, left: &Left) -> Result<bool, Error> {
    let body = json!({"metadata": {
        "resourceVersion": left.resource_version,
        "annotations": {REMOVED_FROM: null},
    }});
    let patched = claims(scope)
        .patch(&left.claim, &patch_params(), &Patch::Merge(&body))
        .await;
    let step = "take the mark from a volume claim";
    patched.map(|_| true).map_err(|e| Error::kubernetes(step, e))
}
