//! Services and the disruption budget.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vaultkeeper_crds::{annotations, names};

use super::{metadata, selector};
use crate::cluster::validate::Validated;

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

/// Names of the members. Sealed members have theirs too, or they could never join.
pub(crate) fn headless(cluster: &Validated) -> Service {
    Service {
        metadata: metadata(cluster, names::headless_service(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(&cluster.name)),
            ports: Some(vec![
                port("https", names::API_PORT),
                port("https-internal", names::CLUSTER_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Address for clients: the members that serve.
pub(crate) fn client(cluster: &Validated) -> Service {
    of_serving(cluster, cluster.name.clone(), None)
}

/// The active member, as far as its label is current. A stale label harms nobody: a pod that does not serve is not
/// ready and leaves the Service, and a standby forwards.
pub(crate) fn active(cluster: &Validated) -> Service {
    let name = names::active_service(&cluster.name);
    of_serving(cluster, name, Some(annotations::ACTIVE))
}

/// The standbys.
pub(crate) fn standby(cluster: &Validated) -> Service {
    let name = names::standby_service(&cluster.name);
    of_serving(cluster, name, Some(annotations::STANDBY))
}

fn of_serving(cluster: &Validated, name: String, state: Option<&str>) -> Service {
    let mut pods = selector(&cluster.name);
    pods.extend(state.map(|state| (annotations::STATE.to_owned(), state.to_owned())));
    Service {
        metadata: metadata(cluster, name),
        spec: Some(ServiceSpec {
            selector: Some(pods),
            ports: Some(vec![port("https", names::API_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// One member at a time, whatever the number: a majority stays. A sealed member never blocks a drain, unless the drain
/// would undo a seal on purpose: a member that unseals itself does so in its new pod.
pub(crate) fn disruption_budget(cluster: &Validated, sealed_on_purpose: bool) -> PodDisruptionBudget {
    let (unavailable, unhealthy) = if sealed_on_purpose && cluster.auto_seal().is_some() {
        (0, "IfHealthyBudget")
    } else {
        (1, "AlwaysAllow")
    };
    PodDisruptionBudget {
        metadata: metadata(cluster, cluster.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(unavailable)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(&cluster.name)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some(unhealthy.to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn budget(extra: &str, sealed_on_purpose: bool) -> (Option<IntOrString>, Option<String>) {
        let spec = disruption_budget(&validate(&cluster(extra)).unwrap(), sealed_on_purpose).spec;
        let spec = spec.unwrap();
        (spec.max_unavailable, spec.unhealthy_pod_eviction_policy)
    }

    #[test]
    fn a_drain_takes_one_member_at_a_time_and_none_whose_new_pod_would_undo_a_seal_on_purpose() {
        let usual = (Some(IntOrString::Int(1)), Some("AlwaysAllow".to_owned()));
        let auto = "  seal: {awskms: {region: r, kmsKeyId: k}}";
        assert_eq!(budget("", false), usual);
        assert_eq!(budget(auto, false), usual);
        assert_eq!(
            budget("", true),
            usual,
            "with shares the operator keeps the new pod sealed"
        );
        let none = (Some(IntOrString::Int(0)), Some("IfHealthyBudget".to_owned()));
        assert_eq!(budget(auto, true), none, "its new pod would unseal itself");
    }
}
