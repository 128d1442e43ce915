//! `testbed test`: the checks and the tiers of tests, one after the other, with the time that each took.
//!
//! Missing servers are built beside the first steps, which do not need them.

mod background;
mod steps;
mod table;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::node;
use crate::progress::say;
use crate::servers::{self, Server};
use crate::wait;
use background::ServerBuild;
use table::{Outcome, Row};

/// One part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// Formatting, as rustfmt wants it.
    Fmt,
    /// Clippy without warnings, and who may depend on what.
    Lint,
    /// No servers, no cluster.
    Unit,
    /// A real etcd, API server and controller manager.
    Api,
    /// Real Vault processes.
    Vault,
    /// A whole node with real pods; needs root.
    E2e,
    /// What the tiers leave out because it takes long: their ignored tests.
    Long,
}

impl Tier {
    /// What `make test` runs.
    pub const USUAL: [Self; 6] = [
        Self::Fmt,
        Self::Lint,
        Self::Unit,
        Self::Api,
        Self::Vault,
        Self::E2e,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Api => "api",
            Self::Vault => "vault",
            Self::E2e => "e2e",
            Self::Long => "long",
        }
    }

    /// The servers that it starts.
    fn servers(self) -> &'static [Server] {
        match self {
            Self::Fmt | Self::Lint | Self::Unit => &[],
            Self::Api => &[
                Server::Etcd,
                Server::KubeApiserver,
                Server::KubeControllerManager,
                Server::Kubectl,
                Server::Helm,
            ],
            Self::Vault => &[Server::Vault, Server::Versitygw, Server::Age],
            Self::E2e => &Server::CLUSTER,
            Self::Long => &Server::ALL,
        }
    }

    /// Why it cannot run here.
    fn obstacle(self) -> Option<String> {
        if !matches!(self, Self::E2e | Self::Long) {
            return None;
        }
        // What the tests of the tier ask themselves: what they would skip is "not run", never "passed".
        node::check_machine()
            .err()
            .map(|obstacle| format!("{obstacle:#}"))
    }
}

/// Runs these tiers in this order and says at the end how each went.
///
/// After a failure nothing further runs. A tier that cannot run here is left out, or fails if `CI` is set.
pub fn run(tiers: &[Tier]) -> anyhow::Result<()> {
    let mut build = start_build(tiers)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut failure = None;
    for &tier in tiers {
        let start = Instant::now();
        let outcome = match verdict(failure.is_some(), tier.obstacle(), is_ci()) {
            Verdict::LeaveOut(why) => Outcome::NotRun(why),
            Verdict::Fail(why) => {
                failure = Some(anyhow::anyhow!(
                    "the tier {} cannot run here, and CI is set: {why}",
                    tier.name()
                ));
                Outcome::Failed
            }
            Verdict::Run => match run_tier(tier, &mut build) {
                Ok(()) => Outcome::Passed,
                Err(error) => {
                    failure = Some(error);
                    Outcome::Failed
                }
            },
        };
        rows.push(Row {
            name: tier.name(),
            outcome,
            took: start.elapsed(),
        });
    }
    if let Some(built) = build.and_then(|build| build.took()) {
        rows.push(Row {
            name: "servers (beside)",
            outcome: Outcome::Passed,
            took: built,
        });
    }
    say(&format!("\n{}", table::render(&rows)));
    failure.map_or(Ok(()), Err)
}

/// What becomes of a tier when its turn has come.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Run,
    /// And why.
    LeaveOut(String),
    /// And why.
    Fail(String),
}

fn verdict(one_failed: bool, obstacle: Option<String>, ci: bool) -> Verdict {
    match (one_failed, obstacle) {
        (true, _) => Verdict::LeaveOut("an earlier one failed".to_owned()),
        // Nobody reads there what was left out.
        (false, Some(why)) if ci => Verdict::Fail(why),
        (false, Some(why)) => Verdict::LeaveOut(why),
        (false, None) => Verdict::Run,
    }
}

fn run_tier(tier: Tier, build: &mut Option<ServerBuild>) -> anyhow::Result<()> {
    if !tier.servers().is_empty() {
        if let Some(build) = build.as_mut() {
            build.finish().context("the servers are not there")?;
        }
        // Says what is missing before a test would.
        for server in tier.servers() {
            servers::path(*server)?;
        }
    }
    for command in steps::of(tier)? {
        run_command(tier, command, build)?;
    }
    if tier == Tier::Lint {
        steps::check_dependencies()?;
    }
    Ok(())
}

/// Runs a command to its end; meanwhile relays what the build of servers says.
fn run_command(tier: Tier, mut command: Command, build: &mut Option<ServerBuild>) -> anyhow::Result<()> {
    let line: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    say(&format!("\n== {}: cargo {}", tier.name(), line.join(" ")));
    let mut child = command.stdin(Stdio::null()).spawn().context("cannot run cargo")?;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for cargo")? {
            break status;
        }
        if let Some(build) = build.as_mut() {
            build.relay();
        }
        wait::pause();
    };
    if !status.success() {
        bail!(
            "{} failed ({status}); to see it again: cargo {}",
            tier.name(),
            line.join(" ")
        );
    }
    Ok(())
}

fn start_build(tiers: &[Tier]) -> anyhow::Result<Option<ServerBuild>> {
    let mut missing = Vec::new();
    for server in Server::ALL {
        let wanted = tiers
            .iter()
            .any(|tier| tier.obstacle().is_none() && tier.servers().contains(&server));
        if wanted && servers::ready(server)?.is_none() {
            missing.push(server);
        }
    }
    if missing.is_empty() {
        Ok(None)
    } else {
        ServerBuild::start(&missing).map(Some)
    }
}

/// Whether the environment says that this is CI, where a tier that cannot run is a failure.
pub fn is_ci() -> bool {
    says_ci(std::env::var("CI").ok().as_deref())
}

/// What a value of the variable CI says.
fn says_ci(value: Option<&str>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "false")
}

/// Seconds with one digit.
fn seconds(took: Duration) -> String {
    format!("{:.1}", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_cannot_run_is_left_out_for_a_person_and_fails_in_ci() {
        let obstacle = || Some("needs root".to_owned());
        let why = || "needs root".to_owned();
        let earlier = || Verdict::LeaveOut("an earlier one failed".to_owned());
        for (one_failed, obstacle, ci, expected) in [
            (false, None, false, Verdict::Run),
            (false, None, true, Verdict::Run),
            (false, obstacle(), false, Verdict::LeaveOut(why())),
            (false, obstacle(), true, Verdict::Fail(why())),
            (true, None, true, earlier()),
            (true, obstacle(), true, earlier()),
        ] {
            let row = format!("one failed: {one_failed}, obstacle: {obstacle:?}, CI: {ci}");
            assert_eq!(verdict(one_failed, obstacle, ci), expected, "{row}");
        }
    }

    #[test]
    fn ci_is_what_the_variable_says() {
        for (value, expected) in [
            (None, false),
            (Some(""), false),
            (Some("false"), false),
            (Some("true"), true),
            (Some("1"), true),
        ] {
            assert_eq!(says_ci(value), expected, "CI={value:?}");
        }
    }
}
