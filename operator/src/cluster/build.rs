//! The Kubernetes objects of a cluster. Pure: one function per object.

pub mod alerts;
mod audit;
pub mod config;
pub mod credentials;
pub mod egress;
mod hcl;
pub mod monitoring;
mod network_policy;
mod placement;
mod rbac;
mod reload;
mod seal;
pub mod server_config;
mod services;
mod statefulset;
mod storage;
mod template;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_vault::ExposeSecret;

use super::tls::Issued;
use super::validate::Validated;
use crate::context::HelperImage;

pub(crate) use audit::FOLDER as AUDIT_FOLDER;
pub(crate) use network_policy::network_policy;
pub use rbac::reviewer_binding_name;
pub use statefulset::{CONTAINER, volume_claim};
pub(crate) use statefulset::{claim_templates, mounted_certificate, over, volume_claim_of};

/// Everything that is applied for a cluster. A new field that is not applied does not compile.
pub struct Objects {
    /// Identity of the members' pods.
    pub service_account: ServiceAccount,
    /// Lets Vault review ServiceAccount tokens.
    pub reviewer: ClusterRoleBinding,
    /// Certificate of the members. None: somebody else makes it.
    pub tls: Option<Secret>,
    /// Configuration of the server.
    pub config: ConfigMap,
    /// Stable names of the members.
    pub headless: Service,
    /// Address for clients.
    pub client: Service,
    /// Address of the active member.
    pub active: Service,
    /// Address of the standbys.
    pub standby: Service,
    /// Keeps a drain from taking quorum.
    pub disruption_budget: PodDisruptionBudget,
    /// Isolates the members. None: there is to be none.
    pub network_policy: Option<NetworkPolicy>,
    /// The members.
    pub stateful_set: StatefulSet,
}

/// What the members' Secret is made of, where it is ours.
#[derive(Clone, Copy)]
pub struct Certificate<'a> {
    /// Certificate and key.
    pub leaf: &'a Issued,
    /// The CAs that members and clients trust, in PEM.
    pub trust: &'a str,
}

/// What the objects depend on beside the VaultCluster.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The operator's namespace.
    pub operator_namespace: &'a str,
    /// Image of the helper in the members' pods.
    pub helper: &'a HelperImage,
    /// Whether a member was sealed on purpose, which is not released yet.
    pub sealed_on_purpose: bool,
}

/// Builds all objects.
///
/// # Errors
/// When `spec.serverConfig` holds a setting that is not the user's.
pub fn build(
    cluster: &Validated,
    certificate: Option<Certificate<'_>>,
    around: Around<'_>,
) -> Result<Objects, server_config::Refused> {
    let mut stateful_set = statefulset::stateful_set(cluster, around.helper);
    template::mark(&mut stateful_set, cluster)?;
    Ok(Objects {
        service_account: service_account(cluster),
        reviewer: rbac::reviewer(cluster),
        tls: certificate.map(|certificate| tls_secret(cluster, certificate)),
        config: config_map(cluster)?,
        headless: services::headless(cluster),
        client: services::client(cluster),
        active: services::active(cluster),
        standby: services::standby(cluster),
        disruption_budget: services::disruption_budget(cluster, around.sealed_on_purpose),
        network_policy: network_policy(cluster, around.operator_namespace),
        stateful_set,
    })
}

/// Labels that select the members' pods. They are immutable in a StatefulSet: no versions here.
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "vault".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), name.to_owned()),
        (annotations::CLUSTER.to_owned(), name.to_owned()),
    ])
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(name);
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        annotations::FIELD_MANAGER.to_owned(),
    );
    labels
}

/// Reference that makes the garbage collector remove an object with its VaultCluster.
pub fn owner(cluster: &Validated) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", vaultkeeper_crds::GROUP, vaultkeeper_crds::VERSION),
        kind: "VaultCluster".to_owned(),
        name: cluster.name.clone(),
        uid: cluster.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Name, labels and owner of an object in the cluster's namespace.
pub(super) fn metadata(cluster: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(labels(&cluster.name)),
        owner_references: Some(vec![owner(cluster)]),
        ..ObjectMeta::default()
    }
}

/// The members' certificate.
pub(super) fn tls_secret(cluster: &Validated, certificate: Certificate<'_>) -> Secret {
    let Certificate { leaf, trust } = certificate;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: metadata(cluster, names::tls_secret(&cluster.name)),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            ("tls.crt".to_owned(), bytes(&leaf.certificate)),
            ("tls.key".to_owned(), bytes(leaf.key.expose_secret())),
            (names::CA_KEY.to_owned(), bytes(trust)),
        ])),
        ..Secret::default()
    }
}

/// The shares of the custodians, each a PGP message under its custodian's name.
pub fn custodian_secret(cluster: &Validated, encrypted: &BTreeMap<String, Vec<u8>>) -> Secret {
    let share = |(name, message): (&String, &Vec<u8>)| (name.clone(), ByteString(message.clone()));
    Secret {
        metadata: metadata(cluster, names::custodian_secret(&cluster.name)),
        type_: Some("Opaque".to_owned()),
        data: Some(encrypted.iter().map(share).collect()),
        ..Secret::default()
    }
}

/// Identity of the members' pods.
fn service_account(cluster: &Validated) -> ServiceAccount {
    let annotations = &cluster.pod.service_account.annotations;
    let mut metadata = metadata(cluster, cluster.name.clone());
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    ServiceAccount {
        metadata,
        ..ServiceAccount::default()
    }
}

/// The whole configuration of the server.
fn server_text(cluster: &Validated) -> Result<String, server_config::Refused> {
    server_config::merge(&config::render(cluster), &cluster.server_config)
}

/// Name of the ConfigMap with the server's configuration. Each state of a seal migration has one of its own: a member that
/// was not restarted for it keeps the seal that it knows, also when its process dies meanwhile.
fn config_name(cluster: &Validated) -> String {
    let name = format!("{}-config", cluster.name);
    match &cluster.seal_mark {
        None => name,
        Some(mark) => format!("{name}-{mark}"),
    }
}

fn config_map(cluster: &Validated) -> Result<ConfigMap, server_config::Refused> {
    let text = server_text(cluster)?;
    let mut data = BTreeMap::from([(config::FILE.to_owned(), text)]);
    data.extend(audit::rotation(cluster).map(|text| (audit::ROTATION.to_owned(), text)));
    Ok(ConfigMap {
        metadata: metadata(cluster, config_name(cluster)),
        data: Some(data),
        ..ConfigMap::default()
    })
}
