//! The server itself: keys and seal, members, mounts, policies, audit devices, leases (`sys/…`).

pub mod audit;
pub mod generate_root;
pub mod health;
pub mod init;
pub mod leases;
pub mod mounts;
pub mod policies;
pub mod raft;
pub mod rekey;
pub mod seal;
pub mod snapshot;
pub mod wrapping;
