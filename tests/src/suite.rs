//! `testbed test`: the checks and the tiers of tests, one after the other, with the time that each took.
//!
//! Missing servers are built beside the first steps, which do not need them, and the images of the pods beside
//! the tier that waits most.

mod background;
mod steps;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::node;
use crate::progress::say;
use crate::servers::{self, Server};
use crate::wait;
use background::Build;
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
            Self::Vault => &[Server::Vault],
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
    // Asked at once: when Cargo has linked this program anew, it goes under the name of a deleted file.
    let testbed = std::env::current_exe().context("cannot find this program")?;
    let mut builds = Builds {
        servers: start_servers(&testbed, tiers)?,
        images: None,
        e2e_follows: tiers.contains(&Tier::E2e) && Tier::E2e.obstacle().is_none(),
        testbed,
    };
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
            Verdict::Run => match run_tier(tier, &mut builds) {
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
    for build in builds.under_way() {
        if let Some(took) = build.took() {
            rows.push(Row {
                name: build.what(),
                outcome: Outcome::Beside,
                took,
            });
        }
    }
    say(&format!("\n{}", table::render(&rows)));
    failure.map_or(Ok(()), Err)
}

/// What is built beside the tiers.
struct Builds {
    servers: Option<Build>,
    images: Option<Build>,
    /// Whether a tier that needs the images will run.
    e2e_follows: bool,
    /// This program, which builds them.
    testbed: PathBuf,
}

impl Builds {
    fn under_way(&mut self) -> impl Iterator<Item = &mut Build> {
        self.servers.iter_mut().chain(self.images.iter_mut())
    }

    /// Waits for what the tier needs, and starts what a later one needs and nothing hinders.
    fn prepare(&mut self, tier: Tier) -> anyhow::Result<()> {
        if tier.servers().is_empty() {
            return Ok(());
        }
        if let Some(build) = &mut self.servers {
            build.finish().context("the servers are not there")?;
        }
        // Its tests wait for servers most of their time.
        if tier == Tier::Vault && self.e2e_follows {
            say("building the images for the next tier beside this one");
            self.images = Some(Build::of_images(&self.testbed)?);
        }
        if tier == Tier::E2e
            && let Some(build) = &mut self.images
        {
            build.finish().context("the images are not there")?;
        }
        Ok(())
    }
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

fn run_tier(tier: Tier, builds: &mut Builds) -> anyhow::Result<()> {
    builds.prepare(tier)?;
    // Says what is missing before a test would.
    for server in tier.servers() {
        servers::path(*server)?;
    }
    for command in steps::of(tier)? {
        run_command(tier, command, builds)?;
    }
    if tier == Tier::Lint {
        steps::check_dependencies()?;
    }
    Ok(())
}

/// Runs a command to its end; meanwhile relays what the builds beside it say.
fn run_command(tier: Tier, mut command: Command, builds: &mut Builds) -> anyhow::Result<()> {
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
        builds.under_way().for_each(Build::relay);
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

fn start_servers(testbed: &Path, tiers: &[Tier]) -> anyhow::Result<Option<Build>> {
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
        Build::of_servers(testbed, &missing).map(Some)
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
