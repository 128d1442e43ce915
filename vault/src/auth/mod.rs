//! Tokens and the login methods.

pub mod approle;
pub mod cert;
pub mod kubernetes;
pub mod params;
pub mod tokens;
