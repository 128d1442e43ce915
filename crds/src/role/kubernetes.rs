//! Log in by a ServiceAccount.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Log in by a Kubernetes ServiceAccount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesLogin {
    /// Names of ServiceAccounts whose pods may log in: those of this namespace, and of the further ones below.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$'))").message("spec.kubernetes.serviceAccounts must be names of ServiceAccounts; wildcards are not allowed"))]
    pub service_accounts: Vec<String>,

    /// Further namespaces whose ServiceAccounts of these names may log in and do all that this VaultRole may. The
    /// VaultCluster's spec.access must name each of them.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))").message("each of spec.kubernetes.namespaces must be the name of a namespace; wildcards are not allowed"))]
    pub namespaces: Vec<String>,

    /// Further namespaces by their labels. Of those that the VaultCluster's spec.access names the ones with these
    /// labels are taken, as the labels are at any time; all others are left out, whatever their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,

    /// Audience that a pod's token must have. Injected pods get one that has it; a pod that logs in by itself needs a
    /// projected volume with it. The API server takes no such token, so that what Vault is shown is worth nothing
    /// elsewhere. Default: any audience. Not with a Vault that runs elsewhere (spec.external), where it is chosen
    /// already: see status.external.audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]+$')").message("spec.kubernetes.audience must be letters, digits and signs of ASCII without spaces, such as vault or https://vault.example.com"))]
    pub audience: Option<String>,

    /// What Vault knows the ServiceAccount by in its identities.
    #[serde(default)]
    pub alias_name_source: AliasNameSource,
}

/// Selects namespaces by their labels. All conditions must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.matchLabels) + size(self.matchExpressions) > 0").message("spec.kubernetes.namespaceSelector must hold a condition: an empty one would select every namespace that may log in"))]
pub struct NamespaceSelector {
    /// Labels with these values.
    #[serde(default)]
    #[schemars(schema_with = "labels_schema")]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions on labels.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub match_expressions: Vec<LabelCondition>,
}

/// One condition on a label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (size(self.values) > 0)").message("values go with the operators In and NotIn, which need at least one, and with no other"))]
pub struct LabelCondition {
    /// Name of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How it is compared.
    pub operator: LabelOperator,

    /// What it is compared with, by In and NotIn.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// It is there and one of the values.
    In,
    /// It is none of the values, or not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// What Vault knows a ServiceAccount by in its identities (`alias_name_source`).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliasNameSource {
    /// Its UID: a ServiceAccount that is deleted and made anew is another one.
    #[default]
    ServiceAccountUid,
    /// `<namespace>/<name>`: whoever makes one of that name anew takes its place.
    ServiceAccountName,
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "Labels with these values.",
        "maxProperties": 20,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is selected, as Kubernetes itself would say it.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let Self {
            match_labels,
            match_expressions,
        } = self;
        match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && match_expressions.iter().all(|condition| condition.holds(labels))
    }
}

impl LabelCondition {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let Self {
            key,
            operator,
            values,
        } = self;
        let there = labels.get(key);
        match operator {
            LabelOperator::In => there.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn => there.is_none_or(|value| !values.contains(value)),
            LabelOperator::Exists => there.is_some(),
            LabelOperator::DoesNotExist => there.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: serde_json::Value, labels: serde_json::Value) -> bool {
        let selector: NamespaceSelector = serde_json::from_value(selector).unwrap();
        selector.selects(&serde_json::from_value(labels).unwrap())
    }

    #[test]
    fn a_selector_selects_as_kubernetes_does() {
        let case = |operator: &str, values: &[&str]| {
            let condition = serde_json::json!({"key": "team", "operator": operator, "values": values});
            let selector = serde_json::json!({"matchExpressions": [condition]});
            [
                serde_json::json!({}),
                serde_json::json!({"team": "a"}),
                serde_json::json!({"team": "b"}),
            ]
            .map(|labels| selects(selector.clone(), labels))
        };
        assert_eq!(case("In", &["a"]), [false, true, false]);
        assert_eq!(
            case("NotIn", &["a"]),
            [true, false, true],
            "one without the label too"
        );
        assert_eq!(case("Exists", &[]), [false, true, true]);
        assert_eq!(case("DoesNotExist", &[]), [true, false, false]);
    }

    #[test]
    fn all_conditions_of_a_selector_must_hold() {
        let selector = serde_json::json!({
            "matchLabels": {"team": "a", "stage": "prod"},
            "matchExpressions": [{"key": "closed", "operator": "DoesNotExist"}],
        });
        for (labels, wanted) in [
            (
                serde_json::json!({"team": "a", "stage": "prod", "more": "x"}),
                true,
            ),
            (serde_json::json!({"team": "a"}), false),
            (serde_json::json!({"team": "a", "stage": "dev"}), false),
            (
                serde_json::json!({"team": "a", "stage": "prod", "closed": ""}),
                false,
            ),
        ] {
            assert_eq!(selects(selector.clone(), labels.clone()), wanted, "{labels}");
        }
    }
}
