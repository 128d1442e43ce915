//! Log in by a ServiceAccount.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Log in by a Kubernetes ServiceAccount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesLogin {
    /// Names of ServiceAccounts of this namespace whose pods may log in.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$'))").message("spec.kubernetes.serviceAccounts must be names of ServiceAccounts; wildcards are not allowed"))]
    pub service_accounts: Vec<String>,
}
