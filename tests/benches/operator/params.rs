//! What is measured, from the environment.

use std::time::Duration;

use anyhow::ensure;
use vaultkeeper_tests::measure::number;

/// How many of what.
#[derive(Debug)]
pub(crate) struct Params {
    /// Roles in the end.
    pub(crate) roles: usize,
    /// Roles that are created first, and timed.
    pub(crate) at_once: usize,
    /// Namespaces that they lie in.
    pub(crate) namespaces: usize,
    /// How long they are watched at rest.
    pub(crate) rest: Duration,
    /// Logins with random ones.
    pub(crate) logins: usize,
}

impl Params {
    /// ROLES=10000 AT_ONCE=1000 NAMESPACES=100 REST_SECONDS=600 LOGINS=50 unless it says otherwise.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let roles = number("ROLES", 10_000)?;
        let params = Self {
            roles,
            at_once: number("AT_ONCE", 1000)?.min(roles),
            namespaces: number("NAMESPACES", 100)?,
            rest: Duration::from_secs(u64::try_from(number("REST_SECONDS", 600)?)?),
            logins: number("LOGINS", 50)?,
        };
        ensure!(
            params.roles > 0 && params.namespaces > 0,
            "nothing to measure: {params:?}"
        );
        Ok(params)
    }
}
