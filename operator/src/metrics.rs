//! What the operator counts and measures, for Prometheus. Labels are bounded: kinds, results, reasons, and the
//! names of VaultClusters.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindResult {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindReason {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cluster {
    namespace: String,
    cluster: String,
}

/// The numbers of one VaultCluster, as last observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterNumbers {
    /// Members that the spec asks for.
    pub members_wanted: i64,
    /// Members that serve.
    pub members_ready: i64,
    /// Members that answer and are sealed.
    pub members_sealed: i64,
    /// Members whose pods are made from another template than the present one.
    pub members_outdated: i64,
    /// Members with a vote in Raft, when Raft could be asked.
    pub voters: Option<i64>,
    /// How many may fail without Raft losing quorum, when it could be asked.
    pub failure_tolerance: Option<i64>,
    /// Root tokens that are alive, when Vault could be asked for them.
    pub root_tokens: Option<i64>,
    /// From when the members' certificate is good, in seconds since 1970.
    pub certificate_begins: Option<i64>,
    /// Until when.
    pub certificate_ends: Option<i64>,
    /// VaultRoles whose secret-id should have been replaced.
    pub rotations_overdue: i64,
    /// Whether the spec is accepted and in place.
    pub configured: bool,
    /// Whether it serves.
    pub available: bool,
    /// Whether a deliberate seal is kept.
    pub seal_latched: bool,
}

type ClusterGauge = Family<Cluster, Gauge<i64>>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<KindResult, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    errors: Family<KindReason, Counter>,
    malformed: Family<Kind, Counter>,
    leader: Gauge<i64>,
    lease_renewals: Counter,
    last_success: Gauge<f64, AtomicU64>,
    members_wanted: ClusterGauge,
    members_ready: ClusterGauge,
    members_sealed: ClusterGauge,
    members_outdated: ClusterGauge,
    voters: ClusterGauge,
    failure_tolerance: ClusterGauge,
    root_tokens: ClusterGauge,
    certificate_begins: ClusterGauge,
    certificate_ends: ClusterGauge,
    rotations_overdue: ClusterGauge,
    configured: ClusterGauge,
    available: ClusterGauge,
    seal_latched: ClusterGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("vaultkeeper");
        let metrics = Self {
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            errors: Family::default(),
            malformed: Family::default(),
            leader: Gauge::default(),
            lease_renewals: Counter::default(),
            last_success: Gauge::default(),
            members_wanted: Family::default(),
            members_ready: Family::default(),
            members_sealed: Family::default(),
            members_outdated: Family::default(),
            voters: Family::default(),
            failure_tolerance: Family::default(),
            root_tokens: Family::default(),
            certificate_begins: Family::default(),
            certificate_ends: Family::default(),
            rotations_overdue: Family::default(),
            configured: Family::default(),
            available: Family::default(),
            seal_latched: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles that ended, by result",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long a reconcile took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Failed reconciles, by reason",
            metrics.errors.clone(),
        );
        registry.register(
            "malformed_objects",
            "Objects that were ignored because they could not be read",
            metrics.malformed.clone(),
        );
        registry.register("leader", "1 while this replica acts", metrics.leader.clone());
        registry.register(
            "lease_renewals",
            "Renewals of the Lease",
            metrics.lease_renewals.clone(),
        );
        registry.register_with_unit(
            "last_success_timestamp",
            "When a reconcile last succeeded, since 1970",
            Unit::Seconds,
            metrics.last_success.clone(),
        );
        for (name, help, family) in [
            (
                "cluster_members_wanted",
                "Members that the spec asks for",
                &metrics.members_wanted,
            ),
            (
                "cluster_members_ready",
                "Members that serve",
                &metrics.members_ready,
            ),
            (
                "cluster_members_sealed",
                "Members that answer and are sealed",
                &metrics.members_sealed,
            ),
            (
                "cluster_members_outdated",
                "Members that do not run the present pod template yet",
                &metrics.members_outdated,
            ),
            ("cluster_voters", "Members with a vote in Raft", &metrics.voters),
            (
                "cluster_failure_tolerance",
                "Members that may fail without losing quorum",
                &metrics.failure_tolerance,
            ),
            (
                "cluster_root_tokens",
                "Root tokens that are alive",
                &metrics.root_tokens,
            ),
            (
                "cluster_certificate_not_before_timestamp_seconds",
                "From when the members' certificate is good, since 1970",
                &metrics.certificate_begins,
            ),
            (
                "cluster_certificate_not_after_timestamp_seconds",
                "Until when the members' certificate is good, since 1970",
                &metrics.certificate_ends,
            ),
            (
                "cluster_rotations_overdue",
                "VaultRoles whose secret-id should have been replaced",
                &metrics.rotations_overdue,
            ),
            (
                "cluster_configured",
                "1 while the spec is accepted and in place",
                &metrics.configured,
            ),
            (
                "cluster_available",
                "1 while the cluster serves",
                &metrics.available,
            ),
            (
                "cluster_seal_latched",
                "1 while a deliberate seal is kept",
                &metrics.seal_latched,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        Self { registry, ..metrics }
    }

    /// Notes a reconcile of an object of `kind` that ended well.
    pub fn succeeded(&self, kind: &'static str, took: Duration, unix_seconds: i64) {
        self.reconciles
            .get_or_create(&KindResult {
                kind,
                result: "success",
            })
            .inc();
        self.durations
            .get_or_create(&Kind { kind })
            .observe(took.as_secs_f64());
        #[allow(clippy::cast_precision_loss)] // seconds since 1970 fit into 53 bits for a long time
        self.last_success.set(unix_seconds as f64);
    }

    /// Notes a reconcile of an object of `kind` that failed with `reason`, a word out of a fixed set.
    pub fn failed(&self, kind: &'static str, reason: &'static str, took: Duration) {
        self.reconciles
            .get_or_create(&KindResult {
                kind,
                result: "error",
            })
            .inc();
        self.durations
            .get_or_create(&Kind { kind })
            .observe(took.as_secs_f64());
        self.errors.get_or_create(&KindReason { kind, reason }).inc();
    }

    /// Notes an object that could not be read.
    pub fn malformed(&self, kind: &'static str) {
        self.malformed.get_or_create(&Kind { kind }).inc();
    }

    /// Says whether this replica acts.
    pub fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Notes a renewal of the Lease.
    pub fn lease_renewed(&self) {
        self.lease_renewals.inc();
    }

    /// Sets the numbers of one VaultCluster.
    pub fn cluster(&self, namespace: &str, name: &str, numbers: ClusterNumbers) {
        let ClusterNumbers {
            members_wanted,
            members_ready,
            members_sealed,
            members_outdated,
            voters,
            failure_tolerance,
            root_tokens,
            certificate_begins,
            certificate_ends,
            rotations_overdue,
            configured,
            available,
            seal_latched,
        } = numbers;
        let labels = Cluster {
            namespace: namespace.to_owned(),
            cluster: name.to_owned(),
        };
        self.members_wanted.get_or_create(&labels).set(members_wanted);
        self.members_ready.get_or_create(&labels).set(members_ready);
        self.members_sealed.get_or_create(&labels).set(members_sealed);
        self.members_outdated.get_or_create(&labels).set(members_outdated);
        // What is not known is not told: a zero would be an alarm, and the number of before a lie.
        for (family, number) in [
            (&self.voters, voters),
            (&self.failure_tolerance, failure_tolerance),
            (&self.root_tokens, root_tokens),
            (&self.certificate_begins, certificate_begins),
            (&self.certificate_ends, certificate_ends),
        ] {
            match number {
                Some(number) => drop(family.get_or_create(&labels).set(number)),
                None => drop(family.remove(&labels)),
            }
        }
        self.rotations_overdue
            .get_or_create(&labels)
            .set(rotations_overdue);
        self.configured.get_or_create(&labels).set(i64::from(configured));
        self.available.get_or_create(&labels).set(i64::from(available));
        self.seal_latched
            .get_or_create(&labels)
            .set(i64::from(seal_latched));
    }

    /// Notes a VaultCluster whose spec cannot work. What was known of it stays.
    pub fn refused(&self, namespace: &str, name: &str) {
        let labels = Cluster {
            namespace: namespace.to_owned(),
            cluster: name.to_owned(),
        };
        self.configured.get_or_create(&labels).set(0);
    }

    /// Forgets a VaultCluster that is gone.
    pub fn forget_cluster(&self, namespace: &str, name: &str) {
        let labels = Cluster {
            namespace: namespace.to_owned(),
            cluster: name.to_owned(),
        };
        for family in [
            &self.members_wanted,
            &self.members_ready,
            &self.members_sealed,
            &self.members_outdated,
            &self.voters,
            &self.failure_tolerance,
            &self.root_tokens,
            &self.certificate_begins,
            &self.certificate_ends,
            &self.rotations_overdue,
            &self.configured,
            &self.available,
            &self.seal_latched,
        ] {
            family.remove(&labels);
        }
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.succeeded("VaultRole", Duration::from_millis(3), 1_700_000_000);
        metrics.failed("VaultRole", "VaultSealed", Duration::from_millis(3));
        metrics.leading(true);
        let text = metrics.encode().unwrap();
        for line in [
            r#"vaultkeeper_reconciles_total{kind="VaultRole",result="success"} 1"#,
            r#"vaultkeeper_reconciles_total{kind="VaultRole",result="error"} 1"#,
            r#"vaultkeeper_reconcile_errors_total{kind="VaultRole",reason="VaultSealed"} 1"#,
            r#"vaultkeeper_reconcile_duration_seconds_count{kind="VaultRole"} 2"#,
            "vaultkeeper_leader 1",
            "vaultkeeper_last_success_timestamp_seconds 1700000000.0",
        ] {
            assert!(text.contains(line), "expected {line} in:\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_any_more_is_not_told() {
        let metrics = Metrics::new();
        let known = ClusterNumbers {
            voters: Some(3),
            root_tokens: Some(0),
            ..ClusterNumbers::default()
        };
        metrics.cluster("vault", "main", known);
        let voters = r#"vaultkeeper_cluster_voters{namespace="vault",cluster="main"} 3"#;
        let roots = r#"vaultkeeper_cluster_root_tokens{namespace="vault",cluster="main"} 0"#;
        let text = metrics.encode().unwrap();
        assert!(text.contains(voters) && text.contains(roots), "{text}");
        metrics.cluster("vault", "main", ClusterNumbers::default());
        let text = metrics.encode().unwrap();
        assert!(
            !text.contains("vaultkeeper_cluster_voters{")
                && !text.contains("vaultkeeper_cluster_root_tokens{"),
            "a zero would be an alarm: {text}"
        );
    }

    #[test]
    fn a_spec_that_is_refused_is_not_in_place_and_what_was_known_stays() {
        let metrics = Metrics::new();
        let numbers = ClusterNumbers {
            members_ready: 3,
            configured: true,
            ..ClusterNumbers::default()
        };
        metrics.cluster("vault", "main", numbers);
        metrics.refused("vault", "main");
        let text = metrics.encode().unwrap();
        for line in [
            r#"vaultkeeper_cluster_configured{namespace="vault",cluster="main"} 0"#,
            r#"vaultkeeper_cluster_members_ready{namespace="vault",cluster="main"} 3"#,
        ] {
            assert!(text.contains(line), "expected {line} in:\n{text}");
        }
    }

    #[test]
    fn a_cluster_that_is_gone_leaves_no_series_behind() {
        let metrics = Metrics::new();
        let numbers = ClusterNumbers {
            members_wanted: 3,
            members_sealed: 1,
            ..ClusterNumbers::default()
        };
        metrics.cluster("vault", "main", numbers);
        let series = r#"vaultkeeper_cluster_members_sealed{namespace="vault",cluster="main"} 1"#;
        assert!(metrics.encode().unwrap().contains(series), "expected {series}");
        metrics.forget_cluster("vault", "main");
        assert!(
            !metrics.encode().unwrap().contains("main"),
            "every series of it must be gone"
        );
    }
}
