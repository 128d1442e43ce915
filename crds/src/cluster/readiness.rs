//! How ready for production a cluster is: ten rules, and those that somebody waived.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of the ten rules for production do not apply to this cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessSettings {
    /// Rules that somebody answers for by other means. A waived rule counts as met and is shown as Waived with its
    /// reason.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["rule".to_owned()]))]
    pub waivers: Vec<ReadinessWaiver>,
}

/// One rule that does not apply, and why.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessWaiver {
    /// The rule, by its name.
    pub rule: ReadinessRule,

    /// Why it does not apply, or what stands in for it, for example `snapshots are taken by the platform team, OPS-12`.
    /// Shown in the status.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('\\\\S')").message("spec.readiness.waivers.reason must say why the rule does not apply here, or what stands in for it"))]
    pub reason: String,
}

/// The ten rules for a Vault in production. `docs/readiness.md` says what each observes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadinessRule {
    /// No root token is alive, in Vault or in a Secret.
    NoRootToken,
    /// A key management service unseals the members, not shares that lie in a Secret.
    AutoUnseal,
    /// Every member shows a certificate that is verified and current, and nothing is sent in plain text.
    #[serde(rename = "TLS")]
    Tls,
    /// Three members or more on Raft or Consul.
    HighAvailability,
    /// Requests are logged: by one device, by two in profile Hardened.
    Audit,
    /// The NetworkPolicy is in place as it was applied.
    NetworkIsolation,
    /// Encrypted backups are made regularly.
    Backups,
    /// Policies are as declared and none allows everything.
    LeastPrivilege,
    /// Some logins ask for a second factor.
    #[serde(rename = "MFA")]
    Mfa,
    /// Vault's encryption key was rotated lately, and secret-ids expire.
    Rotation,
}

impl ReadinessRule {
    /// All ten, in their order.
    pub const ALL: [Self; 10] = [
        Self::NoRootToken,
        Self::AutoUnseal,
        Self::Tls,
        Self::HighAvailability,
        Self::Audit,
        Self::NetworkIsolation,
        Self::Backups,
        Self::LeastPrivilege,
        Self::Mfa,
        Self::Rotation,
    ];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRootToken => "NoRootToken",
            Self::AutoUnseal => "AutoUnseal",
            Self::Tls => "TLS",
            Self::HighAvailability => "HighAvailability",
            Self::Audit => "Audit",
            Self::NetworkIsolation => "NetworkIsolation",
            Self::Backups => "Backups",
            Self::LeastPrivilege => "LeastPrivilege",
            Self::Mfa => "MFA",
            Self::Rotation => "Rotation",
        }
    }
}

/// How it stands with a rule.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadinessState {
    /// Observed to hold.
    Met,
    /// Observed not to hold.
    Failed,
    /// Waived in spec.readiness.waivers; counts as met.
    Waived,
    /// Could not be looked at for a while; does not count as met.
    #[default]
    Unknown,
}

/// One rule as it was last judged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessRuleStatus {
    /// The rule, by its name.
    pub rule: ReadinessRule,
    /// How it stands with it.
    pub state: ReadinessState,
    /// Since when it stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What was observed and, where it is not met, what to do.
    #[serde(default)]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_each_rule_is_the_one_of_the_api_and_there_are_ten() {
        let mut words: Vec<String> = ReadinessRule::ALL
            .iter()
            .map(|rule| {
                assert_eq!(
                    serde_json::to_value(rule).unwrap(),
                    rule.as_str(),
                    "{rule:?} is written otherwise in the API"
                );
                rule.as_str().to_owned()
            })
            .collect();
        words.dedup();
        assert_eq!(words.len(), 10, "{words:?}");
    }
}
