//! The alerts of a cluster, as rules of Prometheus. Pure. `docs/alerts.md` says what each means and what to do.
//!
//! Two witnesses are heard: the members' own metrics, and what the operator observes of them (`vaultkeeper_cluster_*`). Where
//! both can tell, either does, so that no alert rests on a Prometheus that reaches only one of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::validate::{Alerts, Validated};

/// Where people read what an alert means.
pub const RUNBOOKS: &str = "https://vaultkeeper.dev/docs/alerts.md";

/// How soon somebody must look.
#[derive(Clone, Copy)]
enum Severity {
    /// Now: clients are not served, or an intruder may be at work.
    Critical,
    /// Today.
    Warning,
}

struct Alert {
    name: &'static str,
    severity: Severity,
    expression: String,
    /// How long it must hold.
    lasting: &'static str,
    summary: &'static str,
    description: String,
}

/// The alerts of one cluster.
pub(super) fn group(cluster: &Validated, thresholds: &Alerts) -> Value {
    let Validated { namespace, name, .. } = cluster;
    let rules: Vec<Value> = all(cluster, thresholds)
        .into_iter()
        .map(|alert| rule(alert, namespace, name, &thresholds.labels))
        .collect();
    json!({"name": format!("vaultkeeper.{namespace}.{name}"), "rules": rules})
}

fn rule(alert: Alert, namespace: &str, name: &str, more: &BTreeMap<String, String>) -> Value {
    let Alert {
        name: alert,
        severity,
        expression,
        lasting,
        summary,
        description,
    } = alert;
    let severity = match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
    };
    let mut labels = more.clone();
    labels.extend(
        [
            ("severity", severity),
            ("namespace", namespace),
            ("vaultcluster", name),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    json!({
        "alert": alert,
        "expr": expression,
        "for": lasting,
        "labels": labels,
        "annotations": {
            "summary": format!("VaultCluster {namespace}/{name}: {summary}"),
            "description": description,
            "runbook_url": format!("{RUNBOOKS}#{}", alert.to_lowercase()),
        },
    })
}

fn all(cluster: &Validated, thresholds: &Alerts) -> Vec<Alert> {
    let series = Series::of(cluster);
    let see = format!(
        "See kubectl describe vc {} -n {}.",
        cluster.name, cluster.namespace
    );
    let mut alerts = serving(&series, &see);
    alerts.extend(intrusion(&series, thresholds, &see));
    alerts.extend(upkeep(&series, thresholds, &see));
    alerts
}

/// Names of series, with the labels of one cluster.
struct Series {
    namespace: String,
    name: String,
}

impl Series {
    fn of(cluster: &Validated) -> Self {
        Self {
            namespace: cluster.namespace.clone(),
            name: cluster.name.clone(),
        }
    }

    /// Of the members. The job is what the Prometheus operator names after the PodMonitor.
    fn member(&self, metric: &str) -> String {
        let Self { namespace, name } = self;
        format!("{metric}{{job=\"{namespace}/{name}\"}}")
    }

    /// Of the operator, which observes the cluster. One replica of it works at a time, another may have done before it.
    fn observed(&self, metric: &str) -> String {
        let Self { namespace, name } = self;
        format!(
            "max by (namespace) (vaultkeeper_cluster_{metric}{{namespace=\"{namespace}\", cluster=\"{name}\"}})"
        )
    }

    /// The sum over the members of how much a counter of theirs grows in a second.
    fn rate(&self, metric: &str, span: &str) -> String {
        let Self { namespace, name } = self;
        let (range, offset) = span.split_once(' ').unwrap_or((span, ""));
        let offset = if offset.is_empty() {
            String::new()
        } else {
            format!(" offset {offset}")
        };
        format!("sum by (namespace) (rate({metric}{{job=\"{namespace}/{name}\"}}[{range}]{offset}))")
    }
}

/// Whether clients are served, and for how long that can be relied on.
fn serving(series: &Series, see: &str) -> Vec<Alert> {
    let Series { namespace, name } = series;
    let observed = |metric| series.observed(metric);
    vec![
        Alert {
            name: "VaultSealed",
            severity: Severity::Critical,
            expression: format!(
                "count by (namespace) ({} == 0) or ({} > 0)",
                series.member("vault_core_unsealed"),
                observed("members_sealed"),
            ),
            lasting: "1m",
            summary: "members are sealed",
            description: format!(
                "{{{{ $value }}}} members have been sealed for a minute. The operator unseals a restarted member within seconds: one that stays sealed was sealed on purpose, waits for people, or cannot reach its seal. {see}"
            ),
        },
        Alert {
            name: "VaultNoActiveMember",
            severity: Severity::Critical,
            expression: format!(
                "(sum by (namespace) ({}) == 0) or ({} == 0)",
                series.member("vault_core_active"),
                observed("available"),
            ),
            lasting: "2m",
            summary: "no member is active",
            description: format!("No client is served, and none has been for two minutes. {see}"),
        },
        Alert {
            name: "VaultMembersNotReady",
            severity: Severity::Warning,
            expression: format!("{} < {}", observed("members_ready"), observed("members_wanted")),
            lasting: "10m",
            summary: "members do not serve",
            description: format!(
                "Only {{{{ $value }}}} members have served for ten minutes. status.members says what each of the others waits for. {see}"
            ),
        },
        Alert {
            name: "VaultFewerVotersThanExpected",
            severity: Severity::Warning,
            expression: format!("{} < {}", observed("voters"), observed("members_wanted")),
            lasting: "10m",
            summary: "members have no vote in Raft",
            description: format!(
                "Only {{{{ $value }}}} members have a vote in Raft. A new member gets its vote within half a minute. {see}"
            ),
        },
        Alert {
            name: "VaultQuorumAtRisk",
            severity: Severity::Critical,
            expression: format!(
                "({} == 0) and ({} > 1)",
                observed("failure_tolerance"),
                observed("members_wanted"),
            ),
            lasting: "5m",
            summary: "the loss of one more member would stop it",
            description: format!(
                "Raft's failure tolerance has been 0 for five minutes: do not drain nodes or delete pods. {see}"
            ),
        },
        Alert {
            name: "VaultNotScraped",
            severity: Severity::Warning,
            expression: format!("absent(up{{job=\"{namespace}/{name}\"}} == 1)"),
            lasting: "15m",
            summary: "Prometheus gets no metrics of any member",
            description: format!(
                "The alerts on the members' own metrics are blind. Is Prometheus named in spec.networkPolicy.prometheus, and may it read the Secret with the CA? The condition Monitored says more. {see}"
            ),
        },
    ]
}

/// What an intruder, or a program gone wild, does.
fn intrusion(series: &Series, thresholds: &Alerts, see: &str) -> Vec<Alert> {
    let Alerts {
        labels: _,
        token_creation_factor: factor,
        token_creation_minimum: minimum,
        max_leases,
        max_backup_age: _,
    } = thresholds;
    let observed = |metric| series.observed(metric);
    let now = series.rate("vault_token_creation", "10m");
    let usual = series.rate("vault_token_creation", "1d 1h");
    // What a former active member last said stays for a day.
    let leases = format!(
        "max by (namespace) ({} and on (namespace, pod) ({} == 1))",
        series.member("vault_expire_num_leases"),
        series.member("vault_core_active"),
    );
    let yesterday = series.member("vault_expire_num_leases");
    let tenth = max_leases / 10;
    vec![
        Alert {
            name: "VaultUnusualTokenCreation",
            severity: Severity::Warning,
            expression: format!("(60 * {now} > {minimum}) and ({now} > {factor} * {usual})"),
            lasting: "5m",
            summary: "unusually many tokens are created",
            description: format!(
                "{{{{ $value | humanize }}}} tokens a minute, more than {factor} times the average of the day before. A program that logs in over and over, or somebody who tries stolen credentials: the audit log names the logins. {see}"
            ),
        },
        Alert {
            name: "VaultRootTokenAlive",
            severity: Severity::Warning,
            expression: format!("{} > 0", observed("root_tokens")),
            lasting: "15m",
            summary: "root tokens are alive",
            description: format!(
                "{{{{ $value }}}} root tokens are alive. The rule NoRootToken in status.readinessRules has their accessors and the command that revokes them. {see}"
            ),
        },
        Alert {
            name: "VaultSealLatched",
            severity: Severity::Critical,
            expression: format!("{} == 1", observed("seal_latched")),
            lasting: "0s",
            summary: "it was sealed on purpose",
            description: format!(
                "Somebody, or a detector, has sealed members on purpose. They stay sealed until a person releases them; the condition SealLatched says how. {see}"
            ),
        },
        Alert {
            name: "VaultAuditDeviceFailing",
            severity: Severity::Critical,
            expression: format!(
                "({} > 0) or ({} > 0)",
                series.rate("vault_audit_log_request_failure", "5m"),
                series.rate("vault_audit_log_response_failure", "5m"),
            ),
            lasting: "0s",
            summary: "requests are not logged",
            description: format!(
                "No audit device takes the log of some requests, and Vault refuses those requests. Is a volume full, or a receiver away? {see}"
            ),
        },
        Alert {
            name: "VaultLeasesExploding",
            severity: Severity::Warning,
            expression: format!(
                "({leases} > {max_leases}) or (({leases} > {tenth}) and ({leases} > 2 * max by (namespace) ({yesterday} offset 1d)))"
            ),
            lasting: "15m",
            summary: "it keeps very many leases",
            description: format!(
                "{{{{ $value }}}} leases. Each costs memory, and their expiry can stop a Vault. Find who asks for new ones instead of renewing: vault read sys/internal/counters/tokens, and the audit log. {see}"
            ),
        },
    ]
}

/// What is to be renewed in time.
fn upkeep(series: &Series, thresholds: &Alerts, see: &str) -> Vec<Alert> {
    let Series { namespace, name } = series;
    let observed = |metric| series.observed(metric);
    let (begin, end) = (
        observed("certificate_not_before_timestamp_seconds"),
        observed("certificate_not_after_timestamp_seconds"),
    );
    let age = thresholds.max_backup_age.as_secs();
    vec![
        Alert {
            name: "VaultCertificateNotRenewed",
            severity: Severity::Warning,
            // One that the operator manages is renewed when a third of its life is left.
            expression: format!("({end} - time()) < ({end} - {begin}) / 4"),
            lasting: "15m",
            summary: "the members' certificate was not renewed in time",
            description: format!(
                "It is good for {{{{ $value | humanizeDuration }}}} more, less than a quarter of its life. See the conditions Configured and CertificateCurrent. {see}"
            ),
        },
        Alert {
            name: "VaultCertificateNearItsEnd",
            severity: Severity::Critical,
            expression: format!("({end} - time()) < ({end} - {begin}) / 20"),
            lasting: "5m",
            summary: "the members' certificate is about to expire",
            description: format!(
                "It is good for {{{{ $value | humanizeDuration }}}} more. Then no client trusts Vault, and the members do not trust each other. {see}"
            ),
        },
        Alert {
            name: "VaultBackupTooOld",
            severity: Severity::Warning,
            expression: format!(
                "(time() - max by (namespace) (vaultkeeper_backup_last_success_timestamp_seconds{{namespace=\"{namespace}\", name=\"{name}\"}})) > {age}"
            ),
            lasting: "5m",
            summary: "the last good backup is too old",
            description: format!("The last good backup is {{{{ $value | humanizeDuration }}}} old. {see}"),
        },
        Alert {
            name: "VaultRotationsOverdue",
            severity: Severity::Warning,
            expression: format!("{} > 0", observed("rotations_overdue")),
            lasting: "30m",
            summary: "secret-ids were not rotated in time",
            description: format!(
                "The secret-ids of {{{{ $value }}}} VaultRoles should have been replaced long ago. kubectl get vaultroles -A shows which are not Ready. {see}"
            ),
        },
        Alert {
            name: "VaultClusterNotReconciled",
            severity: Severity::Warning,
            expression: format!("{} == 0", observed("configured")),
            lasting: "15m",
            summary: "the operator cannot bring it to what its spec says",
            description: format!(
                "The spec is refused, or something of it fails again and again: see the conditions Accepted and Configured. {see}"
            ),
        },
    ]
}

#[cfg(test)]
#[path = "alerts_tests.rs"]
mod tests;
