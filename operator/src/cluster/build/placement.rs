//! Where the members run, and what else their pods are told by `spec.pod`. Pure.

use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use vaultkeeper_crds::cluster::{PodSettings, Profile, ServiceAccountSettings, Spread, SpreadSettings};

use super::{labels, selector};
use crate::cluster::validate::Validated;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Labels and annotations of the members' pods. Ours win: Services and budgets select by them.
pub(super) fn pod_metadata(cluster: &Validated) -> ObjectMeta {
    let mut all = cluster.pod.labels.clone();
    all.extend(labels(&cluster.name));
    ObjectMeta {
        labels: Some(all),
        annotations: (!cluster.pod.annotations.is_empty()).then(|| cluster.pod.annotations.clone()),
        ..ObjectMeta::default()
    }
}

/// What `spec.pod` says about a pod and not about its container.
pub(super) fn place(cluster: &Validated, pod: &mut PodSpec) {
    let PodSettings {
        resources: _,
        spread,
        affinity,
        tolerations,
        node_selector,
        priority_class_name,
        image_pull_secrets,
        labels: _,
        annotations: _,
        syslog_socket: _,
        service_account,
    } = &cluster.pod;
    // Those of the ServiceAccount itself.
    let ServiceAccountSettings { annotations: _ } = service_account;
    pod.service_account_name = Some(cluster.name.clone());
    pod.topology_spread_constraints = Some(constraints(cluster, spread)).filter(|c| !c.is_empty());
    pod.affinity.clone_from(affinity);
    pod.tolerations = Some(tolerations.clone()).filter(|t| !t.is_empty());
    pod.node_selector = Some(node_selector.clone()).filter(|s| !s.is_empty());
    pod.priority_class_name.clone_from(priority_class_name);
    let secrets = image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    pod.image_pull_secrets = Some(secrets.collect()).filter(|s: &Vec<_>| !s.is_empty());
}

/// Evenly over hosts and zones. Unlike a required anti-affinity it lets a single host take all members, and nodes
/// that cannot take any (cordoned, of the control plane, gone) do not count.
fn constraints(cluster: &Validated, spread: &SpreadSettings) -> Vec<TopologySpreadConstraint> {
    let SpreadSettings { hosts, zones } = spread;
    let hosts = hosts.unwrap_or(match cluster.profile {
        Profile::Hardened => Spread::Required,
        Profile::Development => Spread::Preferred,
    });
    // Required would keep members off nodes without the label, which many clusters lack.
    let zones = zones.unwrap_or(Spread::Preferred);
    [(HOST, hosts), (ZONE, zones)]
        .into_iter()
        .filter_map(|(key, spread)| {
            let otherwise = match spread {
                Spread::Required => "DoNotSchedule",
                Spread::Preferred => "ScheduleAnyway",
                Spread::Off => return None,
            };
            Some(TopologySpreadConstraint {
                max_skew: 1,
                topology_key: key.to_owned(),
                when_unsatisfiable: otherwise.to_owned(),
                node_taints_policy: Some("Honor".to_owned()),
                label_selector: Some(LabelSelector {
                    match_labels: Some(selector(&cluster.name)),
                    ..LabelSelector::default()
                }),
                ..TopologySpreadConstraint::default()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn placed(extra: &str) -> PodSpec {
        let mut pod = PodSpec::default();
        place(&validate(&cluster(extra)).unwrap(), &mut pod);
        pod
    }

    fn spread(extra: &str) -> Vec<(String, String)> {
        let constraints = placed(extra).topology_spread_constraints.unwrap_or_default();
        constraints
            .into_iter()
            .map(|c| (c.topology_key, c.when_unsatisfiable))
            .collect()
    }

    fn over(hosts: &str, zones: &str) -> Vec<(String, String)> {
        vec![
            (HOST.to_owned(), hosts.to_owned()),
            (ZONE.to_owned(), zones.to_owned()),
        ]
    }

    #[test]
    fn members_are_spread_over_hosts_and_zones_by_default() {
        assert_eq!(spread(""), over("DoNotSchedule", "ScheduleAnyway"));
        assert_eq!(
            spread("  profile: Development"),
            over("ScheduleAnyway", "ScheduleAnyway")
        );
    }

    #[test]
    fn the_spread_is_what_the_spec_says() {
        assert_eq!(
            spread("  pod: {spread: {hosts: Preferred, zones: Required}}"),
            over("ScheduleAnyway", "DoNotSchedule")
        );
        assert!(spread("  pod: {spread: {hosts: Off, zones: Off}}").is_empty());
    }

    #[test]
    fn nodes_that_cannot_take_members_do_not_count() {
        let constraints = placed("").topology_spread_constraints.unwrap();
        assert!(
            constraints
                .iter()
                .all(|c| c.node_taints_policy.as_deref() == Some("Honor"))
        );
    }

    #[test]
    fn labels_of_the_user_never_replace_ours() {
        let validated = validate(&cluster(
            "  pod: {labels: {team: a, app.kubernetes.io/name: other}, annotations: {note: b}}",
        ))
        .unwrap();
        let metadata = pod_metadata(&validated);
        let labels = metadata.labels.unwrap();
        assert_eq!(labels["team"], "a");
        assert_eq!(labels["app.kubernetes.io/name"], "vault");
        assert_eq!(metadata.annotations.unwrap()["note"], "b");
        assert_eq!(pod_metadata(&validate(&cluster("")).unwrap()).annotations, None);
    }
}
