//! Tokens and the login methods.

pub mod approle;
pub mod cert;
pub mod jwt;
pub mod kubernetes;
pub mod params;
pub mod password;
pub mod tokens;
