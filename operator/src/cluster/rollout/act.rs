//! Looks at the world for a roll-out and does what is decided: deletes one pod, or makes the leader step down.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio::time::Instant;
use vaultkeeper_crds::names;
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::report::ROLLED_OUT;
use super::{Act, Problem, Reason, Template, Verdict, World, decide};
use crate::cluster::apply::is_owned_by;
use crate::cluster::error::{Error, unless_gone};
use crate::cluster::execute::Scope;
use crate::cluster::plan::Blocked;
use crate::cluster::{key_store, raft};
use crate::conditions;
use crate::controllers::hash;
use crate::members::{self, Member, Probe};
use crate::report;
use crate::sessions::Target;

/// Limit for one question to a member.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the pass knows besides its scope.
pub(crate) struct Known<'a> {
    /// The CA of the members.
    pub ca: &'a str,
    /// Why the present spec is not applied.
    pub problem: Option<&'a Problem>,
    /// Whether this cluster was seen initialised at any time.
    pub was_begun: bool,
    /// What blocks everything without a person.
    pub blocked: Option<&'a Blocked>,
    /// Raft's members.
    pub raft: Option<&'a (RaftConfiguration, AutopilotState)>,
    /// The conditions that were last written.
    pub before: Option<&'a [Condition]>,
}

/// What became of it.
pub(crate) struct Rolled {
    /// What is said. None: nothing could be seen.
    pub verdict: Option<Verdict>,
    /// Whether something was done.
    pub acted: Result<bool, Error>,
}

/// Goes one step further, if it may.
pub(crate) async fn roll(scope: &Scope<'_>, known: &Known<'_>) -> Rolled {
    let set = match stateful_set(scope).await {
        Ok(set) => set,
        Err(error) => {
            return Rolled {
                verdict: None,
                acted: Err(error),
            };
        }
    };
    let template = settled(set.as_ref(), &scope.cluster.uid);
    let Known {
        ca,
        problem,
        was_begun,
        blocked,
        raft,
        before,
    } = *known;
    let yielded = scope.ctx.recent.kept::<Yielded>(&yielded_key(scope));
    let gave_up = |members: &[Member]| {
        let yielded = yielded.as_deref();
        yielded.map_or(0, |yielded| yielded.count(members, &template))
    };
    let first = World {
        cluster: scope.cluster,
        members: scope.members,
        template: &template,
        record: scope.record,
        blocked,
        problem,
        was_begun,
        gave_up: gave_up(scope.members),
        raft,
        leads_for: None,
        now: Timestamp::now(),
    };
    let verdict = decide(&first);
    tell_if_stuck(scope, before, &verdict).await;
    let Some(act) = verdict.act else {
        return Rolled {
            verdict: Some(verdict),
            acted: Ok(false),
        };
    };
    if is_new(scope, set.as_ref()) {
        // Somebody may have edited it by hand: ours is applied once more before anybody runs it.
        return Rolled {
            verdict: Some(verdict),
            acted: Ok(true),
        };
    }
    // What the pass saw at its beginning may be old by now: configuring Vault takes its time.
    let steps_down = match act {
        Act::StepDown { member } => Some(member),
        Act::Restart { .. } => None,
    };
    let (seen, raft, record, leads_for) = match look_again(scope, ca, steps_down).await {
        Ok(seen) => seen,
        Err(error) => {
            return Rolled {
                verdict: Some(verdict),
                acted: Err(error),
            };
        }
    };
    let second = decide(&World {
        members: &seen,
        gave_up: gave_up(&seen),
        raft: raft.as_ref(),
        record: record.as_ref(),
        leads_for,
        now: Timestamp::now(),
        ..first
    });
    let acted = if second.act == Some(act) {
        let done = perform(scope, &seen, act, &second).await;
        if let (Ok(Done::SteppedDown), Act::StepDown { member }) = (&done, act) {
            let now = Yielded::again(yielded.as_deref(), &seen[member], &template);
            scope.ctx.recent.keep(yielded_key(scope), now);
        }
        done.map(|_| true)
    } else {
        // Another act is thought over from the beginning.
        Ok(second.act.is_some())
    };
    Rolled {
        verdict: Some(second),
        acted,
    }
}

async fn stateful_set(scope: &Scope<'_>) -> Result<Option<StatefulSet>, Error> {
    let sets: Api<StatefulSet> = Api::namespaced(scope.ctx.client.clone(), &scope.cluster.namespace);
    let set = sets.get_opt(&scope.cluster.name).await;
    set.map_err(|e| Error::kubernetes("read the StatefulSet", e))
}

/// Whether this operator wants to roll out this generation of the StatefulSet for the first time. The next pass then
/// applies it, though it was applied lately.
fn is_new(scope: &Scope<'_>, set: Option<&StatefulSet>) -> bool {
    let uid = &scope.cluster.uid;
    let generation = set.and_then(|set| set.metadata.generation).unwrap_or_default();
    let key = format!("{uid}/rollout");
    let looks = scope
        .ctx
        .recent
        .look(&key, hash(&generation), Instant::now())
        .looks;
    if looks == 1 {
        scope.ctx.recent.forget(&format!("{uid}/apply/StatefulSet/"));
    }
    looks == 1
}

/// Only once the controller has seen the present template does its revision stand for that one.
fn settled(set: Option<&StatefulSet>, owner: &str) -> Template {
    let known = set.filter(|set| is_owned_by(*set, owner)).and_then(|set| {
        let status = set.status.as_ref()?;
        let is_seen =
            set.metadata.generation.is_some() && status.observed_generation == set.metadata.generation;
        status.update_revision.clone().filter(|_| is_seen)
    });
    known.map_or(Template::Unsettled, Template::Revision)
}

pub(in crate::cluster) type Seen = (
    Vec<Member>,
    Option<(RaftConfiguration, AutopilotState)>,
    Option<crate::cluster::keys::KeyRecord>,
    Option<Duration>,
);

/// Everything that may have changed since the pass began. `steps_down`: who is to give up its leadership.
pub(in crate::cluster) async fn look_again(
    scope: &Scope<'_>,
    ca: &str,
    steps_down: Option<usize>,
) -> Result<Seen, Error> {
    let Scope { ctx, cluster, .. } = *scope;
    let record = key_store::get(ctx, &cluster.namespace, &cluster.name).await?;
    let raft = if record.as_ref().is_some_and(|r| r.root_token.is_none()) {
        raft::observe(ctx, cluster).await
    } else {
        None
    };
    let seen = members::observe(ctx, &cluster.namespace, &cluster.name, cluster.replicas, ca).await;
    let seen = seen.map_err(|e| Error::kubernetes("list the members' pods", e))?;
    let leads_for = match steps_down {
        Some(member) => leads_for(scope, &seen[member]).await?,
        None => None,
    };
    Ok((seen, raft, record, leads_for))
}

/// How long a member has been active, by its own clock.
async fn leads_for(scope: &Scope<'_>, member: &Member) -> Result<Option<Duration>, Error> {
    let Some(client) = scope.client(member, TIMEOUT)? else {
        return Ok(None);
    };
    let step = |e| Error::vault("ask how long it has been active", &member.name, e);
    let leader = client.on_this_node().leader().await.map_err(step)?;
    let health = client.on_this_node().health().await.map_err(step)?;
    Ok(span(&leader.active_time, health.server_time_utc))
}

/// From a time to a number of seconds since 1970.
fn span(from: &str, to: i64) -> Option<Duration> {
    let from: Timestamp = from.parse().ok()?;
    let seconds = to.saturating_sub(from.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// What was really done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Done {
    Restarted,
    SteppedDown,
    /// Another member leads by now.
    Nothing,
}

async fn perform(scope: &Scope<'_>, members: &[Member], act: Act, verdict: &Verdict) -> Result<Done, Error> {
    let done = match act {
        Act::Restart { member } => restart(scope, &members[member], verdict).await?,
        Act::StepDown { member } => step_down(scope, &members[member], &verdict.message).await?,
    };
    // It may lead to the member that has just gone.
    scope.ctx.sessions.forget(&scope.cluster.uid).await;
    Ok(done)
}

/// How often one process was made to give up its leadership for one template. Losing it costs as many tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Yielded {
    container: Option<String>,
    template: Template,
    times: u32,
}

fn yielded_key(scope: &Scope<'_>) -> String {
    format!("{}/gave-up", scope.cluster.uid)
}

impl Yielded {
    /// For the member that is active now and this template.
    fn count(&self, members: &[Member], template: &Template) -> u32 {
        let active = members.iter().find(|m| m.probe == Probe::Active);
        let is_same = active.is_some_and(|m| m.container == self.container) && self.template == *template;
        if is_same { self.times } else { 0 }
    }

    /// Once more.
    fn again(before: Option<&Self>, leader: &Member, template: &Template) -> Self {
        let same = before.filter(|b| b.container == leader.container && b.template == *template);
        Self {
            container: leader.container.clone(),
            template: template.clone(),
            times: same.map_or(0, |before| before.times).saturating_add(1),
        }
    }
}

/// Deletes this very pod, with the grace that it was given.
async fn restart(scope: &Scope<'_>, member: &Member, verdict: &Verdict) -> Result<Done, Error> {
    let pods: Api<Pod> = Api::namespaced(scope.ctx.client.clone(), &scope.cluster.namespace);
    let this = DeleteParams::default().preconditions(Preconditions {
        uid: member.pod.clone(),
        resource_version: None,
    });
    unless_gone(
        "delete the pod of an outdated member",
        pods.delete(&member.name, &this).await,
    )?;
    let note = &verdict.message;
    scope
        .event(report::Reason::MemberRestarted, &member.name, note)
        .await;
    Ok(Done::Restarted)
}

/// On the leader's own address, and not forwarded: whoever leads by then is not meant.
pub(in crate::cluster) async fn step_down(
    scope: &Scope<'_>,
    leader: &Member,
    note: &str,
) -> Result<Done, Error> {
    let Some(node) = &leader.node else {
        return Ok(Done::Nothing);
    };
    let target = Target::from(scope.cluster);
    // A session of before may lead to another node.
    scope.ctx.sessions.forget(&target.uid).await;
    let session = scope.ctx.sessions.active(scope.ctx, &target).await;
    let session = session.map_err(Box::new)?;
    if session.node() != format!("https://{}:{}", node.host, names::API_PORT) {
        return Ok(Done::Nothing);
    }
    let step = |e| Error::vault("make the active member step down", &leader.name, e);
    session.on_this_node().step_down().await.map_err(step)?;
    scope.event(report::Reason::SteppedDown, &leader.name, note).await;
    Ok(Done::SteppedDown)
}

/// Once: the condition goes on saying it.
async fn tell_if_stuck(scope: &Scope<'_>, before: Option<&[Condition]>, verdict: &Verdict) {
    let word = Reason::Stuck.as_str();
    let known = before.and_then(|list| conditions::get(list, ROLLED_OUT));
    let is_news = known.is_some_and(|condition| condition.status != "True" && condition.reason != word);
    if verdict.reason == Reason::Stuck && is_news {
        scope
            .event(report::Reason::RolloutStuck, "", &verdict.message)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(generation: i64, observed: i64, revision: Option<&str>) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {
                "name": "main", "generation": generation,
                "ownerReferences": [{"apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster", "name": "main", "uid": "u"}],
            },
            "status": {"replicas": 3, "observedGeneration": observed, "updateRevision": revision},
        }))
        .unwrap()
    }

    #[test]
    fn a_revision_counts_once_the_controller_has_seen_the_present_template() {
        let known = Template::Revision("main-b".to_owned());
        assert_eq!(settled(Some(&set(4, 4, Some("main-b"))), "u"), known);
        assert_eq!(
            settled(Some(&set(5, 4, Some("main-b"))), "u"),
            Template::Unsettled,
            "it has seen the one before"
        );
        assert_eq!(settled(Some(&set(4, 4, None)), "u"), Template::Unsettled);
        assert_eq!(settled(None, "u"), Template::Unsettled);
        assert_eq!(
            settled(Some(&set(4, 4, Some("main-b"))), "another"),
            Template::Unsettled,
            "somebody else's StatefulSet"
        );
    }

    #[test]
    fn step_downs_are_counted_for_one_process_and_one_template() {
        let leader = |container: &str| Member {
            container: Some(container.to_owned()),
            probe: Probe::Active,
            ..Member::default()
        };
        let template = |name: &str| Template::Revision(name.to_owned());
        let once = Yielded::again(None, &leader("c"), &template("a"));
        let twice = Yielded::again(Some(&once), &leader("c"), &template("a"));
        assert_eq!(twice.count(&[leader("c")], &template("a")), 2);
        assert_eq!(twice.count(&[leader("d")], &template("a")), 0, "it was restarted");
        assert_eq!(
            twice.count(&[leader("c")], &template("b")),
            0,
            "the spec was corrected"
        );
        assert_eq!(twice.count(&[], &template("a")), 0, "nobody leads");
        assert_eq!(
            Yielded::again(Some(&twice), &leader("c"), &template("b")).times,
            1,
            "counted anew"
        );
    }

    #[test]
    fn the_time_as_leader_is_counted_by_the_leaders_own_clock() {
        let at = "2026-11-22T07:43:39.943123Z";
        let then = at.parse::<Timestamp>().unwrap().as_second();
        assert_eq!(span(at, then + 12), Some(Duration::from_secs(12)));
        assert_eq!(span(at, then - 3), Some(Duration::ZERO), "never negative");
        assert_eq!(
            span("2026-11-22T08:43:39.9+01:00", then + 5),
            Some(Duration::from_secs(5))
        );
        assert_eq!(span("", then), None, "a standby of OpenBao says nothing");
    }
}
