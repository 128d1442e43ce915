//! The seal of a cluster as one checked value. Pure.

use serde::{Deserialize, Serialize};
use vaultkeeper_crds::cluster::{
    AwsKmsSeal, AzureKeyVaultSeal, Distribution, GcpCkmsSeal, OciKmsSeal, Pkcs11Seal, StaticSeal,
    TransitSeal, VaultClusterSpec,
};

use super::{Invalid, invalid};
use crate::cluster::openpgp::PublicKey;

/// How the members are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The operator unseals with stored shares, or people do with theirs.
    Shamir {
        /// The shares.
        split: Split,
        /// Who is to hold them; nobody: the operator.
        custodians: Vec<Custodian>,
    },
    /// The members unseal themselves.
    Auto {
        /// With what.
        by: Box<AutoSeal>,
        /// The recovery keys.
        recovery: Split,
    },
}

/// What unseals the members. Written down under the name that the spec has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoSeal {
    /// Another Vault.
    Transit(TransitSeal),
    /// AWS KMS.
    AwsKms(AwsKmsSeal),
    /// Google Cloud KMS.
    GcpCkms(GcpCkmsSeal),
    /// Azure Key Vault.
    AzureKeyVault(AzureKeyVaultSeal),
    /// OCI KMS.
    OciKms(OciKmsSeal),
    /// A key in a Secret.
    Static(StaticSeal),
    /// A hardware security module.
    Pkcs11(Pkcs11Seal),
}

/// A person who is to hold a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custodian {
    /// Name of the person.
    pub name: String,
    /// What the share is encrypted to.
    pub key: PublicKey,
}

/// Number of shares, and how many of them are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Shares to make.
    pub shares: u8,
    /// Shares that are needed.
    pub threshold: u8,
}

impl Seal {
    /// What unseals the members, if they unseal themselves.
    pub fn auto(&self) -> Option<&AutoSeal> {
        match self {
            Self::Shamir { .. } => None,
            Self::Auto { by, .. } => Some(by.as_ref()),
        }
    }

    /// Who is to hold the shares instead of the operator.
    pub fn custodians(&self) -> &[Custodian] {
        match self {
            Self::Shamir { custodians, .. } => custodians,
            Self::Auto { .. } => &[],
        }
    }
}

impl AutoSeal {
    /// What Vault calls it, as in `sys/seal-status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transit(_) => "transit",
            Self::AwsKms(_) => "awskms",
            Self::GcpCkms(_) => "gcpckms",
            Self::AzureKeyVault(_) => "azurekeyvault",
            Self::OciKms(_) => "ocikms",
            Self::Static(_) => "static",
            Self::Pkcs11(_) => "pkcs11",
        }
    }

    /// The seal in the words of a message: its kind and where its key is.
    pub fn describe(&self) -> String {
        match self {
            Self::Transit(seal) => format!("the transit seal at {}", seal.address),
            Self::AwsKms(seal) => format!("the awskms seal in {}", seal.region),
            Self::GcpCkms(seal) => format!("the gcpckms seal in project {}", seal.project),
            Self::AzureKeyVault(seal) => format!("the azurekeyvault seal in {}", seal.vault_name),
            Self::OciKms(seal) => format!("the ocikms seal at {}", seal.crypto_endpoint),
            Self::Static(seal) => format!("the static seal with key {}", seal.current.id),
            Self::Pkcs11(seal) => format!("the pkcs11 seal with {}", seal.lib),
        }
    }
}

pub(super) fn validate(spec: &VaultClusterSpec) -> Result<Seal, Invalid> {
    let vaultkeeper_crds::cluster::Seal {
        shamir,
        transit,
        awskms,
        gcpckms,
        azurekeyvault,
        ocikms,
        static_,
        pkcs11,
        recovery,
    } = &spec.seal;
    if static_.is_some() && spec.distribution != Distribution::OpenBao {
        return Err(invalid(
            "spec.seal.static",
            "needs distribution OpenBao: Vault has no such seal",
        ));
    }
    if pkcs11.is_some() && spec.distribution == Distribution::Vault && !spec.version.contains(".hsm") {
        return Err(invalid(
            "spec.seal.pkcs11",
            "needs distribution OpenBao or an HSM build of Vault Enterprise: Vault's community edition has no such seal",
        ));
    }
    let mut auto = [
        transit.clone().map(AutoSeal::Transit),
        awskms.clone().map(AutoSeal::AwsKms),
        gcpckms.clone().map(AutoSeal::GcpCkms),
        azurekeyvault.clone().map(AutoSeal::AzureKeyVault),
        ocikms.clone().map(AutoSeal::OciKms),
        static_.clone().map(AutoSeal::Static),
        pkcs11.clone().map(AutoSeal::Pkcs11),
    ]
    .into_iter()
    .flatten();
    match (shamir, auto.next(), auto.next(), recovery) {
        (Some(shamir), None, None, None) => {
            let split = split(
                "spec.seal.shamir.shares",
                "spec.seal.shamir.threshold",
                shamir.shares,
                shamir.threshold,
            )?;
            if !shamir.custodians.is_empty() && spec.storage.ephemeral.is_some() {
                return Err(invalid(
                    CUSTODIANS,
                    "needs storage that lasts: with spec.storage.ephemeral every restart makes a new Vault with new shares",
                ));
            }
            let custodians = custodians(&shamir.custodians, split)?;
            Ok(Seal::Shamir { split, custodians })
        }
        (Some(_), None, None, Some(_)) => Err(invalid(
            "spec.seal.recovery",
            "does not go with shamir, whose shares are the keys: set spec.seal.shamir.shares and threshold",
        )),
        (None, Some(by), None, recovery) => {
            let keys = recovery.clone().unwrap_or_default();
            let recovery = split(
                "spec.seal.recovery.shares",
                "spec.seal.recovery.threshold",
                keys.shares,
                keys.threshold,
            )?;
            Ok(Seal::Auto {
                by: Box::new(by),
                recovery,
            })
        }
        _ => Err(invalid(
            "spec.seal",
            "must name exactly one known kind: shamir, transit, awskms, gcpckms, azurekeyvault, ocikms, static or pkcs11",
        )),
    }
}

const CUSTODIANS: &str = "spec.seal.shamir.custodians";

/// Their keys are read here, once; whether one has expired meanwhile matters only when something is encrypted to it.
fn custodians(
    people: &[vaultkeeper_crds::cluster::Custodian],
    split: Split,
) -> Result<Vec<Custodian>, Invalid> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    if people.len() == 1 {
        return Err(invalid(CUSTODIANS, "must name at least two"));
    }
    if people.len() != usize::from(split.shares) {
        return Err(invalid(
            CUSTODIANS,
            format!(
                "must be as many as spec.seal.shamir.shares, which is {}",
                split.shares
            ),
        ));
    }
    let mut known: Vec<Custodian> = Vec::new();
    for vaultkeeper_crds::cluster::Custodian { name, pgp_key } in people {
        let key = PublicKey::read(pgp_key)
            .map_err(|problem| invalid(CUSTODIANS, format!("the pgpKey of {name}: {problem}")))?;
        for other in &known {
            if other.name == *name {
                return Err(invalid(CUSTODIANS, format!("{name} is named twice")));
            }
            if other.key.fingerprint == key.fingerprint {
                return Err(invalid(
                    CUSTODIANS,
                    format!(
                        "{name} and {} have the same pgpKey: its owner would hold two shares",
                        other.name
                    ),
                ));
            }
        }
        known.push(Custodian {
            name: name.clone(),
            key,
        });
    }
    Ok(known)
}

fn split(
    shares_field: &'static str,
    threshold_field: &'static str,
    shares: i32,
    threshold: i32,
) -> Result<Split, Invalid> {
    let positive = |field, number: i32| {
        u8::try_from(number)
            .ok()
            .filter(|n| *n >= 1)
            .ok_or_else(|| invalid(field, "must be between 1 and 255"))
    };
    let shares = positive(shares_field, shares)?;
    let threshold = positive(threshold_field, threshold)?;
    if threshold > shares {
        return Err(invalid(
            threshold_field,
            "must not be larger than shares: nobody could use them",
        ));
    }
    if shares > 1 && threshold < 2 {
        return Err(invalid(
            threshold_field,
            "must be at least 2 when there are several shares",
        ));
    }
    Ok(Split { shares, threshold })
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::super::validate;
    use super::*;

    const ALICE: &str = include_str!("../openpgp/keys/alice.asc");
    const BOB: &str = include_str!("../openpgp/keys/bob.asc");

    /// A spec with these names and keys.
    fn seal(shares: i32, people: &[(&str, &str)]) -> Result<Seal, Invalid> {
        let mut object = cluster("");
        let people = people
            .iter()
            .map(|(name, key)| vaultkeeper_crds::cluster::Custodian {
                name: (*name).to_owned(),
                pgp_key: (*key).to_owned(),
            });
        let shamir = vaultkeeper_crds::cluster::ShamirSeal {
            shares,
            threshold: 2,
            custodians: people.collect(),
        };
        object.spec.seal.shamir = Some(shamir);
        validate(&object).map(|v| v.seal)
    }

    #[test]
    fn custodians_that_cannot_work_are_refused_by_name() {
        let good = seal(2, &[("alice", ALICE), ("bob", BOB)]).unwrap();
        let names: Vec<&str> = good.custodians().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["alice", "bob"]);
        let problem = |shares, people: &[(&str, &str)]| seal(shares, people).unwrap_err().to_string();
        for (said, wanted) in [
            (problem(3, &[("alice", ALICE), ("bob", BOB)]), "as many as"),
            (
                problem(2, &[("alice", ALICE), ("alice", BOB)]),
                "alice is named twice",
            ),
            (
                problem(2, &[("alice", ALICE), ("bob", ALICE)]),
                "bob and alice have the same pgpKey",
            ),
            (
                problem(2, &[("alice", ALICE), ("bob", "nonsense")]),
                "the pgpKey of bob: it is no public PGP key",
            ),
        ] {
            assert!(said.contains(wanted), "{wanted:?} should be in: {said}");
        }
    }

    #[test]
    fn the_example_with_custodians_can_work() {
        let text = include_str!("../../../../examples/seal-shamir-custodians.yaml");
        let mut object: vaultkeeper_crds::VaultCluster = serde_yaml::from_str(text).unwrap();
        object.metadata.uid = Some("u".to_owned());
        let seal = validate(&object).unwrap().seal;
        assert_eq!(seal.custodians().len(), 3);
        assert!(seal.custodians().iter().all(|c| c.key.expires.is_none()));
    }
}
