//! The storage of a cluster as one checked value. Pure.

use vaultkeeper_crds::cluster::{ConsulStorage, Distribution, Profile, RaftStorage, VaultClusterSpec};
use vaultkeeper_crds::size;

use super::{Invalid, invalid};

/// Where the data lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// On a volume of each member.
    Raft(RaftStorage),
    /// In Consul, shared by all members.
    Consul(ConsulStorage),
    /// In the memory of the one member.
    Ephemeral,
}

/// The backend that a spec names, whatever else is wrong with it.
pub(super) fn named(spec: &VaultClusterSpec) -> Storage {
    let given = &spec.storage;
    match (&given.raft, &given.consul) {
        (Some(raft), _) => Storage::Raft(raft.clone()),
        (None, Some(consul)) => Storage::Consul(consul.clone()),
        (None, None) => Storage::Ephemeral,
    }
}

pub(super) fn validate(spec: &VaultClusterSpec) -> Result<Storage, Invalid> {
    let given = &spec.storage;
    match (&given.raft, &given.consul, &given.ephemeral) {
        (Some(raft), None, None) => {
            if size::bytes(&raft.size).is_none() {
                return Err(invalid("spec.storage.raft.size", "must be a size such as 10Gi"));
            }
            Ok(Storage::Raft(raft.clone()))
        }
        (None, Some(consul), None) => {
            if spec.distribution != Distribution::Vault {
                return Err(invalid(
                    "spec.storage.consul",
                    "needs distribution Vault: OpenBao has no Consul storage. Use raft",
                ));
            }
            if spec.profile == Profile::Hardened && !consul.address.starts_with("https://") {
                return Err(invalid(
                    "spec.storage.consul.address",
                    "must start with https:// in profile Hardened: the ACL token travels with every request",
                ));
            }
            Ok(Storage::Consul(consul.clone()))
        }
        (None, None, Some(_)) => {
            if spec.profile != Profile::Development {
                return Err(invalid(
                    "spec.storage.ephemeral",
                    "is allowed only in profile Development: every restart loses all data",
                ));
            }
            if spec.replicas != 1 {
                return Err(invalid(
                    "spec.replicas",
                    "must be 1 with spec.storage.ephemeral: members do not share their memory",
                ));
            }
            Ok(Storage::Ephemeral)
        }
        _ => Err(invalid(
            "spec.storage",
            "must name exactly one known backend: raft, consul or ephemeral",
        )),
    }
}
