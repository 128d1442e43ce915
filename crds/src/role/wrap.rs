//! Response wrapping of a secret-id.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The Secret holds a wrapping token, which gives the secret-id to the one who unwraps it, once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(concat!(span!("self.ttl"), " >= 10"))
        .message("spec.appRole.wrap.ttl must be at least 10s: a wrapping token that lives shorter would be replaced all the time"),
)]
pub struct Wrap {
    /// How long a wrapping token can be unwrapped, for example 30m, from 10s on. One that nobody has used is replaced after
    /// two thirds of it.
    #[serde(default = "default_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.appRole.wrap.ttl must be a duration such as 30m, its units in this order: d, h, m, s, and at most 9999d"))]
    pub ttl: String,
}

fn default_ttl() -> String {
    "1h".to_owned()
}
