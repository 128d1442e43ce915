//! What the status of a role says, without asking anybody. Pure: the time is given.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::cluster::AccessGrant;
use vaultkeeper_crds::{VaultCluster, VaultRole};

use super::super::finalizer;
use super::super::status::is_in_place;
use super::super::validate::Validated;
use crate::controllers::hash;
use crate::hex::short_hash;

/// Of the operator that wrote it: another release may put the same wish into other words, which no role has to be rewritten
/// at once for.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Written by kubectl for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A time in a status moves if it is earlier than right by more than this, or later at all.
const SLACK: Duration = Duration::from_secs(120);

/// How long after its time a replacement is overdue: what fails is tried again for minutes.
const OVERDUE: Duration = Duration::from_secs(900);

/// Whether the secret-id of a role should have been replaced long ago. A role that is being deleted gets no other one.
pub(super) fn is_overdue(role: &VaultRole, now: Timestamp) -> bool {
    let status = role.status.as_ref();
    let next = status
        .and_then(|status| status.app_role.as_ref())
        .and_then(|app_role| app_role.next_rotation_at.as_ref())
        .and_then(|next| next.parse::<Timestamp>().ok());
    role.metadata.deletion_timestamp.is_none()
        && next
            .is_some_and(|next| Duration::try_from(now.duration_since(next)).is_ok_and(|late| late > OVERDUE))
}

/// Whether there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is not in place as it is wanted, or something is due.
    Changed,
    /// It was put in place as it is wanted.
    InPlace,
}

/// Identifies what is to be in place, and where. An annotation or a label is part of it: who touches a role wants it to be
/// looked at.
pub fn fingerprint(role: &VaultRole, validated: &Validated, cluster: &VaultCluster) -> String {
    let meta = &role.metadata;
    let annotations: Vec<_> = meta
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| *key != LAST_APPLIED)
        .collect();
    let store = cluster
        .status
        .as_ref()
        .and_then(|status| status.cluster_id.as_ref());
    let place = (
        &cluster.metadata.uid,
        store,
        cluster.spec.kubernetes_auth_path(),
        &cluster.spec.external,
    );
    let text = format!("{validated:?} {annotations:?} {:?} {place:?}", meta.labels);
    let granted = granted(role, cluster);
    format!("{RELEASE}/{}/{granted}", short_hash(text.as_bytes(), 8))
}

/// Identifies what the cluster gives the role's namespace.
fn granted(role: &VaultRole, cluster: &VaultCluster) -> String {
    let access = &cluster.spec.access;
    let own = role.metadata.namespace.as_ref();
    let own = |names: &[String]| own.is_some_and(|own| names.contains(own));
    // Not who else has the same: that says nothing of this namespace.
    let grants: Vec<_> = access
        .iter()
        .filter(|grant| own(&grant.namespaces))
        .map(|grant| {
            let AccessGrant {
                namespaces: _,
                path_prefixes,
                auth_methods,
                policies,
            } = grant;
            (path_prefixes, auth_methods, policies)
        })
        .collect();
    // Their ServiceAccounts may be let in.
    let namespaces: BTreeSet<_> = access.iter().flat_map(|grant| &grant.namespaces).collect();
    short_hash(format!("{grants:?} {namespaces:?}").as_bytes(), 8)
}

/// Whether the cluster gives the role's namespace what it gave when the role was put in place last. Then it is the role that
/// asks for more, and nothing was taken away from it.
pub fn is_granted_as_before(role: &VaultRole, cluster: &VaultCluster) -> bool {
    let applied = role.status.as_ref().and_then(|status| status.applied.as_ref());
    applied.is_some_and(|applied| applied.split('/').nth(2) == Some(granted(role, cluster).as_str()))
}

/// Whether two fingerprints are of the same wish at the same place, whatever was granted then.
pub fn is_same_wish(one: &str, other: &str) -> bool {
    wish_of(one) == wish_of(other)
}

/// The part of a fingerprint that tells wish and place.
fn wish_of(applied: &str) -> Vec<&str> {
    applied.splitn(3, '/').take(2).collect()
}

/// What the last pass of this process did about a role. The watch may be behind the status that tells of it: by the status
/// alone, what was changed and changed back at once would rest as it was in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// It has not come to its end, or took away what was in place.
    Begun,
    /// It put in place what has this hash.
    Applied(u64),
}

impl Last {
    /// A pass that put this in place. Of the fingerprint the wish counts, and not what was granted then.
    pub(super) fn applied(applied: &str) -> Self {
        Self::Applied(hash(&wish_of(applied)))
    }
}

/// Compares the status, and what this process remembers, with what is wanted.
pub(super) fn known(role: &VaultRole, applied: &str, last: Option<Last>, now: Timestamp) -> Known {
    let Some(status) = &role.status else {
        return Known::Changed;
    };
    if last.is_some_and(|last| last != Last::applied(applied)) {
        return Known::Changed;
    }
    let generation = role.metadata.generation;
    let is_due = left(role, now).is_some_and(|left| left.is_zero());
    let release = |applied: &str| applied.split('/').next().unwrap_or_default().to_owned();
    let differs = status
        .applied
        .as_ref()
        .is_some_and(|then| release(then) == release(applied) && !is_same_wish(then, applied));
    if is_in_place(role)
        && status.observed_generation == generation
        && finalizer::is_set(role)
        && !is_due
        && !differs
    {
        Known::InPlace
    } else {
        Known::Changed
    }
}

/// How long it is until something is due by the clock.
pub(super) fn left(role: &VaultRole, now: Timestamp) -> Option<Duration> {
    let next = role.status.as_ref()?.next_action_at.as_ref()?;
    // What cannot be read is due: a pass writes it anew.
    let Ok(next) = next.parse::<Timestamp>() else {
        return Some(Duration::ZERO);
    };
    Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
}

/// What the status says of the next action, which is so far away. The same as before, as far as that is right: a status at rest
/// is not written.
pub fn next_action(before: Option<&str>, away: Option<Duration>, now: Timestamp) -> Option<String> {
    let next = now.checked_add(away?).ok()?;
    let known = before.and_then(|before| before.parse::<Timestamp>().ok());
    if let (Some(known), Some(before)) = (known, before)
        && known > now
        && known.as_second() <= next.as_second()
        && next.duration_since(known).unsigned_abs() < SLACK
    {
        return Some(before.to_owned());
    }
    Timestamp::from_second(next.as_second())
        .ok()
        .map(|next| next.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::validate::validate;
    use super::*;

    const APPLIED: &str = "1.0/a";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn role(change: Value) -> VaultRole {
        let mut role = json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": {
                "name": "app", "namespace": "shop", "generation": 3,
                "finalizers": [vaultkeeper_crds::annotations::FINALIZER],
            },
            "spec": {
                "cluster": {"name": "main", "namespace": "vault"}, "policy": {"names": ["x"]},
                "appRole": {"secretName": "s"},
            },
            "status": {
                "observedGeneration": 3, "applied": APPLIED,
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "InPlace", "message": "m", "observedGeneration": 3,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        });
        json_patch::merge(&mut role, &change);
        serde_json::from_value(role).unwrap()
    }

    #[test]
    fn only_what_is_in_place_as_it_is_wanted_rests() {
        let known = |change: Value| known(&role(change), APPLIED, None, at(1000));
        let status = |status: Value| json!({ "status": status });
        let ready = |word: &str, generation: i64| {
            status(json!({"conditions": [{
                "type": "Ready", "status": word, "reason": "r", "message": "m", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}))
        };
        let soon = |seconds: i64| status(json!({"nextActionAt": at(seconds).to_string()}));
        for (change, what) in [
            (json!({}), "as it was left"),
            (soon(1001), "something is due in a second"),
            (status(json!({"applied": "0.9/b"})), "an earlier release wrote it"),
            (status(json!({"applied": null})), "nobody knows what was applied"),
            (
                status(json!({"applied": format!("{APPLIED}/z")})),
                "something else was granted, which the turn in the line notes",
            ),
        ] {
            assert_eq!(known(change), Known::InPlace, "{what}");
        }
        for (change, what) in [
            (json!({"status": null}), "it is new"),
            (json!({"metadata": {"generation": 4}}), "its spec was changed"),
            (ready("False", 3), "it was not ready"),
            (ready("True", 2), "it was ready with another spec"),
            (
                json!({"metadata": {"finalizers": null}}),
                "nothing was put in place",
            ),
            (status(json!({"applied": "1.0/b"})), "something else was applied"),
            (soon(1000), "something is due"),
            (
                status(json!({"nextActionAt": "soon"})),
                "what is due cannot be read",
            ),
        ] {
            assert_eq!(known(change), Known::Changed, "{what}");
        }
    }

    #[test]
    fn what_the_cluster_has_taken_away_is_told_from_a_role_that_asks_for_more() {
        let cluster = |access: Value| -> VaultCluster {
            serde_json::from_value(json!({
                "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
                "metadata": {"name": "main", "namespace": "vault", "uid": "u"},
                "spec": {"version": "1.21.1", "storage": {"raft": {}}, "access": access},
            }))
            .unwrap()
        };
        let grant = json!({"namespaces": ["shop"], "pathPrefixes": ["a/", "b/"], "policies": ["x"], "authMethods": ["ci"]});
        let before = cluster(json!([grant]));
        let validated = validate(&role(json!({})).spec, "shop", &before.spec.access).unwrap();
        let applied = fingerprint(&role(json!({})), &validated, &before);
        let role = role(json!({"status": {"applied": applied}, "spec": {"policy": {"names": ["more"]}}}));
        assert!(is_granted_as_before(&role, &before), "the role asks for more");
        for (change, what) in [
            (json!({"pathPrefixes": ["a/"]}), "a path"),
            (json!({"policies": null}), "a policy"),
            (json!({"authMethods": null}), "an auth method"),
            (json!({"namespaces": ["other"]}), "all of it"),
            (
                json!({"namespaces": ["shop", "other"]}),
                "another may let its accounts in",
            ),
        ] {
            let mut changed = grant.clone();
            json_patch::merge(&mut changed, &change);
            assert!(
                !is_granted_as_before(&role, &cluster(json!([changed]))),
                "the cluster has changed {what}"
            );
        }
        let mut unknown = role.clone();
        unknown.status.as_mut().unwrap().applied = Some("1.0/a".to_owned());
        assert!(
            !is_granted_as_before(&unknown, &before),
            "nobody knows what it was"
        );
        unknown.status = None;
        assert!(!is_granted_as_before(&unknown, &before));
    }

    #[test]
    fn what_was_changed_and_changed_back_is_not_taken_for_what_an_old_status_tells() {
        let known = |last| known(&role(json!({})), APPLIED, last, at(1000));
        for (last, expected, what) in [
            (None, Known::InPlace, "this process did nothing about it"),
            (
                Some(Last::applied(APPLIED)),
                Known::InPlace,
                "it did what the status tells",
            ),
            (
                Some(Last::applied("1.0/a/granted")),
                Known::InPlace,
                "the cluster gave others something",
            ),
            (
                Some(Last::applied("1.0/b")),
                Known::Changed,
                "it did something else meanwhile",
            ),
            (Some(Last::Begun), Known::Changed, "nobody knows how far it came"),
        ] {
            assert_eq!(known(last), expected, "{what}");
        }
    }

    #[test]
    fn the_fingerprint_tells_wish_place_and_touch_and_nothing_else() {
        let cluster = |change: Value| -> VaultCluster {
            let mut cluster = json!({
                "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
                "metadata": {"name": "main", "namespace": "vault", "uid": "u"},
                "spec": {"version": "1.21.1", "storage": {"raft": {}}},
                "status": {"clusterId": "c"},
            });
            json_patch::merge(&mut cluster, &change);
            serde_json::from_value(cluster).unwrap()
        };
        let grant: AccessGrant = serde_json::from_value(
            json!({"namespaces": ["shop"], "pathPrefixes": ["a/"], "policies": ["x"]}),
        )
        .unwrap();
        let of = |change: Value, cluster: &VaultCluster| {
            let role = role(change);
            let validated = validate(&role.spec, "shop", std::slice::from_ref(&grant)).unwrap();
            fingerprint(&role, &validated, cluster)
        };
        let plain = cluster(json!({}));
        let first = of(json!({}), &plain);
        let annotation = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
        for (change, place, what) in [
            (json!({"status": null}), &plain, "a status"),
            (annotation(LAST_APPLIED), &plain, "what kubectl writes for itself"),
            (
                json!({}),
                &cluster(json!({"status": {"leader": "main-1"}})),
                "another leader",
            ),
            (
                json!({}),
                &cluster(json!({"spec": {"replicas": 5}})),
                "more members",
            ),
        ] {
            assert_eq!(of(change, place), first, "{what} changes nothing");
        }
        for (change, place, what) in [
            (json!({"spec": {"token": {"ttl": "2h"}}}), &plain, "another spec"),
            (annotation("touched"), &plain, "a touch"),
            (json!({"metadata": {"labels": {"a": "b"}}}), &plain, "a label"),
            (
                json!({}),
                &cluster(json!({"status": {"clusterId": "d"}})),
                "a Vault made anew",
            ),
            (
                json!({}),
                &cluster(json!({"metadata": {"uid": "v"}})),
                "a VaultCluster made anew",
            ),
        ] {
            assert_ne!(of(change, place), first, "{what} is to be acted on");
        }
    }

    #[test]
    fn the_time_of_the_next_action_is_not_written_again_and_again() {
        let away = |seconds| Some(Duration::from_secs(seconds));
        let first = next_action(None, away(3600), at(0));
        assert_eq!(first.as_deref(), Some("1970-01-01T01:00:00Z"));
        let again = next_action(first.as_deref(), away(3000), at(630));
        assert_eq!(again, first, "half a minute is no news");
        let sooner = next_action(first.as_deref(), away(2960), at(630));
        assert_eq!(
            sooner.as_deref(),
            Some("1970-01-01T00:59:50Z"),
            "what is due sooner is not late"
        );
        let later = next_action(first.as_deref(), away(7200), at(630));
        assert_eq!(later.as_deref(), Some("1970-01-01T02:10:30Z"), "two hours are");
        let passed = next_action(first.as_deref(), away(10), at(3601));
        assert_eq!(
            passed.as_deref(),
            Some("1970-01-01T01:00:11Z"),
            "what has passed is not kept"
        );
        assert_eq!(
            next_action(first.as_deref(), None, at(0)),
            None,
            "nothing is due any more"
        );
    }
}
