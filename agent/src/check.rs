//! `check`: everything that is wrong or odd about a configuration, without talking to Vault.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use crate::after::{plan, shell_problem};
use crate::config::{self, Config, ConfigError};
use crate::logging::Chain;
use crate::templates;

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    /// The agent would not start.
    problems: Vec<String>,
    /// It would, and somebody should look.
    warnings: Vec<String>,
}

/// Runs `check` on these files. Prints one line for each finding; the exit code is 1 when the agent would not start.
pub(crate) fn main(files: &[String], env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let findings = match config::load(files, env) {
        Ok((config, warnings)) => {
            let mut findings = look(&config, env("PATH").as_deref());
            findings.warnings.splice(0..0, warnings);
            findings
        }
        Err(ConfigError::Problems(problems)) => Findings {
            problems: problems.iter().map(ToString::to_string).collect(),
            warnings: Vec::new(),
        },
        Err(error) => Findings {
            problems: vec![Chain(&error).to_string()],
            warnings: Vec::new(),
        },
    };
    let Findings { problems, warnings } = findings;
    let mut out = std::io::stdout().lock();
    // Nothing to do about a closed stdout.
    for problem in &problems {
        let _ = writeln!(out, "error: {problem}");
    }
    for warning in &warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    if problems.is_empty() {
        let _ = writeln!(out, "the configuration can be used");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Looks at what was read without a mistake.
fn look(config: &Config, path: Option<&str>) -> Findings {
    let mut findings = Findings::default();
    findings.problems.extend(
        templates::problems(config)
            .iter()
            .map(|error| Chain(error).to_string()),
    );
    let mut destinations = BTreeSet::new();
    for (position, template) in config.templates.iter().enumerate() {
        let file = template.destination.display();
        if !destinations.insert(&template.destination) {
            findings.warnings.push(format!(
                "template[{position}]: {file} is the destination of another template, too"
            ));
        }
        if !template.destination.is_absolute() {
            findings.warnings.push(format!(
                "template[{position}]: {file} depends on the folder that the agent is started in"
            ));
        }
        let actions = plan::actions(template.run.as_ref(), template.after_change.as_ref(), false);
        for problem in actions.iter().filter_map(|action| shell_problem(action, path)) {
            findings
                .warnings
                .push(format!("template[{position}]: the command for {file}: {problem}"));
        }
    }
    findings
}
