//! When a secret-id is replaced.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a secret-id is replaced, and what happens then.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.every) && has(self.afterPercentOfTtl))")
        .message("spec.appRole.rotation must hold every or afterPercentOfTtl, not both"),
    validation = Rule::new(concat!("!has(self.every) || ", span!("self.every"), " >= 10"))
        .message("spec.appRole.rotation.every must be at least 10s: each replacement is a write to Vault and to the Secret"),
    validation = Rule::new(concat!("!has(self.every) || !has(self.overlap) || ", span!("self.overlap"), " < ", span!("self.every")))
        .message("spec.appRole.rotation.overlap must be shorter than every: old secret-ids would pile up"),
)]
pub struct Rotation {
    /// Replace it at least so often, for example 12h, from 10s on. Roles are spread: each is up to a quarter early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.appRole.rotation.every must be a duration such as 12h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub every: Option<String>,

    /// Replace it after this share of secretIdTtl, in percent. Default: 66. Roles are spread: each is up to a quarter early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 90))]
    pub after_percent_of_ttl: Option<i32>,

    /// How long the old secret-id works beside the new one, for example 30m. Default: 1h, or half of the time from one
    /// rotation to the next if that is shorter. With 0s it is destroyed as soon as the new one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.appRole.rotation.overlap must be a duration such as 30m, its units in this order: d, h, m, s, and at most 9999d"))]
    pub overlap: Option<String>,

    /// Workloads of this namespace whose pods are restarted, as by kubectl rollout restart, once the Secret holds a new
    /// secret-id. Not at its first creation.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub restart_targets: Vec<RestartTarget>,
}

/// A workload whose pods are restarted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RestartTarget {
    /// Its kind.
    pub kind: RestartKind,
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.appRole.rotation.restartTargets must be names of workloads"))]
    pub name: String,
}

/// Kind of a workload whose pods are restarted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}
