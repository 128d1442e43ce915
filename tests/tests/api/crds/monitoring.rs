//! Settings of the monitoring that make no sense, and their neighbours one field apart.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Refused, Taken, check, cluster};

fn monitoring(settings: &Value) -> Value {
    json!({ "spec": { "monitoring": settings } })
}

#[tokio::test]
pub(super) async fn intervals_labels_and_thresholds_are_such_as_prometheus_takes() {
    let alerts = |settings: Value| monitoring(&json!({ "alerts": settings }));
    let interval = "spec.monitoring.interval must be a duration such as 30s";
    let age = "spec.monitoring.alerts.maxBackupAge must be a duration such as 26h";
    let ours = "spec.monitoring.labels must not hold labels that the operator sets";
    let names = "spec.monitoring.alerts.labels must hold names that Prometheus takes";
    let cases = vec![
        (monitoring(&json!({ "enabled": false })), Taken),
        (monitoring(&json!({ "interval": "1m30s" })), Taken),
        (monitoring(&json!({ "interval": "0s" })), Refused(interval)),
        (monitoring(&json!({ "interval": "often" })), Refused(interval)),
        (monitoring(&json!({ "labels": { "release": "kps" } })), Taken),
        (
            monitoring(&json!({ "labels": { "vaultkeeper.dev/cluster": "x" } })),
            Refused(ours),
        ),
        (
            monitoring(&json!({ "labels": { "app.kubernetes.io/managed-by": "x" } })),
            Refused(ours),
        ),
        (alerts(json!({ "labels": { "team": "platform" } })), Taken),
        (
            alerts(json!({ "labels": { "the-team": "platform" } })),
            Refused(names),
        ),
        (
            alerts(json!({ "labels": { "severity": "none" } })),
            Refused(names),
        ),
        (
            alerts(json!({ "labels": { "team": "{{ $labels.pod }}" } })),
            Refused(names),
        ),
        (alerts(json!({ "maxBackupAge": "2d" })), Taken),
        (alerts(json!({ "maxBackupAge": "0h" })), Refused(age)),
        (alerts(json!({ "maxLeases": 100 })), Taken),
        (
            alerts(json!({ "maxLeases": 99 })),
            Refused("should be greater than or equal to 100"),
        ),
        (alerts(json!({ "tokenCreationFactor": 2 })), Taken),
        (
            alerts(json!({ "tokenCreationFactor": 1 })),
            Refused("should be greater than or equal to 2"),
        ),
        (alerts(json!({ "tokenCreationMinimum": 1 })), Taken),
        (
            alerts(json!({ "tokenCreationMinimum": 0 })),
            Refused("should be greater than or equal to 1"),
        ),
    ];
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}
