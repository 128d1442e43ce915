//! The form of the Secrets in which the operator keeps what it holds for a VaultCluster: shares, CAs, its key for backups.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vaultkeeper_crds::annotations;

/// A Secret called `name` for the VaultCluster `cluster` (`<namespace>.<name>`). It lies in `namespace`, the operator's, and
/// has no owner: it outlives the cluster and the cluster's namespace.
pub(crate) fn of_cluster(
    namespace: &str,
    name: String,
    cluster: String,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    let entry = |key: &str, value: String| Some(BTreeMap::from([(key.to_owned(), value)]));
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: entry(
                "app.kubernetes.io/managed-by",
                annotations::FIELD_MANAGER.to_owned(),
            ),
            annotations: entry(annotations::CLUSTER, cluster),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
