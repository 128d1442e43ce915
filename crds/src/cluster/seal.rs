//! How Vault is sealed.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

mod cloud;
mod custodian;
mod keys;
mod transit;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use cloud::{AwsKmsSeal, AzureKeyVaultSeal, GcpCkmsSeal, OciKmsSeal};
pub use custodian::Custodian;
pub use keys::{Pkcs11Seal, StaticKey, StaticSeal};
pub use transit::TransitSeal;

/// How Vault is sealed: exactly one kind. With every kind but shamir the members unseal themselves, and the operator
/// keeps recovery keys instead of unseal shares. Of Vault, a change between shamir and a key management service is carried
/// out as a seal migration: the members are restarted one by one, and the stored keys stay the same ones.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.shamir), has(self.transit), has(self.awskms), has(self.gcpckms), has(self.azurekeyvault), has(self.ocikms), has(self.static), has(self.pkcs11)].filter(b, b).size() == 1")
        .message("spec.seal must name exactly one known kind: shamir, transit, awskms, gcpckms, azurekeyvault, ocikms, static or pkcs11"),
    validation = Rule::new("!(has(self.shamir) && has(self.recovery))")
        .message("spec.seal.recovery does not go with shamir, whose shares are the keys: set spec.seal.shamir.shares and threshold"),
    validation = Rule::new("has(self.recovery) == has(oldSelf.recovery) || has(self.shamir) != has(oldSelf.shamir)")
        .message("spec.seal.recovery cannot be changed after creation: that takes a rekey of the recovery keys"),
    validation = Rule::new("has(self.shamir) != has(oldSelf.shamir) || has(self.transit) == has(oldSelf.transit) && has(self.awskms) == has(oldSelf.awskms) && has(self.gcpckms) == has(oldSelf.gcpckms) && has(self.azurekeyvault) == has(oldSelf.azurekeyvault) && has(self.ocikms) == has(oldSelf.ocikms) && has(self.static) == has(oldSelf.static)")
        .message("spec.seal cannot be changed from one kind to another at once: change it to shamir first, and when the condition SealMigrated says that this is done, to the other"),
    validation = Rule::new("has(self.shamir) == has(oldSelf.shamir) || !has(self.pkcs11) && !has(oldSelf.pkcs11)")
        .message("spec.seal cannot be changed between shamir and pkcs11: create a new VaultCluster and restore a snapshot"),
    validation = Rule::new("has(self.shamir) == has(oldSelf.shamir) || (!has(self.shamir) || size(self.shamir.custodians) == 0) && (!has(oldSelf.shamir) || size(oldSelf.shamir.custodians) == 0)")
        .message("spec.seal cannot be changed between custodians and a kind that unseals by itself: the operator has no keys of theirs to migrate with. From another kind it goes by way of shamir without custodians"),
    validation = Rule::new("has(self.shamir) == has(oldSelf.shamir) || has(self.shamir) || (has(self.recovery) ? self.recovery.shares == oldSelf.shamir.shares && self.recovery.threshold == oldSelf.shamir.threshold : oldSelf.shamir.shares == 5 && oldSelf.shamir.threshold == 3)")
        .message("spec.seal.recovery must have the numbers of the former spec.seal.shamir (5 and 3 where it is left out): the unseal shares become the recovery keys"),
    validation = Rule::new("has(self.shamir) == has(oldSelf.shamir) || has(oldSelf.shamir) || (has(oldSelf.recovery) ? self.shamir.shares == oldSelf.recovery.shares && self.shamir.threshold == oldSelf.recovery.threshold : self.shamir.shares == 5 && self.shamir.threshold == 3)")
        .message("spec.seal.shamir must have the numbers of the former spec.seal.recovery (5 and 3 where it was left out): the recovery keys become the unseal shares"),
)]
pub struct Seal {
    /// Key shares after Shamir. The operator keeps them in a Secret in its own namespace and unseals with them, unless
    /// custodians hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shamir: Option<ShamirSeal>,

    /// The transit secrets engine of another Vault or OpenBao unseals the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit: Option<TransitSeal>,

    /// A key in AWS KMS unseals the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awskms: Option<AwsKmsSeal>,

    /// A key in Google Cloud KMS unseals the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcpckms: Option<GcpCkmsSeal>,

    /// A key in Azure Key Vault unseals the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azurekeyvault: Option<AzureKeyVaultSeal>,

    /// A key in OCI KMS unseals the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocikms: Option<OciKmsSeal>,

    /// A key in a Secret unseals the members: whoever reads that Secret and a volume reads the data. OpenBao only.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "static")]
    pub static_: Option<StaticSeal>,

    /// A hardware security module unseals the members. OpenBao, or an HSM build of Vault Enterprise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkcs11: Option<Pkcs11Seal>,

    /// The recovery keys of a cluster whose members unseal themselves: every kind but shamir. Default: 5 keys, 3 of which
    /// are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryKeys>,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            shamir: Some(ShamirSeal::default()),
            transit: None,
            awskms: None,
            gcpckms: None,
            azurekeyvault: None,
            ocikms: None,
            static_: None,
            pkcs11: None,
            recovery: None,
        }
    }
}

/// Key shares after Shamir.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.threshold <= self.shares")
        .message("spec.seal.shamir.threshold must not be larger than spec.seal.shamir.shares: nobody could unseal"),
    validation = Rule::new("self.shares == 1 || self.threshold >= 2")
        .message("spec.seal.shamir.threshold must be at least 2 when there are several shares: Vault refuses 1"),
    validation = Rule::new("size(self.custodians) == 0 || size(self.custodians) == self.shares")
        .message("spec.seal.shamir.shares must be the number of custodians: each of them holds one share"),
    validation = Rule::new("size(self.custodians) != 1")
        .message("spec.seal.shamir.custodians must name at least two: a single one who is away or has lost the key would close this Vault for ever"),
    validation = Rule::new("oldSelf == self || size(self.custodians) > 0")
        .message("spec.seal.shamir cannot be changed after creation: that takes a rekey. Custodians may be added, with shares and threshold to match, and corrected until they hold the shares; they cannot be taken away"),
)]
pub struct ShamirSeal {
    /// Number of key shares, 1 to 255.
    #[serde(default = "default_shares")]
    #[schemars(range(min = 1, max = 255))]
    pub shares: i32,

    /// How many shares unseal a member.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 255))]
    pub threshold: i32,

    /// The people who hold the shares, one each, encrypted to their PGP keys. Once the cluster is set up the operator makes
    /// the shares anew for them, delivers them encrypted in the Secret `<cluster>-custodians`, and keeps none that it
    /// could use: from then on a restarted member stays sealed until `threshold` of these people unseal it.
    /// Default: none, and the operator keeps the shares.
    #[serde(default)]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub custodians: Vec<Custodian>,
}

impl Default for ShamirSeal {
    fn default() -> Self {
        Self {
            shares: default_shares(),
            threshold: default_threshold(),
            custodians: Vec::new(),
        }
    }
}

/// The recovery keys of a cluster whose members unseal themselves. They authorise what unseal shares do elsewhere
/// (a root token, a rekey), and the operator keeps them as it keeps shares: custodians are for `shamir` only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.threshold <= self.shares")
        .message("spec.seal.recovery.threshold must not be larger than spec.seal.recovery.shares: nobody could use them"),
    validation = Rule::new("self.shares == 1 || self.threshold >= 2")
        .message("spec.seal.recovery.threshold must be at least 2 when there are several shares: Vault refuses 1"),
    validation = Rule::new("oldSelf == self").message("spec.seal.recovery cannot be changed after creation: that takes a rekey of the recovery keys"),
)]
pub struct RecoveryKeys {
    /// Number of recovery keys, 1 to 255.
    #[serde(default = "default_shares")]
    #[schemars(range(min = 1, max = 255))]
    pub shares: i32,

    /// How many of them are needed.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 255))]
    pub threshold: i32,
}

impl Default for RecoveryKeys {
    fn default() -> Self {
        Self {
            shares: default_shares(),
            threshold: default_threshold(),
        }
    }
}

fn default_shares() -> i32 {
    5
}

fn default_threshold() -> i32 {
    3
}
