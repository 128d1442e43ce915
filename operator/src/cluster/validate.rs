//! Turns a spec into checked values, once. Pure.
//!
//! The API server checks the same rules at admission; they are repeated here because a CRD of another
//! version may have let the object in.

use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{
    Configuration, DeletionPolicy, Distribution, Profile, RaftStorage, ShamirSeal,
};

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
    /// Image of the server.
    pub image: String,
    /// Number of members.
    pub replicas: u32,
    /// Profile.
    pub profile: Profile,
    /// What becomes of the volumes.
    pub deletion_policy: DeletionPolicy,
    /// Integrated storage.
    pub raft: RaftStorage,
    /// Key shares.
    pub shamir: Shamir,
    /// Further DNS names of the certificate.
    pub extra_dns_names: Vec<String>,
    /// Vault's own objects.
    pub configuration: Configuration,
    /// CPU and memory of the server.
    pub resources: Option<k8s_openapi::api::core::v1::ResourceRequirements>,
}

/// Number of shares and threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shamir {
    /// Shares to make.
    pub shares: u8,
    /// Shares that unseal.
    pub threshold: u8,
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
    let replicas = u32::try_from(spec.replicas).ok().filter(|n| (1..=7).contains(n));
    let replicas = replicas.ok_or_else(|| invalid("spec.replicas", "must be 1, 3, 5 or 7"))?;
    if replicas % 2 == 0 {
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
    let raft = spec.storage.raft.clone();
    let raft = raft.ok_or_else(|| invalid("spec.storage", "must name one known backend: raft"))?;
    let shamir = spec.seal.shamir.as_ref();
    let shamir = shamir.ok_or_else(|| invalid("spec.seal", "must name one known kind: shamir"))?;
    if spec.tls.managed.is_none() {
        return Err(invalid("spec.tls", "must name one known source: managed"));
    }
    Ok(Validated {
        namespace,
        name,
        uid,
        generation: meta.generation.unwrap_or_default(),
        distribution: spec.distribution,
        image: spec
            .image
            .clone()
            .unwrap_or_else(|| default_image(spec.distribution, &spec.version)),
        replicas,
        profile: spec.profile,
        deletion_policy: spec.deletion_policy,
        raft,
        shamir: validate_shamir(shamir)?,
        extra_dns_names: spec
            .tls
            .managed
            .as_ref()
            .map(|m| m.extra_dns_names.clone())
            .unwrap_or_default(),
        configuration: spec.configuration.clone(),
        resources: spec.pod.resources.clone(),
    })
}

fn validate_shamir(seal: &ShamirSeal) -> Result<Shamir, Invalid> {
    let shares = u8::try_from(seal.shares).ok().filter(|n| *n >= 1);
    let shares = shares.ok_or_else(|| invalid("spec.seal.shamir.shares", "must be between 1 and 255"))?;
    let threshold = u8::try_from(seal.threshold).ok().filter(|n| *n >= 1);
    let threshold =
        threshold.ok_or_else(|| invalid("spec.seal.shamir.threshold", "must be between 1 and 255"))?;
    if threshold > shares {
        return Err(invalid(
            "spec.seal.shamir.threshold",
            "must not be larger than shares: nobody could unseal",
        ));
    }
    if shares > 1 && threshold < 2 {
        return Err(invalid(
            "spec.seal.shamir.threshold",
            "must be at least 2 when there are several shares",
        ));
    }
    Ok(Shamir { shares, threshold })
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
        assert_eq!(
            v.shamir,
            Shamir {
                shares: 5,
                threshold: 3
            }
        );
        assert_eq!(v.raft.size, "10Gi");
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
        assert_eq!(problem("  tls: {}"), "spec.tls");
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
}
