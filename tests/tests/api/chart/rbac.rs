//! The roles as rendered: no wider than needed.

use serde_json::{Value, json};
use vaultkeeper_operator::cluster::build;
use vaultkeeper_operator::cluster::validate::validate;
use vaultkeeper_operator::context::HelperImage;
use vaultkeeper_tests::helm;

use super::{of_kind, template};

/// Every rule of the chart, with the kind and name of its role.
fn rules() -> Vec<(String, Value)> {
    let objects = template(&helm::chart(), &[]).unwrap();
    let mut found = Vec::new();
    for kind in ["ClusterRole", "Role"] {
        for role in of_kind(&objects, kind) {
            let name = format!("{kind} {}", role["metadata"]["name"].as_str().unwrap_or_default());
            for rule in role["rules"].as_array().expect("a role has rules") {
                found.push((name.clone(), rule.clone()));
            }
        }
    }
    assert!(
        found.len() > 8,
        "the chart should hold its roles, found {found:?}"
    );
    found
}

fn holds(rule: &Value, field: &str, wanted: &[&str]) -> bool {
    rule[field]
        .as_array()
        .is_some_and(|all| wanted.iter().any(|word| all.contains(&json!(word))))
}

#[test]
fn no_role_holds_a_wildcard() {
    for (role, rule) in rules() {
        for field in ["verbs", "resources", "apiGroups", "resourceNames"] {
            assert!(
                !holds(&rule, field, &["*"]),
                "{role} has a wildcard in {field}: {rule}"
            );
        }
    }
}

#[test]
fn secrets_of_other_namespaces_are_read_by_name_only() {
    let reads_all = |rule: &Value| {
        holds(rule, "resources", &["secrets"]) && holds(rule, "verbs", &["list", "watch", "deletecollection"])
    };
    let roles: Vec<_> = rules()
        .into_iter()
        .filter(|(_, rule)| reads_all(rule))
        .map(|(role, _)| role)
        .collect();
    assert_eq!(
        roles,
        ["Role keeper-operator"],
        "only the operator may list Secrets, and only in its own namespace"
    );
}

/// Secrets, StatefulSets and ClusterRoleBindings could give rights, too, and have no names that are known beforehand:
/// `confined.rs` shows what holds them.
#[test]
fn rights_to_bind_to_make_tokens_and_to_change_webhooks_are_for_named_objects() {
    for (role, rule) in rules() {
        let escalates = holds(&rule, "verbs", &["bind", "escalate", "impersonate"])
            || holds(&rule, "resources", &["serviceaccounts/token"])
            || holds(&rule, "resources", &["mutatingwebhookconfigurations"]);
        assert!(
            !escalates
                || rule["resourceNames"]
                    .as_array()
                    .is_some_and(|names| !names.is_empty()),
            "{role} should hold this right for named objects only: {rule}"
        );
    }
    assert!(
        rules()
            .iter()
            .all(|(_, rule)| !holds(rule, "resources", &["pods/exec", "nodes/proxy"])),
        "nothing of ours runs commands in pods"
    );
}

#[test]
fn no_running_pod_can_be_changed_into_something_else() {
    let changing = ["create", "patch", "update"];
    for (role, rule) in rules() {
        assert!(
            !(holds(&rule, "resources", &["pods"]) && holds(&rule, "verbs", &changing)),
            "{role} may change what a pod runs: {rule}"
        );
    }
    assert!(
        rules()
            .iter()
            .any(|(_, rule)| holds(rule, "resources", &["pods/status"]) && rule["verbs"] == json!(["patch"])),
        "the operator labels the active member by the subresource"
    );
}

#[test]
fn the_network_policy_of_the_members_lets_in_the_operator_as_the_chart_labels_it() {
    let cluster = json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": "main", "namespace": "vault", "uid": "u-1"},
        "spec": {"version": "1.21.1", "storage": {"raft": {}}},
    });
    let cluster = validate(&serde_json::from_value(cluster).unwrap()).unwrap();
    let around = build::Around {
        operator_namespace: "system",
        helper: &HelperImage::default(),
        sealed_on_purpose: false,
    };
    let built = build::build(&cluster, None, around).unwrap();
    let policy = serde_json::to_value(built.network_policy).unwrap();
    let objects = template(&helm::chart(), &[]).unwrap();
    let operator = of_kind(&objects, "Deployment")
        .into_iter()
        .find(|d| d["metadata"]["name"] == "keeper-operator")
        .expect("the chart holds the operator");
    let labels = &operator["spec"]["template"]["metadata"]["labels"];
    let wanted = &policy["spec"]["ingress"][1]["from"][0]["podSelector"]["matchLabels"];
    let wanted = wanted.as_object().expect("the operator is selected by labels");
    for (key, value) in wanted {
        assert_eq!(&labels[key], value, "the operator's pods carry {key}: {labels}");
    }
}
