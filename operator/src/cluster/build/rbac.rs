//! The right to review ServiceAccount tokens, which Vault's Kubernetes auth method needs.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::cluster::validate::Validated;

/// Name of the binding: namespaces hold no dot, so two clusters never share one.
pub fn reviewer_binding_name(namespace: &str, name: &str) -> String {
    format!("vaultkeeper:reviewer:{namespace}.{name}")
}

/// Binds `system:auth-delegator` to the members' ServiceAccount.
pub(crate) fn reviewer(cluster: &Validated) -> ClusterRoleBinding {
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
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: cluster.name.clone(),
            namespace: Some(cluster.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
