//! The custom resources of Vaultkeeper as Rust types, and every name that is derived from them.
//!
//! No I/O happens here. The YAML beside this crate is generated from these types by `crdgen`
//! (`make crds`) and a test keeps it current.

pub mod annotations;
pub mod cidr;
pub mod cluster;
pub mod duration;
pub mod generate;
pub mod names;
pub mod role;
pub mod size;

pub use cluster::{VaultCluster, VaultClusterSpec, VaultClusterStatus};
pub use role::{VaultRole, VaultRoleSpec, VaultRoleStatus};

/// API group of all kinds.
pub const GROUP: &str = "vaultkeeper.dev";
/// API version of all kinds.
pub const VERSION: &str = "v1alpha1";
