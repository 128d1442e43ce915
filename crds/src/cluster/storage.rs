//! Where Vault keeps its data.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where Vault keeps its data: exactly one backend.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.raft)").message("spec.storage must name one known backend: raft"),
)]
pub struct Storage {
    /// Integrated storage: each member keeps the data on a volume of its own and they agree by Raft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftStorage>,
}

/// Integrated storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec.storage.raft cannot be changed yet: the volumes of a StatefulSet are fixed at its creation"))]
pub struct RaftStorage {
    /// Size of each member's volume, for example 10Gi.
    #[serde(default = "default_size")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(Mi|Gi|Ti|M|G|T)$')").message("spec.storage.raft.size must be a size such as 10Gi"))]
    pub size: String,

    /// StorageClass of the volumes. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

fn default_size() -> String {
    "10Gi".to_owned()
}
