//! The verbs of `testbed` that show the whole product at work.

use clap::Subcommand;

use crate::demo::{self, Target};

/// One variant per verb.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Shows the main job on a real cluster, from nothing to a secret in an app's file, and leaves it up.
    Demo {
        /// Where.
        #[arg(long, value_enum, default_value_t)]
        cluster: Target,
    },
    /// Removes every trace of the demo.
    DemoDown {
        /// Where it ran.
        #[arg(long, value_enum, default_value_t)]
        cluster: Target,
    },
}

pub(super) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Demo { cluster } => demo::run(cluster),
        Verb::DemoDown { cluster } => demo::down(cluster),
    }
}
