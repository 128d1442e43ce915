//! Log in by AppRole.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Log in by AppRole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRole {
    /// Secret of type Opaque that receives the keys `role-id` and `secret-id`. An existing Secret of another owner is not overwritten.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.appRole.secretName must be a valid name of a Secret"))]
    pub secret_name: String,
}
