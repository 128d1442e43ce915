//! One pass over a cluster that is our own: apply, observe, plan, execute. What was learnt stands in the pass.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Resource, ResourceExt};
use vaultkeeper_crds::{VaultCluster, annotations};

use super::applied::{Applied, note_and_apply};
use super::error::Error;
use super::execute::Scope;
use super::keys::{self, State};
use super::plan::Observed;
use super::rollout::Verdict;
use super::sightings::{damaged_note, sealed_on_purpose};
use super::validate::{Storage, Validated};
use super::{
    Pass, applied_configuration, build, certificates, custodians, drop_annotation, execute, key_store,
    migration, outage, plan, raft, readiness, resize, rollout, seals, states, volumes,
};
use crate::conditions;
use crate::context::Context;
use crate::members::{self, Member, Probe};
use crate::report::Reason;

/// An error of one part does not keep the others from their work: a spec that cannot be applied must not stop the
/// unsealing of members that run.
pub(super) async fn run(
    ctx: &Context,
    cluster: &VaultCluster,
    validated: &Validated,
    pass: &mut Pass,
) -> Result<bool, Error> {
    let Validated { namespace, name, .. } = validated;
    if is_known(cluster) {
        // Before it is applied again: what somebody took away is told, not only put right.
        readiness::observe::network(ctx, validated).await;
    }
    let size = resize::act::measure(ctx, cluster, validated).await?;
    let validated = &size.of(validated);
    let mut held = certificates::hold(ctx, validated).await?;
    let record = key_store::get(ctx, namespace, name).await;
    let Applied {
        bound,
        is_new,
        result: applied,
    } = match &record {
        Ok(record) => Box::pin(note_and_apply(ctx, cluster, validated, &held, record.as_ref())).await,
        // That is said below. Which seal the data is under is not known without it.
        Err(_) => Applied::nothing(validated),
    };
    let validated = &bound;
    pass.former.clone_from(&validated.former);
    if applied.is_err() {
        // A spec that waits to be corrected must not let the certificate expire.
        certificates::renew_alone(ctx, cluster, validated, &mut held).await;
    }
    let Some(trust) = held.trust.as_deref() else {
        // No member could be verified. Their pods wait for the certificate as well.
        pass.certificates = certificates::report(validated, &held, &[], None);
        applied?;
        return Err(held.problem.unwrap_or(Error::CertificateMissing {
            secret: validated.tls.secret_name(name),
        }));
    };
    let record = if is_new {
        key_store::get(ctx, namespace, name).await
    } else {
        record
    };
    pass.members = members::observe(ctx, namespace, name, size.present, trust)
        .await
        .map_err(|e| Error::kubernetes("list the members' pods", e))?;
    tell_refused_pods(ctx, validated, &mut pass.members);
    let advanced = match &applied {
        Ok(()) => certificates::advance(ctx, cluster, validated, &held, &pass.members).await,
        Err(_) => Ok(None),
    };
    let (rollover, advanced) = match advanced {
        Ok(rollover) => (rollover, Ok(())),
        Err(error) => (None, Err(error)),
    };
    pass.certificates = certificates::report(validated, &held, &pass.members, rollover);
    let applied = applied.and(held.problem.map_or(Ok(()), Err)).and(advanced);
    // Before all that may block: clients of the active name wait for it.
    let labelled = states::follow(ctx, namespace, &pass.members).await;
    // Whatever has become of the keys: members are labelled and told of.
    pass.record = record?;
    if pass.members.iter().all(|m| m.probe == Probe::Pending) {
        // Perhaps somebody deleted or scaled down the StatefulSet: the next pass applies everything again.
        ctx.recent.forget(&format!("{}/apply/", validated.uid));
    }
    let initialized = pass
        .record
        .as_ref()
        .is_some_and(|r| r.state == State::Initialized);
    let first_volume = match &validated.storage {
        Storage::Raft(_) if !initialized => first_volume(ctx, validated).await?,
        Storage::Ephemeral => pass.members.first().and_then(|m| m.container.clone()),
        Storage::Raft(_) | Storage::Consul(_) => None,
    };
    let release = seals::release_of(cluster.annotations());
    let confirmed = match &pass.record {
        Some(record) => sealed_on_purpose(ctx, validated, &pass.members, &record.seals).await,
        None => BTreeSet::new(),
    };
    let delivered = custodians::deliver(ctx, validated, pass).await;
    pass.plan = plan::plan(&Observed {
        members: &pass.members,
        record: pass.record.as_ref(),
        storage: &validated.storage,
        uid: &validated.uid,
        first_volume: first_volume.as_deref(),
        confirmed: &confirmed,
        custodians: !validated.seal.custodians().is_empty(),
        by_shares: validated.seal.auto().is_none(),
        release,
    });
    if validated.refused.is_some() {
        pass.plan.steps.retain(plan::Step::keeps_serving);
    }
    pass.observed = true;
    let reference = cluster.object_ref(&());
    let scope = Scope {
        ctx,
        reference: &reference,
        cluster: validated,
        members: &pass.members,
        record: pass.record.as_ref(),
        applied: applied_configuration(cluster),
        findings: &pass.findings,
    };
    custodians::tell_who_waits(&scope, cluster.spec.distribution).await;
    let unseals = |step: &plan::Step| matches!(step, plan::Step::Unseal { .. });
    let to_look = pass.plan.steps.contains(&plan::Step::Configure) && has_served(cluster);
    let is_busy = pass.plan.steps.iter().any(unseals);
    if readiness::observe::may_take_its_time(ctx, validated, is_busy) && to_look {
        readiness::observe::look(&scope, is_in_place(cluster)).await;
    }
    let executed = execute::execute_all(&scope, &pass.plan.steps).await;
    // Whatever became of that: a full volume may be what it fails of.
    let grown = volumes::act::grow(&scope).await;
    if executed.is_ok() && initialized && pass.record.as_ref().is_some_and(|r| r.seals.damaged) {
        scope
            .event(Reason::SealLatched, keys::SEAL_RECORD, &damaged_note(validated))
            .await;
    }
    if pass.plan.steps.contains(&plan::Step::Configure) {
        pass.configured = executed.is_ok() && pass.problem().is_none();
        if matches!(validated.storage, Storage::Raft(_)) {
            pass.raft = raft::observe(ctx, validated).await;
        }
    }
    let problem = applied.as_ref().err().map(rollout::Problem::from);
    let status = cluster.status.as_ref();
    let known = rollout::act::Known {
        ca: trust,
        problem: problem.as_ref(),
        was_begun: status.is_some_and(|status| status.cluster_id.is_some()),
        blocked: pass.plan.blocked.as_ref(),
        raft: pass.raft.as_ref(),
        before: status.map(|s| s.conditions.as_slice()),
    };
    let rolled = Box::pin(rollout::act::roll(&scope, &known)).await;
    let is_rolled_out = rolled.verdict.as_ref().is_some_and(Verdict::is_over);
    let settled = match &applied {
        Ok(()) if is_rolled_out => migration::act::settle(&scope).await,
        _ => Ok(false),
    };
    pass.rollout = rolled.verdict;
    let resized = Box::pin(resize::act::resize(&scope, &size, &known, is_rolled_out)).await;
    pass.resizing = resized.verdict;
    pass.volumes = grown.as_ref().ok().cloned();
    let again = executed?;
    if let Some(reason) = release
        && initialized
        && pass.plan.blocked.is_none()
    {
        let note = format!("released by annotation: {reason}");
        scope.event(Reason::SealReleased, "", &note).await;
        drop_release(ctx, cluster).await?;
    }
    if release.is_none() && cluster.annotations().contains_key(annotations::RELEASE_SEAL) {
        let note = format!(
            "the annotation {} holds no reason, so that no seal is released by it",
            annotations::RELEASE_SEAL
        );
        scope.event(Reason::Refused, "release", &note).await;
        drop_release(ctx, cluster).await?;
    }
    let acted = applied.and(labelled).and(delivered).and(rolled.acted)?;
    let acted = again || acted || settled? || resized.acted?;
    grown.map(|_| acted)
}

/// Whether the rules were judged before, for the present spec.
fn is_known(cluster: &VaultCluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| {
        !status.readiness_rules.is_empty() && status.observed_generation == cluster.metadata.generation
    })
}

/// Whether it was set up and served before this pass. Until then nothing is to keep it from that.
fn has_served(cluster: &VaultCluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| {
        conditions::is_true(&status.conditions, "Available") || !status.readiness_rules.is_empty()
    })
}

/// Whether the configuration of the present spec was applied to Vault.
fn is_in_place(cluster: &VaultCluster) -> bool {
    let list = cluster.status.as_ref().map(|status| &status.conditions);
    let condition = list.and_then(|list| conditions::get(list, "Configured"));
    condition.is_some_and(|c| c.status == "True" && c.observed_generation == cluster.metadata.generation)
}

/// Says of members without a pod that Pod Security refuses it, where that is known. The controller tells it in an event
/// of the StatefulSet only.
fn tell_refused_pods(ctx: &Context, cluster: &Validated, members: &mut [Member]) {
    let enforced = ctx.namespaces.label(&cluster.namespace, outage::ENFORCED);
    let words = outage::refused_pod(cluster.pod.syslog_socket.as_deref(), enforced.as_deref());
    let Some(words) = words else { return };
    for member in members.iter_mut().filter(|member| member.pod.is_none()) {
        member.obstacle = Some(words.clone());
    }
}

async fn first_volume(ctx: &Context, cluster: &Validated) -> Result<Option<String>, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let claim = claims.get_opt(&build::volume_claim(&cluster.name, 0)).await;
    Ok(claim
        .map_err(|e| Error::kubernetes("read the first member's volume claim", e))?
        .and_then(|c| c.uid()))
}

/// The release is done and recorded: the annotation goes, so that a later seal is latched again.
async fn drop_release(ctx: &Context, cluster: &VaultCluster) -> Result<(), Error> {
    let step = "remove the annotation that released a seal";
    drop_annotation(ctx, cluster, annotations::RELEASE_SEAL, step).await
}
