//! What the Prometheus operator reads of a cluster: where its metrics are, and when to raise an alarm. Pure.
//!
//! Objects whose kinds may be unknown to the API server, written as JSON.

use serde_json::{Value, json};
use vaultkeeper_crds::names;

use super::{alerts, metadata, selector};
use crate::cluster::validate::{Monitoring, Validated};

/// Name of the port with the metrics.
pub const PORT: &str = "metrics";
/// Group and version of the Prometheus operator's kinds.
pub const API_VERSION: &str = "monitoring.coreos.com/v1";

/// Where the members' metrics are. By pods, not by a Service: a sealed member belongs to no Service that clients use, and is
/// the one that Prometheus must see.
pub fn pod_monitor(cluster: &Validated, monitoring: &Monitoring) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "PodMonitor",
        "metadata": labelled(cluster, monitoring),
        "spec": {
            "selector": {"matchLabels": selector(&cluster.name)},
            "podMetricsEndpoints": [{
                "port": PORT,
                "path": "/v1/sys/metrics",
                "params": {"format": ["prometheus"]},
                "scheme": "https",
                "interval": format!("{}s", monitoring.interval.as_secs()),
                // The members are asked by their pods' addresses, and their certificate holds names.
                "tlsConfig": {
                    "serverName": names::service_host(&cluster.namespace, &cluster.name),
                    "ca": {"secret": {"name": cluster.tls.secret_name(&cluster.name), "key": names::CA_KEY}},
                },
            }],
        },
    })
}

/// The alerts, unless there are to be none.
pub fn prometheus_rule(cluster: &Validated, monitoring: &Monitoring) -> Option<Value> {
    let thresholds = monitoring.alerts.as_ref()?;
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": "PrometheusRule",
        "metadata": labelled(cluster, monitoring),
        "spec": {"groups": [alerts::group(cluster, thresholds)]},
    }))
}

/// Those of every object of ours, and those that a Prometheus looks for.
fn labelled(cluster: &Validated, monitoring: &Monitoring) -> Value {
    let mut metadata = metadata(cluster, cluster.name.clone());
    let ours = metadata.labels.get_or_insert_default();
    for (key, value) in &monitoring.labels {
        ours.entry(key.clone()).or_insert_with(|| value.clone());
    }
    json!(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn monitor(extra: &str) -> Value {
        let validated = validate(&cluster(extra)).unwrap();
        pod_monitor(&validated, validated.monitoring.as_ref().unwrap())
    }

    #[test]
    fn prometheus_verifies_each_member_by_the_ca_and_the_name_of_the_cluster() {
        let endpoint = &monitor("")["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["scheme"], "https");
        assert_eq!(endpoint["tlsConfig"]["serverName"], "main.vault.svc");
        assert_eq!(
            endpoint["tlsConfig"]["ca"]["secret"],
            json!({"name": "main-tls", "key": "ca.crt"})
        );
        assert!(endpoint["tlsConfig"].get("insecureSkipVerify").is_none());
        let own = &monitor("  tls: {secretName: ours}")["spec"]["podMetricsEndpoints"][0];
        assert_eq!(own["tlsConfig"]["ca"]["secret"]["name"], "ours");
    }

    #[test]
    fn the_port_that_prometheus_asks_is_one_of_the_members_pods() {
        let validated = validate(&cluster("")).unwrap();
        let helper = crate::context::HelperImage::default();
        let set = super::super::statefulset::stateful_set(&validated, &helper);
        let pod = set.spec.unwrap().template.spec.unwrap();
        let ports: Vec<_> = pod.containers[0].ports.iter().flatten().collect();
        let port = ports.iter().find(|port| port.name.as_deref() == Some(PORT));
        assert_eq!(port.map(|port| port.container_port), Some(8202), "{ports:?}");
    }

    #[test]
    fn labels_that_a_prometheus_selects_by_stand_beside_those_of_the_operator() {
        let labels =
            &monitor("  monitoring: {interval: 2m, labels: {release: kps, vaultkeeper.dev/cluster: x}}");
        assert_eq!(labels["spec"]["podMetricsEndpoints"][0]["interval"], "120s");
        let labels = &labels["metadata"]["labels"];
        assert_eq!(labels["release"], "kps");
        assert_eq!(
            labels["vaultkeeper.dev/cluster"], "main",
            "ours cannot be taken away"
        );
    }

    #[test]
    fn it_goes_with_its_cluster() {
        assert_eq!(monitor("")["metadata"]["ownerReferences"][0]["uid"], "u-1");
    }
}
