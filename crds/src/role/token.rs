//! What the tokens of a login are like.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Properties of the tokens that a login gives.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenSettings {
    /// How long a token lives unless it is renewed, for example 1h.
    #[serde(default = "default_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.ttl must be a duration such as 1h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub ttl: String,

    /// How long a token can live with renewals, for example 4h.
    #[serde(default = "default_max_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.token.maxTtl must be a duration such as 4h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub max_ttl: String,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            ttl: default_ttl(),
            max_ttl: default_max_ttl(),
        }
    }
}

fn default_ttl() -> String {
    "1h".to_owned()
}

fn default_max_ttl() -> String {
    "4h".to_owned()
}
