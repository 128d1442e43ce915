//! How Prometheus watches a cluster, with the defaults filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use vaultkeeper_crds::cluster::{AlertSettings, MonitoringSettings};
use vaultkeeper_crds::duration;

use super::{Invalid, invalid};

/// How Prometheus watches a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// How often it asks.
    pub interval: Duration,
    /// Labels of the objects that it selects.
    pub labels: BTreeMap<String, String>,
    /// The alerts. None: there are to be none.
    pub alerts: Option<Alerts>,
}

/// Where the thresholds of the alerts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// Labels of each alert.
    pub labels: BTreeMap<String, String>,
    /// How many times the usual creation of tokens is unusual.
    pub token_creation_factor: u32,
    /// Tokens a minute below which nothing is.
    pub token_creation_minimum: u32,
    /// More leases than these are too many.
    pub max_leases: u32,
    /// How old the last good backup may be.
    pub max_backup_age: Duration,
}

/// Fills in what is not said. None: the cluster is not to be watched.
pub(super) fn validate(settings: &MonitoringSettings) -> Result<Option<Monitoring>, Invalid> {
    let MonitoringSettings {
        enabled,
        interval,
        labels,
        alerts,
    } = settings;
    if *enabled == Some(false) {
        return Ok(None);
    }
    Ok(Some(Monitoring {
        interval: span(
            "spec.monitoring.interval",
            interval.as_deref(),
            Duration::from_secs(30),
        )?,
        labels: labels.clone(),
        alerts: thresholds(alerts)?,
    }))
}

fn thresholds(settings: &AlertSettings) -> Result<Option<Alerts>, Invalid> {
    let AlertSettings {
        enabled,
        labels,
        token_creation_factor,
        token_creation_minimum,
        max_leases,
        max_backup_age,
    } = settings;
    if *enabled == Some(false) {
        return Ok(None);
    }
    if labels.values().any(|value| value.contains("{{")) {
        return Err(invalid(
            "spec.monitoring.alerts.labels",
            "must hold no {{: Prometheus would take it for a template",
        ));
    }
    let number = |set: &Option<i32>, usual: u32| set.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual);
    Ok(Some(Alerts {
        labels: labels.clone(),
        token_creation_factor: number(token_creation_factor, 5),
        token_creation_minimum: number(token_creation_minimum, 30),
        max_leases: number(max_leases, 100_000),
        max_backup_age: span(
            "spec.monitoring.alerts.maxBackupAge",
            max_backup_age.as_deref(),
            Duration::from_secs(26 * 3600),
        )?,
    }))
}

fn span(field: &'static str, text: Option<&str>, usual: Duration) -> Result<Duration, Invalid> {
    let Some(text) = text else { return Ok(usual) };
    match duration::parse(text) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) => Err(invalid(field, "must not be zero")),
        Err(error) => Err(invalid(field, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::super::validate as validate_all;
    use super::Alerts;

    fn monitoring(spec: &str) -> Option<super::Monitoring> {
        validate_all(&cluster(spec)).unwrap().monitoring
    }

    #[test]
    fn a_cluster_is_watched_with_alerts_unless_it_says_otherwise() {
        let usual = monitoring("").unwrap();
        assert_eq!(usual.interval.as_secs(), 30);
        let Alerts {
            labels,
            token_creation_factor,
            token_creation_minimum,
            max_leases,
            max_backup_age,
        } = usual.alerts.unwrap();
        assert!(labels.is_empty());
        assert_eq!((token_creation_factor, token_creation_minimum), (5, 30));
        assert_eq!((max_leases, max_backup_age.as_secs()), (100_000, 26 * 3600));
        assert_eq!(monitoring("  monitoring: {enabled: false}"), None);
        let silent = monitoring("  monitoring: {alerts: {enabled: false}}").unwrap();
        assert_eq!(silent.alerts, None, "metrics without alerts");
    }

    #[test]
    fn what_is_said_counts() {
        let set = monitoring(
            "  monitoring: {interval: 1m, alerts: {maxLeases: 500, maxBackupAge: 2d, tokenCreationFactor: 9, tokenCreationMinimum: 7}}",
        );
        let set = set.unwrap();
        assert_eq!(set.interval.as_secs(), 60);
        let alerts = set.alerts.unwrap();
        assert_eq!((alerts.max_leases, alerts.token_creation_factor), (500, 9));
        assert_eq!(alerts.token_creation_minimum, 7);
        assert_eq!(alerts.max_backup_age.as_secs(), 172_800);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field() {
        let field = |spec: &str| validate_all(&cluster(spec)).unwrap_err().field;
        assert_eq!(
            field("  monitoring: {alerts: {labels: {a: '{{ x }}'}}}"),
            "spec.monitoring.alerts.labels"
        );
        assert_eq!(field("  monitoring: {interval: 0s}"), "spec.monitoring.interval");
        assert_eq!(
            field("  monitoring: {alerts: {maxBackupAge: soon}}"),
            "spec.monitoring.alerts.maxBackupAge"
        );
    }
}
