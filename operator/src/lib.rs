//! The operator: controllers that run Vault or OpenBao and hand out identities.
//!
//! Each controller is a pipeline: observe → validate → plan → execute → status. What decides is a pure
//! function; all I/O goes through two seams, the Kubernetes client and [`connect::Connect`], so that a
//! simulator or a fault injector can stand in their place.

pub mod backoff;
pub mod backup;
pub mod cluster;
pub mod conditions;
pub mod connect;
pub mod context;
pub mod controllers;
mod hex;
pub mod kubernetes;
pub mod leader;
pub mod members;
pub mod metrics;
pub mod namespaces;
mod news;
mod own_secret;
pub mod report;
pub mod role;
pub mod run;
pub mod server;
pub mod sessions;
pub mod settings;
