//! Which rights the operator uses, noted at its client.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use vaultkeeper_tests::helm;

use super::super::{of_kind, template};
use super::acts::{
    context, keys_and_cas_are_stored_changed_and_kept_aside, stage, the_lease_is_taken_and_given_back,
};
use super::life::a_cluster_and_a_role_live_and_end;

/// Resource and verb, as RBAC asks for them.
type Right = (String, String);

#[derive(Clone, Default)]
struct Used(Arc<Mutex<BTreeSet<Right>>>);

impl Used {
    /// A client whose requests are noted.
    fn by(&self, client: Client) -> Client {
        let used = self.clone();
        let namespace = client.default_namespace().to_owned();
        let noting = tower::service_fn(move |request: Request<Body>| {
            used.0.lock().unwrap().extend(asked(&request));
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(noting, namespace)
    }
}

/// What a request asks RBAC for.
fn asked(request: &Request<Body>) -> Vec<Right> {
    let mut parts: Vec<_> = request.uri().path().trim_matches('/').split('/').collect();
    let group = if parts[0] == "api" { "" } else { parts[1] };
    parts.drain(..if group.is_empty() { 2 } else { 3 });
    if parts.is_empty() {
        // Which kinds a group has: whoever may log in may ask that.
        return Vec::new();
    }
    if parts[0] == "namespaces" && parts.len() > 2 {
        parts.drain(..2);
    }
    let (resource, name, part) = (parts[0], parts.get(1), parts.get(2));
    let part = part.map(|part| format!("/{part}")).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let applies = request
        .headers()
        .get("Content-Type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"));
    let verbs: &[&str] = match (request.method(), name) {
        (&Method::GET, Some(_)) => &["get"],
        (&Method::GET, None) if query.contains("watch=") => &["watch"],
        (&Method::GET, None) => &["list"],
        (&Method::POST, _) => &["create"],
        (&Method::PUT, _) => &["update"],
        // It creates what is not there.
        (&Method::PATCH, _) if applies => &["patch", "create"],
        (&Method::PATCH, _) => &["patch"],
        (&Method::DELETE, _) => &["delete"],
        (method, _) => panic!("no verb is known for {method}"),
    };
    let right = |verb: &&str| {
        (
            resource_name(group, &format!("{resource}{part}")),
            (*verb).to_owned(),
        )
    };
    verbs.iter().map(right).collect()
}

fn resource_name(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{group}/{resource}")
    }
}

/// What the chart grants to the operator.
fn granted() -> BTreeSet<Right> {
    let words = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let objects = template(&helm::chart(), &[]).unwrap();
    let roles = ["ClusterRole", "Role"]
        .map(|kind| of_kind(&objects, kind))
        .concat();
    let mut granted = BTreeSet::new();
    for role in roles {
        if !role["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .ends_with("-operator")
        {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    let right = |verb| (resource_name(&group, &resource), verb);
                    granted.extend(words(&rule["verbs"]).into_iter().map(right));
                }
            }
        }
    }
    granted
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_operator_does_passes_and_no_right_is_left_unused() {
    let mut stage = stage().await;
    let used = Used::default();
    stage.operator = used.by(stage.operator);
    Box::pin(keys_and_cas_are_stored_changed_and_kept_aside(&stage)).await;
    the_lease_is_taken_and_given_back(&stage).await;
    Box::pin(a_cluster_and_a_role_live_and_end(&stage)).await;
    let owner = vaultkeeper_operator::role::owner::of_this_kubernetes(&context(&stage.operator)).await;
    assert!(!owner.expect("the UID of kube-system").is_empty());

    let used = used.0.lock().unwrap();
    let unused: Vec<_> = granted().difference(&used).cloned().collect();
    let expected = [
        // cert-manager is not installed here: the tier `vault` asks it for a certificate.
        ("cert-manager.io/certificates", "create"),
        ("cert-manager.io/certificates", "get"),
        ("cert-manager.io/certificates", "patch"),
        // Asked for by an admission plugin of some clusters, when owners are written.
        ("configmaps", "delete"),
        // Nor is the Prometheus operator.
        ("monitoring.coreos.com/podmonitors", "create"),
        ("monitoring.coreos.com/podmonitors", "delete"),
        ("monitoring.coreos.com/podmonitors", "get"),
        ("monitoring.coreos.com/podmonitors", "patch"),
        ("monitoring.coreos.com/prometheusrules", "create"),
        ("monitoring.coreos.com/prometheusrules", "delete"),
        ("monitoring.coreos.com/prometheusrules", "get"),
        ("monitoring.coreos.com/prometheusrules", "patch"),
        // Asked for when a binding to the role is made.
        ("rbac.authorization.k8s.io/clusterroles", "bind"),
        // The login at a Vault, and none runs here.
        ("serviceaccounts/token", "create"),
        // As the first.
        ("vaultkeeper.dev/vaultclusters/finalizers", "update"),
    ];
    let expected = expected.map(|(resource, verb)| (resource.to_owned(), verb.to_owned()));
    assert_eq!(unused, expected, "rights that the chart grants and nothing uses");
}
