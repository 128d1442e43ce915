//! The right to review ServiceAccount tokens, which Vault's Kubernetes auth method needs.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::placement;
use crate::cluster::validate::Validated;

/// Name of the binding: namespaces hold no dot, so two clusters never share one.
pub fn reviewer_binding_name(namespace: &str, name: &str) -> String {
    format!("vaultkeeper:reviewer:{namespace}.{name}")
}

/// Binds `system:auth-delegator` to the members' ServiceAccount.
pub(crate) fn reviewer(cluster: &Validated) -> ClusterRoleBinding {
    // Ours stays: members that were made before the spec named another one still run as it.
    let accounts = BTreeSet::from([&*cluster.name, placement::service_account_name(cluster)]);
    let subjects = accounts.into_iter().map(|name| Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(cluster.namespace.clone()),
        ..Subject::default()
    });
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(reviewer_binding_name(&cluster.namespace, &cluster.name)),
            labels: Some(super::labels(&cluster.name)),
            // A cluster-scoped object cannot be owned by a namespaced one: the finalizer removes it.
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: "system:auth-delegator".to_owned(),
        },
        subjects: Some(subjects.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn bound(extra: &str) -> Vec<String> {
        let binding = reviewer(&validate(&cluster(extra)).unwrap());
        binding.subjects.unwrap().into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn members_may_review_logins_under_their_old_and_their_new_account() {
        assert_eq!(bound(""), ["main"]);
        assert_eq!(bound("  pod: {serviceAccount: {name: other}}"), ["main", "other"]);
        assert_eq!(bound("  pod: {serviceAccount: {name: main}}"), ["main"]);
    }
}
