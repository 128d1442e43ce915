//! A token in a Secret.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a token goes that the operator mints, renews and replaces. For what cannot log in by itself. It is an orphan, as
/// those of logins are: a child of the operator's own token would end with that after half an hour.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenDelivery {
    /// Secret of type Opaque that receives the token and holds nothing else. An existing Secret of another owner is not
    /// overwritten. A token that is replaced stays valid for two minutes, or a quarter of its life if that is shorter.
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.token.deliver.secretName must be a valid name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.token.deliver.secretName must not be that of a Secret in which the operator keeps keys"),
    )]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,

    /// Key in that Secret.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')").message("spec.token.deliver.key must be a key of a Secret: letters, digits, - _ and ."))]
    pub key: String,

    /// Labels of that Secret, besides the operator's own. One that is taken out here stays on the Secret.
    #[serde(default)]
    #[schemars(schema_with = "labels_schema")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && k != 'app.kubernetes.io/managed-by' && k.matches('^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$'))").message("spec.token.deliver.labels must be labels, and none of the operator's own"))]
    pub labels: BTreeMap<String, String>,
}

fn default_key() -> String {
    "token".to_owned()
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}
