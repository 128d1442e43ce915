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
    let problems = templates::problems(config);
    Findings {
        problems: problems.iter().map(|error| Chain(error).to_string()).collect(),
        warnings: warnings(config, path),
    }
}

/// What somebody should look at, although the agent works with it. `path` is where programs are looked for.
pub(crate) fn warnings(config: &Config, path: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut destinations = BTreeSet::new();
    for (position, template) in config.templates.iter().enumerate() {
        let mut warn = |text: &str| {
            let file = template.destination.display();
            warnings.push(format!("template[{position}]: {file} {text}"));
        };
        if !destinations.insert(&template.destination) {
            warn("is the destination of another template, too");
        }
        if !template.destination.is_absolute() {
            warn("depends on the folder that the agent is started in");
        }
        let actions = plan::actions(template.run.as_ref(), template.after_change.as_ref(), false);
        for problem in actions.iter().filter_map(|action| shell_problem(action, path)) {
            warn(&format!("has a command that cannot run: {problem}"));
        }
    }
    for (position, listener) in config.listeners.iter().enumerate() {
        if listener.tls.is_some() {
            warnings.push(format!(
                "listener[{position}]: not served, since this agent serves plain HTTP only: set tls_disable"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &serde_json::Value) -> Findings {
        let config = serde_json::json!({
            "vault": {"address": "https://v:8200"},
            "auto_auth": {"method": {"type": "kubernetes", "config": {"role": "app"}}},
            "template": template,
            "listener": [{"tcp": {"address": "a:1", "tls_cert_file": "/c", "tls_key_file": "/k"}}],
        });
        let (config, _) = config::parse(&config.to_string(), &|_| None).unwrap();
        look(&config, Some("/nonexistent"))
    }

    #[test]
    fn every_template_is_looked_at() {
        let Findings { problems, warnings } = found(&serde_json::json!([
            {"contents": "{{ if }}", "destination": "/a"},
            {"contents": "{{ nothing }}", "destination": "b", "command": "x | y"},
            {"contents": "x", "destination": "/a", "command": "x y"},
        ]));
        assert_eq!(problems.len(), 2, "two templates are wrong: {problems:?}");
        for (position, part) in [
            "template[1]: b depends on",
            "template[1]: b has a command that cannot run: it takes a shell",
            "template[2]: /a is the destination of another",
            "listener[0]: not served",
        ]
        .iter()
        .enumerate()
        {
            assert!(
                warnings
                    .get(position)
                    .is_some_and(|warning| warning.starts_with(part)),
                "{part:?} is missing: {warnings:?}"
            );
        }
        assert_eq!(warnings.len(), 4, "nothing else is odd: {warnings:?}");
    }
}
