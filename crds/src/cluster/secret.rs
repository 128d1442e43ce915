//! References to values in Secrets.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One value in a Secret of the VaultCluster's own namespace, and of no other. One in which the operator keeps keys is
/// refused: a VaultCluster may lie in the operator's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("name must be the name of a Secret in the namespace of the VaultCluster"),
    validation = Rule::new("!self.name.startsWith('vault-keys.') && !self.name.startsWith('vault-ca.')").message("name must not be that of a Secret in which the operator keeps keys"),
    validation = Rule::new("self.key.matches('^[-._a-zA-Z0-9]+$')").message("key must be a key of that Secret: letters, digits, - _ and ."),
)]
pub struct SecretKey {
    /// Name of the Secret, in the namespace of the VaultCluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in that Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
