//! The ConfigMap with a cluster's address and CA bundle, in each namespace that has a VaultRole for it. Some of those
//! VaultRoles own it together, so that it goes with the last of them; if others are left then, they make it anew.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::annotations::{CLUSTER, FIELD_MANAGER};
use vaultkeeper_crds::names::{self, ADDRESS_KEY, CA_KEY};

use super::error::Error;
use super::secret::{is_ours, owner};
use super::{ClusterName, Identity};
use crate::cluster::external::{self, Opened};
use crate::cluster::tls_store;
use crate::context::Context;
use crate::sessions::SessionError;

/// How many VaultRoles own it at most. Each one is written into it, and an object may have a megabyte only.
const MAX_OWNERS: usize = 20;

/// How often it is tried in one pass, where others write it at the same time.
const TRIES: u32 = 32;

/// What to do about the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Keep,
    Create(Box<ConfigMap>),
    /// A strategic merge patch: it adds our owner reference to those of the other VaultRoles.
    Patch(serde_json::Value),
    /// Somebody else's.
    Foreign,
}

fn plan(existing: Option<&ConfigMap>, identity: &Identity, address: &str, ca: &str) -> Step {
    let ClusterName { namespace, name } = &identity.cluster;
    let full_name = identity.cluster.to_string();
    let data = BTreeMap::from([
        (ADDRESS_KEY.to_owned(), address.to_owned()),
        (CA_KEY.to_owned(), ca.to_owned()),
    ]);
    let Some(existing) = existing else {
        return Step::Create(Box::new(ConfigMap {
            metadata: ObjectMeta {
                name: Some(names::ca_config_map(namespace, name)),
                namespace: Some(identity.namespace.clone()),
                labels: Some(BTreeMap::from([
                    (
                        "app.kubernetes.io/managed-by".to_owned(),
                        FIELD_MANAGER.to_owned(),
                    ),
                    (CLUSTER.to_owned(), name.clone()),
                ])),
                annotations: Some(BTreeMap::from([(CLUSTER.to_owned(), full_name)])),
                owner_references: Some(vec![owner(identity)]),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }));
    };
    let meta = &existing.metadata;
    if meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(CLUSTER))
        != Some(&full_name)
    {
        return Step::Foreign;
    }
    let current = |key: &str| existing.data.as_ref().and_then(|data| data.get(key));
    let has_owners = is_ours(meta, identity) || meta.owner_references.iter().flatten().count() >= MAX_OWNERS;
    if has_owners && data.iter().all(|(key, value)| current(key) == Some(value)) {
        return Step::Keep;
    }
    if has_owners {
        return Step::Patch(json!({ "data": data }));
    }
    Step::Patch(json!({ "metadata": { "ownerReferences": [owner(identity)] }, "data": data }))
}

/// What the ConfigMap tells clients.
pub struct Told {
    /// Its name.
    pub name: String,
    /// The address in it.
    pub address: String,
    /// The CA bundle in it.
    pub ca: String,
}

/// Writes the ConfigMap as soon as the cluster has a CA, which is before its Vault runs: a pod that was injected
/// meanwhile waits for it. None while there is no CA.
pub async fn ensure(
    ctx: &Context,
    identity: &Identity,
    cluster: &VaultCluster,
) -> Result<Option<Told>, Error> {
    let ClusterName { namespace, name } = &identity.cluster;
    let Some((address, ca)) = address_and_ca(ctx, identity, cluster).await? else {
        return Ok(None);
    };
    let told = Told {
        name: names::ca_config_map(namespace, name),
        address,
        ca,
    };
    for _ in 1..TRIES {
        match write(ctx, identity, &told).await {
            // Others write it at the same time, so that it is counted anew who owns it.
            Err(Error::Kubernetes { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 409) =>
                {}
            written => return written.map(|()| Some(told)),
        }
    }
    write(ctx, identity, &told).await.map(|()| Some(told))
}

async fn write(ctx: &Context, identity: &Identity, told: &Told) -> Result<(), Error> {
    let Told { name, address, ca } = told;
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let existing = api.get_opt(name).await;
    let existing = existing.map_err(|e| Error::kubernetes("read the ConfigMap with the CA", e))?;
    let written = match plan(existing.as_ref(), identity, address, ca) {
        Step::Keep => return Ok(()),
        Step::Create(config_map) => api.create(&PostParams::default(), &config_map).await,
        Step::Patch(mut patch) => {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let version = existing.and_then(|existing| existing.metadata.resource_version);
            patch["metadata"]["resourceVersion"] = json!(version);
            api.patch(name, &params, &Patch::Strategic(&patch)).await
        }
        Step::Foreign => {
            return Err(Error::NameTaken {
                kind: "ConfigMap",
                name: name.clone(),
                remedy: "delete it: the name is that of the cluster's address and CA",
            });
        }
    };
    let written = written.map(drop);
    written.map_err(|e| Error::kubernetes("write the ConfigMap with the CA", e))
}

/// What clients need to know of a cluster; none while there is no CA. An address elsewhere is given away only if the
/// operator itself may call it.
async fn address_and_ca(
    ctx: &Context,
    identity: &Identity,
    cluster: &VaultCluster,
) -> Result<Option<(String, String)>, Error> {
    let ClusterName { namespace, name } = &identity.cluster;
    if let Some(vault) = &cluster.spec.external {
        let opened = external::open(ctx, namespace, vault).await;
        let Opened {
            client: _,
            address,
            ca,
        } = opened.map_err(|e| Error::Session(Box::new(SessionError::from(e))))?;
        return Ok(Some((address, ca)));
    }
    let ca = tls_store::trusted(ctx, namespace, name).await;
    let ca = ca.map_err(|e| Error::Ca(Box::new(e)))?;
    Ok(ca.map(|ca| (names::address(namespace, name), ca)))
}

#[cfg(test)]
mod tests {
    use super::super::secret::tests::identity;
    use super::*;

    const ADDRESS: &str = "https://main.vault.svc:8200";

    fn created() -> ConfigMap {
        match plan(None, &identity(), ADDRESS, "PEM") {
            Step::Create(config_map) => *config_map,
            other => panic!("expected a creation, got {other:?}"),
        }
    }

    #[test]
    fn the_first_role_creates_it_with_address_and_ca() {
        let config_map = created();
        assert_eq!(
            config_map.metadata.name.as_deref(),
            Some("vaultkeeper.vault.main")
        );
        assert_eq!(config_map.metadata.namespace.as_deref(), Some("shop"));
        let data = config_map.data.unwrap();
        assert_eq!(data["address"], "https://main.vault.svc:8200");
        assert_eq!(data["ca.crt"], "PEM");
    }

    #[test]
    fn at_rest_nothing_is_written() {
        assert_eq!(plan(Some(&created()), &identity(), ADDRESS, "PEM"), Step::Keep);
    }

    #[test]
    fn a_second_role_adds_itself_as_an_owner() {
        let second = Identity {
            name: "job".to_owned(),
            uid: "uid-2".to_owned(),
            ..identity()
        };
        let Step::Patch(patch) = plan(Some(&created()), &second, ADDRESS, "PEM") else {
            panic!("expected a patch")
        };
        assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], "uid-2");
        assert_eq!(
            patch["metadata"]["ownerReferences"].as_array().unwrap().len(),
            1,
            "the merge keeps others"
        );
    }

    #[test]
    fn so_many_own_it_and_no_more_and_each_keeps_it_current() {
        let mut owned = created();
        for number in 1..MAX_OWNERS {
            let other = Identity {
                uid: format!("other-{number}"),
                ..identity()
            };
            owned
                .metadata
                .owner_references
                .get_or_insert_default()
                .push(owner(&other));
        }
        let next = Identity {
            uid: "next".to_owned(),
            ..identity()
        };
        assert_eq!(
            plan(Some(&owned), &next, ADDRESS, "PEM"),
            Step::Keep,
            "there are enough"
        );
        let Step::Patch(patch) = plan(Some(&owned), &next, ADDRESS, "NEW") else {
            panic!("expected a patch")
        };
        assert_eq!(patch["data"]["ca.crt"], "NEW");
        assert!(
            patch["metadata"].is_null(),
            "the owners stay as they are: {patch}"
        );
        owned.metadata.owner_references.as_mut().unwrap().pop();
        let Step::Patch(patch) = plan(Some(&owned), &next, ADDRESS, "PEM") else {
            panic!("expected a patch")
        };
        assert_eq!(
            patch["metadata"]["ownerReferences"][0]["uid"], "next",
            "there is room for one"
        );
    }

    #[test]
    fn a_new_ca_and_an_edited_address_are_written() {
        let Step::Patch(patch) = plan(Some(&created()), &identity(), ADDRESS, "NEW") else {
            panic!("expected a patch")
        };
        assert_eq!(patch["data"]["ca.crt"], "NEW");
        let mut edited = created();
        edited
            .data
            .as_mut()
            .unwrap()
            .insert("address".to_owned(), "https://evil".to_owned());
        assert!(
            matches!(plan(Some(&edited), &identity(), ADDRESS, "PEM"), Step::Patch(_)),
            "the address is put right"
        );
    }

    #[test]
    fn somebody_elses_config_map_is_not_touched() {
        let mut foreign = created();
        foreign.metadata.annotations = None;
        assert_eq!(plan(Some(&foreign), &identity(), ADDRESS, "PEM"), Step::Foreign);
    }
}
