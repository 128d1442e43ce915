//! What the injector counts and measures.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::admit::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCertificate {
    certificate: &'static str,
}

/// The metrics, all with the prefix `vaultkeeper_injector_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admissions: Family<ByOutcome, Counter>,
    duration: Histogram,
    expiry: Family<ByCertificate, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("vaultkeeper_injector");
        let admissions = Family::default();
        let buckets = [
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
        ];
        let duration = Histogram::new(buckets);
        let expiry = Family::default();
        registry.register(
            "admissions",
            "Reviews by what happened to the pod",
            admissions.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "Time per review",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When a certificate ends, in Unix time",
            Unit::Seconds,
            expiry.clone(),
        );
        // Present from the start, so that an alert on their rate works with the first event.
        for outcome in ["injected", "skipped", "denied", "invalid"] {
            drop(admissions.get_or_create(&ByOutcome { outcome }));
        }
        Self {
            registry,
            admissions,
            duration,
            expiry,
        }
    }
}

impl Metrics {
    /// Counts a review.
    pub fn admitted(&self, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Skipped => "skipped",
            Outcome::Injected(_) => "injected",
            Outcome::Denied(_) => "denied",
        };
        self.count(outcome, took);
    }

    /// Counts a request that was no review.
    pub fn invalid(&self, took: Duration) {
        self.count("invalid", took);
    }

    fn count(&self, outcome: &'static str, took: Duration) {
        self.admissions.get_or_create(&ByOutcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Notes when the CA or the leaf certificate ends.
    pub fn expires(&self, certificate: &'static str, at: jiff::Timestamp) {
        self.expiry
            .get_or_create(&ByCertificate { certificate })
            .set(at.as_duration().as_secs_f64());
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// The text could not be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
