//! How Prometheus watches a cluster.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes_schema;

/// How Prometheus watches the members. `docs/alerts.md` says what each alert means.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringSettings {
    /// Whether the members serve metrics at port 8202, and a PodMonitor and a PrometheusRule are kept where the Prometheus
    /// operator is installed. Default: true. A change of it restarts the members, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// How often Prometheus asks. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.monitoring.interval must be a duration such as 30s, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub interval: Option<String>,

    /// Labels of the PodMonitor and the PrometheusRule, by which a Prometheus selects them, for example
    /// `release: kube-prometheus-stack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::labels")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && !k.startsWith('app.kubernetes.io/'))").message("spec.monitoring.labels must not hold labels that the operator sets: vaultkeeper.dev/* and app.kubernetes.io/*"))]
    pub labels: BTreeMap<String, String>,

    /// The alerts.
    #[serde(default)]
    pub alerts: AlertSettings,
}

/// The alerts of a cluster, and where their thresholds lie.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AlertSettings {
    /// Whether there is a PrometheusRule. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Labels of each alert, by which Alertmanager routes it, for example `team: platform`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::labels")]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$') && !(k in ['alertname', 'severity', 'namespace', 'vaultcluster']) && !self[k].contains('{{'))").message("spec.monitoring.alerts.labels must hold names that Prometheus takes (letters, digits, _), none that the alerts set (alertname, severity, namespace, vaultcluster), and values without {{"))]
    pub labels: BTreeMap<String, String>,

    /// How many times as many tokens as on average in the past day must be created for an alert. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000))]
    pub token_creation_factor: Option<i32>,

    /// Below so many new tokens a minute there is no alert, whatever the past was. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub token_creation_minimum: Option<i32>,

    /// More leases than this are an alert; so is a tenth of them, when they have doubled in a day. Default: 100000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 100_000_000))]
    pub max_leases: Option<i32>,

    /// A last good backup older than this is an alert. Default: 26h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]') && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.monitoring.alerts.maxBackupAge must be a duration such as 26h, not zero, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_backup_age: Option<String>,
}
