//! The seal of a cluster as one checked value. Pure.

use vaultkeeper_crds::cluster::{
    AwsKmsSeal, AzureKeyVaultSeal, Distribution, GcpCkmsSeal, OciKmsSeal, Pkcs11Seal, StaticSeal,
    TransitSeal, VaultClusterSpec,
};

use super::{Invalid, invalid};

/// How the members are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The operator unseals with stored shares.
    Shamir(Split),
    /// The members unseal themselves.
    Auto {
        /// With what.
        by: Box<AutoSeal>,
        /// The recovery keys.
        recovery: Split,
    },
}

/// What unseals the members.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            Self::Shamir(_) => None,
            Self::Auto { by, .. } => Some(by.as_ref()),
        }
    }
}

impl AutoSeal {
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
        (Some(shamir), None, None, None) => Ok(Seal::Shamir(split(
            "spec.seal.shamir.shares",
            "spec.seal.shamir.threshold",
            shamir.shares,
            shamir.threshold,
        )?)),
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
