//! The mutating webhook that injects Vaultkeeper's agent into pods that ask for it by annotations.
//!
//! A review goes through `review::read` → `admit::read` → `roles::identify` → `plan` → `patch` → `review::write`; all of
//! these are pure. What does I/O: `http`, `role_source`, `serve`, `stored_ca`, `registration`, `trust`, `health`, `run`.

pub mod admit;
pub mod agent_config;
pub mod annotations;
pub mod certificates;
pub mod denial;
pub mod health;
pub mod http;
pub mod metrics;
pub mod origin;
pub mod patch;
pub mod plan;
pub mod pod;
pub mod registration;
pub mod review;
pub mod role_source;
pub mod roles;
pub mod run;
pub mod serve;
pub mod settings;
pub mod sidecar;
pub mod stored_ca;
pub mod telemetry;
pub mod tls;
pub mod trust;
