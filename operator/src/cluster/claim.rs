//! Whose a VaultCluster is. Its keys lie in the namespace of one operator; another one that acted on it as well would
//! take it for one whose keys are lost.

use kube::api::Patch;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use vaultkeeper_crds::annotations::OPERATOR;
use vaultkeeper_crds::{VaultCluster, VaultRole, names};

use super::error::Error;
use super::patch_params;
use crate::context::Context;
use crate::report::Reason;
use crate::role::ClusterName;

/// How often a cluster of another operator is mentioned.
const REMIND: std::time::Duration = std::time::Duration::from_secs(600);

/// To whom a VaultCluster belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// To this operator.
    Ours,
    /// To the operator in this namespace.
    Anothers(String),
    /// To nobody yet.
    Nobodys,
}

/// Reads the claim, as the operator in `namespace` sees it.
pub fn read(cluster: &VaultCluster, namespace: &str) -> Claim {
    match cluster.annotations().get(OPERATOR).map(String::as_str) {
        None | Some("") => Claim::Nobodys,
        Some(owner) if owner == namespace => Claim::Ours,
        Some(owner) => Claim::Anothers(owner.to_owned()),
    }
}

/// Claims a cluster of nobody. The object as it is now; none when somebody has changed it meanwhile.
pub(crate) async fn claim(ctx: &Context, cluster: &VaultCluster) -> Result<Option<VaultCluster>, Error> {
    let api: Api<VaultCluster> =
        Api::namespaced(ctx.client.clone(), &cluster.namespace().unwrap_or_default());
    // With the version that was read: of two operators one is refused.
    let body = json!({"metadata": {
        "uid": cluster.uid(),
        "resourceVersion": cluster.resource_version(),
        "annotations": {OPERATOR: ctx.namespace},
    }});
    match api
        .patch(&cluster.name_any(), &patch_params(), &Patch::Merge(&body))
        .await
    {
        Ok(claimed) => Ok(Some(claimed)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(Error::kubernetes("claim the VaultCluster", error)),
    }
}

/// Says that a cluster is left alone. Its status is the other operator's to write.
pub(crate) async fn tell(ctx: &Context, cluster: &VaultCluster, owner: &str) {
    let key = format!("{}/claim", cluster.uid().unwrap_or_default());
    if ctx.recent.is_fresh(&key, 0, REMIND, Instant::now()) {
        return;
    }
    ctx.recent.mark(key, 0, Instant::now());
    let note = words(cluster, owner, &ctx.namespace);
    tracing::warn!(cluster = %cluster.name_any(), namespace = %cluster.namespace().unwrap_or_default(), "{note}");
    ctx.reporter
        .publish(&cluster.object_ref(&()), Reason::Refused, "operator", &note)
        .await;
}

fn words(cluster: &VaultCluster, owner: &str, own: &str) -> String {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    format!(
        "belongs to the operator in namespace {owner}; the one in namespace {own} leaves it alone. Run one operator per Kubernetes cluster. \
         To hand it over: remove the other operator, copy the Secrets {} and {} to namespace {own}, then annotate the VaultCluster with {OPERATOR}={own}",
        names::key_secret(&namespace, &name),
        names::ca_secret(&namespace, &name),
    )
}

/// Whether the VaultCluster that a role names belongs to another operator, which then also tends the role.
pub(crate) async fn tends_another(ctx: &Context, role: &VaultRole) -> bool {
    let of = &role.spec.cluster;
    let name = ClusterName {
        namespace: of.namespace.clone(),
        name: of.name.clone(),
    };
    if let Some(cluster) = ctx.sweep.cluster(&name) {
        return matches!(read(&cluster, &ctx.namespace), Claim::Anothers(_));
    }
    let api: Api<VaultCluster> = Api::namespaced(ctx.client.clone(), &of.namespace);
    match api.get_opt(&of.name).await {
        Ok(Some(cluster)) => matches!(read(&cluster, &ctx.namespace), Claim::Anothers(_)),
        // What cannot be read now fails in the pass itself, in its words.
        Ok(None) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::cluster;
    use super::*;

    fn claimed_by(owner: &str) -> VaultCluster {
        let mut cluster = cluster("");
        cluster
            .annotations_mut()
            .insert(OPERATOR.to_owned(), owner.to_owned());
        cluster
    }

    #[test]
    fn a_cluster_belongs_to_the_operator_whose_namespace_it_names() {
        assert_eq!(read(&cluster(""), "a"), Claim::Nobodys);
        assert_eq!(read(&claimed_by("a"), "a"), Claim::Ours);
        assert_eq!(read(&claimed_by("b"), "a"), Claim::Anothers("b".to_owned()));
    }

    #[test]
    fn the_refusal_names_both_operators_and_the_way_to_hand_over() {
        let words = words(&claimed_by("b"), "b", "a");
        for part in [
            "namespace b",
            "namespace a",
            "vault-keys.vault.main",
            "vault-ca.vault.main",
            "vaultkeeper.dev/operator=a",
        ] {
            assert!(words.contains(part), "{part} is missing: {words}");
        }
    }
}
