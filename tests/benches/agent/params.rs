//! What is measured, from the environment.

use std::time::Duration;

use anyhow::ensure;
use vaultkeeper_tests::measure::number;

/// How many of what.
#[derive(Debug)]
pub(crate) struct Params {
    /// How often all secrets change.
    pub(crate) rounds: usize,
    /// How often each agent is started.
    pub(crate) starts: usize,
    /// How many files are rendered at a start.
    pub(crate) files: usize,
    /// How long the agents are watched at rest.
    pub(crate) rest: Duration,
}

impl Params {
    /// ROUNDS=100 STARTS=5 FILES=1000 REST_SECONDS=120 unless it says otherwise.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let params = Self {
            rounds: number("ROUNDS", 100)?,
            starts: number("STARTS", 5)?,
            files: number("FILES", 1000)?,
            rest: Duration::from_secs(u64::try_from(number("REST_SECONDS", 120)?)?),
        };
        ensure!(
            params.rounds > 0 && params.starts > 0 && params.files > 0 && !params.rest.is_zero(),
            "nothing to measure: {params:?}"
        );
        Ok(params)
    }
}
