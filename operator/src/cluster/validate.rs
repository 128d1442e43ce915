//! Turns a spec into checked values, once. Pure.
//!
//! The API server checks the same rules at admission; they are repeated here because a CRD of another
//! version may have let the object in.

mod audit;
mod monitoring;
mod seal;
mod storage;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use vaultkeeper_crds::cluster::{
    AuditVolume, Configuration, DeletionPolicy, Distribution, NetworkPolicySettings, PodSettings, Profile,
};
use vaultkeeper_crds::{VaultCluster, annotations};

use super::build::egress::{self, Port};
use super::configure;

pub use audit::Rotated;
pub use monitoring::{Alerts, Monitoring};
pub use seal::{AutoSeal, Custodian, Seal, Split};
pub use storage::Storage;
pub use tls::{CertificateSource, Tls};

/// A VaultCluster whose spec can work.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// Product.
    pub distribution: Distribution,
    /// Its version, as the spec says.
    pub version: String,
    /// Value of the annotation whose change restarts the members.
    pub restart: Option<String>,
    /// Image of the server.
    pub image: String,
    /// Number of members.
    pub replicas: u32,
    /// Profile.
    pub profile: Profile,
    /// What becomes of the volumes.
    pub deletion_policy: DeletionPolicy,
    /// Where the data lies.
    pub storage: Storage,
    /// The members' volumes for audit logs.
    pub audit_volume: Option<AuditVolume>,
    /// How the files on them are rotated, by name, also those of a configuration that is refused.
    pub rotated: BTreeMap<String, Rotated>,
    /// How the members are sealed.
    pub seal: Seal,
    /// The seal that the data is still under, while it is brought to unseal shares. The members need it until then.
    pub former: Option<Box<AutoSeal>>,
    /// Mark of the pod template for the state of a seal migration.
    pub seal_mark: Option<String>,
    /// Where the members' certificate comes from.
    pub tls: Tls,
    /// Vault's own objects, or why they are refused: nothing is made of unchecked ones.
    pub configuration: Result<Configuration, Invalid>,
    /// Settings of the members' pods.
    pub pod: PodSettings,
    /// Who may reach the members.
    pub network_policy: NetworkPolicySettings,
    /// How Prometheus watches the members. None: it does not.
    pub monitoring: Option<Monitoring>,
    /// Namespaces whose pods are clients: those that may have VaultRoles.
    pub client_namespaces: BTreeSet<String>,
    /// Whether standbys of OpenBao answer reads from their own copy.
    pub standby_reads: bool,
    /// Further settings of the server.
    pub server_config: serde_json::Map<String, serde_json::Value>,
    /// Why the spec is refused: only namespace, name, UID, the number of members and the source of their certificate are
    /// of this cluster then, and it is merely held, see [`held`].
    pub refused: Option<Invalid>,
    /// Ports of the addresses in spec.configuration, also in one that is refused.
    pub declared_ports: BTreeSet<Port>,
}

impl Validated {
    /// The seal in the members' configuration, in force or disabled.
    pub fn auto_seal(&self) -> Option<&AutoSeal> {
        self.seal.auto().or(self.former.as_deref())
    }

    /// Why the spec, or a part of it, is refused.
    pub fn refusal(&self) -> Option<&Invalid> {
        self.refused.as_ref().or(self.configuration.as_ref().err())
    }

    /// Why its Kubernetes objects cannot be built and are to stay as they are. OpenBao's configuration file names the
    /// audit devices.
    pub fn unbuildable(&self) -> Option<&Invalid> {
        match self.distribution {
            Distribution::OpenBao => self.refusal(),
            Distribution::Vault => self.refused.as_ref(),
        }
    }
}

/// Why a spec cannot work: the field and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub problem: String,
}

fn invalid(field: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid {
        field,
        problem: problem.into(),
    }
}

/// Checks a spec.
pub fn validate(cluster: &VaultCluster) -> Result<Validated, Invalid> {
    let validated = examine(cluster)?;
    match validated.configuration {
        Ok(_) => Ok(validated),
        Err(invalid) => Err(invalid),
    }
}

/// What is left of a cluster whose spec is refused: enough to look at its members, to label and to unseal them. None
/// without an identity. Its seal and storage are not those of the cluster, and nothing may be built of them.
pub fn held(cluster: &VaultCluster, invalid: Invalid) -> Option<Validated> {
    let meta = &cluster.metadata;
    let spec = &cluster.spec;
    Some(Validated {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        generation: meta.generation.unwrap_or_default(),
        distribution: spec.distribution,
        image: String::new(),
        version: spec.version.clone(),
        restart: None,
        replicas: u32::try_from(spec.replicas.clamp(1, MOST_MEMBERS)).unwrap_or(1),
        profile: spec.profile,
        deletion_policy: spec.deletion_policy,
        storage: storage::named(spec),
        audit_volume: spec.audit_volume.clone(),
        rotated: BTreeMap::new(),
        seal: seal::validate(spec).unwrap_or(Seal::Shamir {
            split: Split {
                shares: 1,
                threshold: 1,
            },
            custodians: Vec::new(),
        }),
        former: None,
        seal_mark: None,
        tls: tls::validate(&spec.tls).unwrap_or_else(|_| Tls::of_nobody()),
        configuration: Err(invalid.clone()),
        pod: PodSettings::default(),
        network_policy: NetworkPolicySettings::default(),
        monitoring: None,
        client_namespaces: BTreeSet::new(),
        standby_reads: false,
        server_config: serde_json::Map::new(),
        refused: Some(invalid),
        declared_ports: BTreeSet::new(),
    })
}

/// The largest number of members.
pub(crate) const MOST_MEMBERS: i32 = 7;

/// Checks a spec; a configuration that is refused stands in its place.
pub fn examine(cluster: &VaultCluster) -> Result<Validated, Invalid> {
    let meta = &cluster.metadata;
    let missing = |field| invalid(field, "is missing: the object was not read from an API server");
    let namespace = meta
        .namespace
        .clone()
        .ok_or_else(|| missing("metadata.namespace"))?;
    let name = meta.name.clone().ok_or_else(|| missing("metadata.name"))?;
    let uid = meta.uid.clone().ok_or_else(|| missing("metadata.uid"))?;
    if name.contains('.') || name.len() > 40 {
        return Err(invalid(
            "metadata.name",
            "must be a DNS label of at most 40 characters: choose another name",
        ));
    }
    let spec = &cluster.spec;
    let replicas = u32::try_from(spec.replicas)
        .ok()
        .filter(|n| (1..=MOST_MEMBERS.unsigned_abs()).contains(n));
    let replicas = replicas.ok_or_else(|| invalid("spec.replicas", "must be 1, 3, 5 or 7"))?;
    if replicas % 2 == 0 && spec.storage.raft.is_some() {
        return Err(invalid(
            "spec.replicas",
            "must be odd: an even number of Raft voters tolerates no more failures than one fewer",
        ));
    }
    if spec.profile == Profile::Hardened && replicas < 3 {
        return Err(invalid(
            "spec.replicas",
            "must be at least 3 in profile Hardened: set 3, or profile: Development",
        ));
    }
    let storage = storage::validate(spec)?;
    let seal = seal::validate(spec)?;
    let tls = tls::validate(&spec.tls)?;
    let audit_volume = audit::volume(spec)?;
    audit::syslog_socket(spec)?;
    let places = configure::check::Places {
        volume: audit_volume.as_ref(),
        has_syslog: spec.pod.syslog_socket.is_some(),
    };
    let checked = configure::check::check(&spec.configuration, spec.distribution, &spec.version, places);
    Ok(Validated {
        namespace,
        name,
        uid,
        generation: meta.generation.unwrap_or_default(),
        distribution: spec.distribution,
        version: spec.version.clone(),
        restart: meta
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotations::RESTART).cloned()),
        image: spec
            .image
            .clone()
            .unwrap_or_else(|| default_image(spec.distribution, &spec.version)),
        replicas,
        profile: spec.profile,
        deletion_policy: spec.deletion_policy,
        storage,
        audit_volume,
        rotated: audit::rotated(&spec.configuration),
        seal,
        former: None,
        seal_mark: None,
        tls,
        configuration: match checked {
            Ok(()) => Ok(spec.configuration.clone()),
            Err(problem) => Err(invalid("spec.configuration", problem)),
        },
        pod: spec.pod.clone(),
        network_policy: spec.network_policy.clone(),
        monitoring: monitoring::validate(&spec.monitoring)?,
        client_namespaces: spec
            .access
            .iter()
            .flat_map(|a| a.namespaces.iter().cloned())
            .collect(),
        standby_reads: spec.standby_reads,
        server_config: spec.server_config.clone(),
        refused: None,
        declared_ports: egress::of_configuration(&spec.configuration),
    })
}

fn default_image(distribution: Distribution, version: &str) -> String {
    match distribution {
        Distribution::Vault => format!("hashicorp/vault:{version}"),
        Distribution::OpenBao => format!("openbao/openbao:{version}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn cluster(extra: &str) -> VaultCluster {
        let text = format!(
            "apiVersion: vaultkeeper.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: main, namespace: vault, uid: u-1, generation: 4}}\nspec:\n  version: 1.21.1\n  storage: {{raft: {{}}}}\n{extra}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn problem(extra: &str) -> &'static str {
        validate(&cluster(extra))
            .expect_err("the spec must be refused")
            .field
    }

    #[test]
    fn a_minimal_spec_gets_the_documented_defaults() {
        let v = validate(&cluster("")).unwrap();
        assert_eq!((v.replicas, v.image.as_str()), (3, "hashicorp/vault:1.21.1"));
        let split = Split {
            shares: 5,
            threshold: 3,
        };
        let custodians = Vec::new();
        assert_eq!(v.seal, Seal::Shamir { split, custodians });
        assert!(matches!(v.storage, Storage::Raft(raft) if raft.size == "10Gi"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field() {
        assert_eq!(problem("  replicas: 2"), "spec.replicas");
        assert_eq!(problem("  replicas: 1"), "spec.replicas");
        assert_eq!(
            problem("  seal: {shamir: {shares: 3, threshold: 4}}"),
            "spec.seal.shamir.threshold"
        );
        assert_eq!(
            problem("  seal: {shamir: {shares: 3, threshold: 1}}"),
            "spec.seal.shamir.threshold"
        );
        assert_eq!(problem("  seal: {}"), "spec.seal");
        let shamir_and_more = "  seal: {shamir: {shares: 3, threshold: 2}, awskms: {region: r, kmsKeyId: k}}";
        assert_eq!(problem(shamir_and_more), "spec.seal");
        assert_eq!(
            problem("  seal: {shamir: {shares: 3, threshold: 2}, recovery: {}}"),
            "spec.seal.recovery"
        );
        assert_eq!(
            problem("  seal: {awskms: {region: r, kmsKeyId: k}, recovery: {shares: 2, threshold: 3}}"),
            "spec.seal.recovery.threshold"
        );
        assert_eq!(
            problem("  seal: {static: {current: {id: a, secret: {name: n, key: k}}}}"),
            "spec.seal.static"
        );
        let hsm = "  seal: {pkcs11: {lib: /l, slot: '0', pinSecret: {name: n, key: k}, keyLabel: l}}";
        assert_eq!(problem(hsm), "spec.seal.pkcs11");
        assert_eq!(problem("  tls: {}"), "spec.tls");
    }

    /// The storage of the fixture is replaced.
    fn stored(storage: &str, extra: &str) -> Result<Validated, Invalid> {
        let mut object = cluster(extra);
        object.spec.storage = serde_yaml::from_str(storage).unwrap();
        validate(&object)
    }

    #[test]
    fn each_storage_is_taken_where_it_can_work() {
        let refused = |storage, extra| stored(storage, extra).expect_err("must be refused").field;
        assert_eq!(refused("{raft: {}, ephemeral: {}}", ""), "spec.storage");
        assert_eq!(refused("{}", ""), "spec.storage");
        assert_eq!(
            refused("{ephemeral: {}}", "  replicas: 3"),
            "spec.storage.ephemeral"
        );
        assert_eq!(
            refused("{ephemeral: {}}", "  replicas: 3\n  profile: Development"),
            "spec.replicas"
        );
        let ephemeral = stored("{ephemeral: {}}", "  replicas: 1\n  profile: Development");
        assert_eq!(ephemeral.unwrap().storage, Storage::Ephemeral);
        assert_eq!(
            refused("{consul: {address: 'http://c:8500'}}", ""),
            "spec.storage.consul.address"
        );
        assert_eq!(
            refused("{consul: {address: 'https://c:8501'}}", "  distribution: OpenBao"),
            "spec.storage.consul"
        );
        let consul = stored("{consul: {address: 'https://c:8501'}}", "  replicas: 4").unwrap();
        assert!(
            matches!(consul.storage, Storage::Consul(c) if c.path == "vault/" && c.service_registration.enabled),
            "with its defaults, and without the rule on the number of Raft voters"
        );
    }

    #[test]
    fn a_single_member_is_allowed_in_profile_development() {
        assert_eq!(
            validate(&cluster("  replicas: 1\n  profile: Development"))
                .unwrap()
                .replicas,
            1
        );
    }

    const ROOT_USER: &str = "  configuration: {authMethods: [{path: people, type: userpass, userpass: {users: [{name: ana, password: {name: a, key: b}, token: {policies: [Root]}}]}}]}";

    #[test]
    fn a_refused_configuration_leaves_the_rest_of_the_spec_in_force() {
        assert_eq!(problem(ROOT_USER), "spec.configuration");
        let examined = examine(&cluster(ROOT_USER)).unwrap();
        assert!(examined.configuration.is_err(), "nobody may build on it");
        assert_eq!(
            examined.refusal().map(|invalid| invalid.field),
            Some("spec.configuration")
        );
        assert_eq!(examined.unbuildable(), None, "Vault's file holds nothing of it");
        let bao = examine(&cluster(&format!("  distribution: OpenBao\n{ROOT_USER}"))).unwrap();
        assert!(
            bao.unbuildable().is_some(),
            "OpenBao's file names the audit devices: the one that was applied stays"
        );
    }

    #[test]
    fn of_a_refused_spec_the_members_are_known_all_the_same() {
        for (extra, replicas) in [("  replicas: 2", 2), ("  replicas: 99", 7), ("  seal: {}", 3)] {
            let object = cluster(extra);
            let invalid = validate(&object).unwrap_err();
            let held = held(&object, invalid.clone()).unwrap();
            assert_eq!((held.name.as_str(), held.replicas), ("main", replicas), "{extra}");
            assert_eq!(held.unbuildable(), Some(&invalid), "{extra}: nothing is applied");
            assert!(held.configuration.is_err(), "{extra}: nothing is configured");
        }
    }
}
