//! Looks at what the rules are judged by: Vault with the operator's own login, at most once a minute, and two objects
//! of Kubernetes.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Resource};
use serde_json::Value;
use tokio::time::Instant;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessRuleStatus, ReadinessState, ReadinessWaiver};
use vaultkeeper_vault::sys::raft::{AutopilotState, RaftConfiguration};

use super::memory::{Remembered, Seen};
use super::{
    Change, Lifetime, Look, MemberFacts, Network, Observations, PACE, SHORTLY, Wish, changes, judge, rows,
    vault,
};
use crate::backup::standing::Standing;
use crate::cluster::execute::Scope;
use crate::cluster::keys::KeyRecord;
use crate::cluster::tls::certificate;
use crate::cluster::validate::Validated;
use crate::cluster::{apply, build, configure};
use crate::context::Context;
use crate::controllers::chain;
use crate::members::Member;
use crate::report::Reason;
use crate::sessions::Target;

/// Whether Vault may be looked at before the rest is done. Members that wait to be unsealed come first; one that cannot be
/// unsealed must not hide all the others for ever.
pub(crate) fn may_take_its_time(ctx: &Context, cluster: &Validated, is_busy: bool) -> bool {
    let key = format!("{}/readiness/busy", cluster.uid);
    if !is_busy {
        ctx.recent.forget(&key);
        return true;
    }
    ctx.recent.look(&key, 0, Instant::now()).span >= PACE
}

/// Looks at everything that is due. `in_place`: the present spec was applied to Vault before.
pub(crate) async fn look(scope: &Scope<'_>, in_place: bool) {
    let Scope { ctx, cluster, .. } = scope;
    network(ctx, cluster).await;
    let key = format!("{}/readiness/vault", cluster.uid);
    let now = Instant::now();
    // A new spec is looked at once it is applied.
    let print = u64::try_from(cluster.generation).unwrap_or_default();
    let is_fresh = |within| ctx.recent.is_fresh(&key, print, within, now);
    let mut remembered = ctx.readiness.get(&cluster.uid);
    let unfinished = remembered.seen.as_ref().is_some_and(|seen| seen.unfinished);
    // Before the configuration is put right, so that what somebody changed is told.
    if is_fresh(SHORTLY) || is_fresh(PACE) && !unfinished && !configure::is_due(scope) {
        return;
    }
    let target = Target::from(*cluster);
    let mut seen = match ctx.sessions.active(ctx, &target).await {
        Ok(client) => {
            let (seen, spoilt) = vault::look(&client, scope, in_place, &mut remembered, now).await;
            if spoilt {
                ctx.sessions.forget(&target.uid).await;
            }
            seen
        }
        Err(error) => Seen::blind(&chain(&error), now),
    };
    seen.certificate = stored_certificate(ctx, cluster).await;
    let Remembered {
        begun,
        tokens,
        policies,
        app_roles,
        seen: _,
        network: _,
    } = remembered;
    ctx.readiness.change(&cluster.uid, |memory| {
        memory.begun = begun;
        (memory.tokens, memory.policies, memory.app_roles) = (tokens, policies, app_roles);
        memory.seen = Some(seen);
    });
    ctx.recent.mark(key, print, Instant::now());
}

/// Looks at the NetworkPolicy, before it is applied again.
pub(crate) async fn network(ctx: &Context, cluster: &Validated) {
    let key = format!("{}/readiness/network", cluster.uid);
    let now = Instant::now();
    let is_fresh = |within| ctx.recent.is_fresh(&key, 0, within, now);
    let wanted = build::network_policy(cluster, &ctx.namespace);
    let applied_soon = || {
        let policy = wanted.as_ref();
        policy.is_some_and(|policy| apply::is_due(ctx, cluster, "NetworkPolicy", policy))
    };
    if is_fresh(PACE) && !applied_soon() {
        return;
    }
    let found = match &wanted {
        None => Ok(Network::Off),
        Some(wanted) => policy_in_place(ctx, cluster, wanted).await,
    };
    let was_applied = |policy: &NetworkPolicy| apply::was_applied(ctx, cluster, "NetworkPolicy", policy);
    if found == Ok(Network::Changed) && !wanted.as_ref().is_some_and(was_applied) {
        // A new spec, or a new operator, asks for another one than is there: that is nobody's edit.
        return;
    }
    ctx.readiness
        .change(&cluster.uid, |memory| memory.network = Some(found));
    ctx.recent.mark(key, 0, now);
}

async fn policy_in_place(ctx: &Context, cluster: &Validated, wanted: &NetworkPolicy) -> Look<Network> {
    let api: Api<NetworkPolicy> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let found = api.get_opt(&cluster.name).await.map_err(|error| chain(&error))?;
    Ok(match found {
        None => Network::Absent,
        Some(found) if same(&found, wanted) && lets_everybody_in(wanted) => Network::Open,
        Some(found) if same(&found, wanted) => Network::Applied,
        Some(_) => Network::Changed,
    })
}

/// Whether a policy isolates nothing.
fn lets_everybody_in(policy: &NetworkPolicy) -> bool {
    let rules = policy.spec.iter().flat_map(|spec| spec.ingress.iter().flatten());
    rules.into_iter().any(|rule| match rule.from.as_deref() {
        None | Some([]) => true,
        Some(peers) => {
            let mut blocks = peers.iter().filter_map(|peer| peer.ip_block.as_ref());
            blocks.any(|block| block.cidr.ends_with("/0"))
        }
    })
}

/// Whether two policies say the same. What is empty says as much as what is not there.
fn same(found: &NetworkPolicy, wanted: &NetworkPolicy) -> bool {
    let plain = |policy: &NetworkPolicy| {
        let mut value = serde_json::to_value(&policy.spec).unwrap_or_default();
        drop_empty(&mut value);
        value
    };
    plain(found) == plain(wanted)
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_empty);
            map.retain(|_, value| !value.is_null() && *value != Value::Array(Vec::new()));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// The certificate in the members' Secret.
async fn stored_certificate(ctx: &Context, cluster: &Validated) -> Look<Option<Lifetime>> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &cluster.namespace);
    let name = cluster.tls.secret_name(&cluster.name);
    let secret = api.get_opt(&name).await.map_err(|error| chain(&error))?;
    let Some(text) = secret.and_then(|mut secret| secret.data.as_mut()?.remove("tls.crt")) else {
        return Ok(None);
    };
    lifetime(&String::from_utf8_lossy(&text.0))
        .map(Some)
        .ok_or_else(|| format!("tls.crt in Secret {name} is no certificate in PEM"))
}

fn lifetime(pem: &str) -> Option<Lifetime> {
    let facts = certificate::examine(pem)?;
    Some(Lifetime {
        begin: facts.not_before.as_second(),
        end: facts.not_after.as_second(),
    })
}

/// What a pass knows already.
pub(crate) struct Known<'a> {
    /// The members.
    pub members: &'a [Member],
    /// The key Secret.
    pub record: Option<&'a KeyRecord>,
    /// Raft's members, when the active member could be asked.
    pub raft: Option<&'a (RaftConfiguration, AutopilotState)>,
    /// How it stands with the backups.
    pub backups: Standing,
}

/// Judges all rules by what is known now. None: nothing was ever looked at. `before`: what the status shows, perhaps
/// of another process.
pub(crate) fn rate(
    ctx: &Context,
    cluster: &Validated,
    known: &Known<'_>,
    before: &[ReadinessRuleStatus],
    waivers: &[ReadinessWaiver],
) -> Option<Vec<ReadinessRuleStatus>> {
    let observed = observations(ctx, cluster, known, !before.is_empty())?;
    let now = Timestamp::now();
    let verdicts = judge(&Wish::from(cluster), &observed, now.as_second());
    let lasting = |rule: ReadinessRule, kind: ReadinessState| {
        let key = format!("{}/readiness/verdict/{}", cluster.uid, rule.as_str());
        ctx.recent.look(&key, kind as u64, Instant::now()).span
    };
    Some(rows(verdicts, before, waivers, lasting, now))
}

/// How many root tokens are alive, when that could be seen lately.
pub(crate) fn root_tokens(ctx: &Context, cluster: &Validated) -> Option<i64> {
    let seen = ctx.readiness.get(&cluster.uid).seen?;
    let is_fresh = Instant::now().duration_since(seen.at) < PACE * 2;
    let tokens = seen.tokens.ok().filter(|_| is_fresh)?;
    i64::try_from(tokens.roots.len()).ok()
}

/// An event for each rule that fell or counts again.
pub(crate) async fn tell(ctx: &Context, cluster: &VaultCluster, after: &[ReadinessRuleStatus]) {
    let before = cluster.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.readiness_rules);
    for Change { rule, met, note } in changes(before, after) {
        let reason = if met {
            Reason::ReadinessMet
        } else {
            Reason::ReadinessFell
        };
        let about = cluster.object_ref(&());
        ctx.reporter.publish(&about, reason, rule.as_str(), &note).await;
    }
}

fn observations(ctx: &Context, cluster: &Validated, known: &Known<'_>, judged: bool) -> Option<Observations> {
    let Known {
        members,
        record,
        raft,
        backups,
    } = known;
    let Remembered {
        begun: _,
        tokens: _,
        policies: _,
        app_roles: _,
        seen,
        network,
    } = ctx.readiness.get(&cluster.uid);
    if seen.is_none() && !judged {
        return None;
    }
    let now = Instant::now();
    let Seen {
        at: _,
        unfinished: _,
        tokens,
        certificate,
        audit,
        policies,
        mfa,
        key_made,
        app_roles,
    } = seen
        .filter(|seen| now.duration_since(seen.at) < PACE * 2)
        .unwrap_or_else(|| Seen::blind("no member is active and unsealed", now));
    Some(Observations {
        tokens,
        stored_root_token: record.is_some_and(|r| r.root_token.is_some()),
        members: members.iter().map(MemberFacts::from).collect(),
        voters: match raft {
            Some((configuration, _)) => Ok(configuration.voters()),
            None => Err("the active member did not say who has a vote in Raft".to_owned()),
        },
        certificate,
        audit,
        network: network.unwrap_or_else(|| Err("it was not looked at yet".to_owned())),
        policies,
        mfa,
        key_made,
        app_roles,
        backups: backups.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: Value) -> NetworkPolicy {
        serde_json::from_value(json!({"metadata": {"name": "main"}, "spec": spec})).unwrap()
    }

    #[test]
    fn an_empty_list_is_no_difference_and_another_port_is_one() {
        let wanted = policy(
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{"to": [], "ports": [{"port": 53}]}]}),
        );
        let stored = policy(
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{"ports": [{"port": 53}]}]}),
        );
        assert!(same(&stored, &wanted), "the API server leaves out what is empty");
        let edited = policy(
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{"ports": [{"port": 54}]}]}),
        );
        assert!(!same(&edited, &wanted), "somebody changed it");
        let opened = policy(
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{"ports": [{"port": 53}]}, {}]}),
        );
        assert!(!same(&opened, &wanted), "an empty rule lets everything out");
    }

    #[test]
    fn a_policy_with_a_block_of_all_addresses_isolates_nothing() {
        use crate::cluster::validate::{tests::cluster, validate};
        let open = |extra: &str| {
            let validated = validate(&cluster(extra)).unwrap();
            lets_everybody_in(&build::network_policy(&validated, "operator").unwrap())
        };
        assert!(!open(""), "as it is without clients");
        assert!(!open("  networkPolicy: {clients: [{cidr: 10.0.0.0/8}]}"));
        for all in ["0.0.0.0/0", "'::/0'"] {
            assert!(
                open(&format!("  networkPolicy: {{clients: [{{cidr: {all}}}]}}")),
                "{all}"
            );
        }
    }

    #[test]
    fn the_life_of_a_certificate_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let certificate = params.self_signed(&key).unwrap();
        let Lifetime { begin, end } = lifetime(&certificate.pem()).unwrap();
        assert_eq!(end - begin, 24 * 3600);
        assert_eq!(lifetime("no certificate"), None);
    }
}
