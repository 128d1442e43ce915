//! The token settings that all login methods share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::{null_default, seconds};

/// What tokens of a role are like (`token_*`). Zero means: the mount's own value, or no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    /// `token_ttl`.
    #[serde(rename = "token_ttl", with = "seconds")]
    pub ttl: Duration,
    /// `token_max_ttl`: renewals end here.
    #[serde(rename = "token_max_ttl", with = "seconds")]
    pub max_ttl: Duration,
    /// `token_explicit_max_ttl`: a hard end that later changes of the mount do not move.
    #[serde(rename = "token_explicit_max_ttl", with = "seconds")]
    pub explicit_max_ttl: Duration,
    /// `token_period`: renewable for ever, each time by this much. Not with batch tokens.
    #[serde(rename = "token_period", with = "seconds")]
    pub period: Duration,
    /// `token_policies`.
    #[serde(rename = "token_policies", deserialize_with = "null_default")]
    pub policies: Vec<String>,
    /// `token_bound_cidrs`: from where the token may be used, and the login be made. Vault stores text that is no
    /// CIDR without a word: check before.
    #[serde(rename = "token_bound_cidrs", deserialize_with = "null_default")]
    pub bound_cidrs: Vec<String>,
    /// `token_no_default_policy`.
    #[serde(rename = "token_no_default_policy")]
    pub no_default_policy: bool,
    /// `token_num_uses`. Not with batch tokens.
    #[serde(rename = "token_num_uses")]
    pub num_uses: u64,
    /// `token_type`.
    #[serde(rename = "token_type")]
    pub kind: TokenKind,
}

/// `token_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// The mount's own.
    #[default]
    Default,
    /// Stored, renewable, revocable.
    Service,
    /// Not stored: cheap, neither renewable nor revocable.
    Batch,
    /// Service, unless the client asks for batch.
    DefaultService,
    /// Batch, unless the client asks for service.
    DefaultBatch,
}

impl TokenParams {
    /// Policies and CIDRs in the order and form in which they compare: policies lower-case, as the server stores them,
    /// and each of both once.
    pub fn normalised(mut self) -> Self {
        self.bound_cidrs.sort();
        self.bound_cidrs.dedup();
        for policy in &mut self.policies {
            *policy = policy.trim().to_lowercase();
        }
        self.policies.retain(|policy| !policy.is_empty());
        self.policies.sort();
        self.policies.dedup();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_written_under_the_name_that_vault_knows() {
        let params = TokenParams {
            ttl: Duration::from_secs(3600),
            kind: TokenKind::Batch,
            policies: vec!["a".to_owned()],
            ..TokenParams::default()
        };
        assert_eq!(
            serde_json::to_value(&params).unwrap(),
            serde_json::json!({
                "token_ttl": 3600, "token_max_ttl": 0, "token_explicit_max_ttl": 0, "token_period": 0,
                "token_policies": ["a"], "token_bound_cidrs": [], "token_no_default_policy": false,
                "token_num_uses": 0, "token_type": "batch",
            }),
            "all fields, since Vault keeps what an update leaves out"
        );
    }

    #[test]
    fn policies_compare_as_the_server_stores_them() {
        let policies = ["B", "a", "b ", ""].map(str::to_owned).to_vec();
        let params = TokenParams {
            policies,
            ..TokenParams::default()
        }
        .normalised();
        assert_eq!(params.policies, ["a", "b"], "lower-case, sorted, each once");
    }
}
