//! How Vault is sealed.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How Vault is sealed: exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.shamir)").message("spec.seal must name one known kind: shamir"))]
pub struct Seal {
    /// Key shares after Shamir. The operator keeps them in a Secret in its own namespace and unseals with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shamir: Option<ShamirSeal>,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            shamir: Some(ShamirSeal::default()),
        }
    }
}

/// Key shares after Shamir.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.threshold <= self.shares")
        .message("spec.seal.shamir.threshold must not be larger than spec.seal.shamir.shares: nobody could unseal"),
    validation = Rule::new("self.shares == 1 || self.threshold >= 2")
        .message("spec.seal.shamir.threshold must be at least 2 when there are several shares: Vault refuses 1"),
    validation = Rule::new("oldSelf == self").message("spec.seal.shamir cannot be changed after creation: that takes a rekey"),
)]
pub struct ShamirSeal {
    /// Number of key shares, 1 to 255.
    #[serde(default = "default_shares")]
    #[schemars(range(min = 1, max = 255))]
    pub shares: i32,

    /// How many shares unseal a member.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 255))]
    pub threshold: i32,
}

impl Default for ShamirSeal {
    fn default() -> Self {
        Self {
            shares: default_shares(),
            threshold: default_threshold(),
        }
    }
}

fn default_shares() -> i32 {
    5
}

fn default_threshold() -> i32 {
    3
}
