//! The table at the end of a suite.

use std::fmt::Write as _;
use std::time::Duration;

use super::seconds;

/// How one tier went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// And why.
    NotRun(String),
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// Tier, seconds, outcome. What was not run has no time and says why.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = format!("{:<18}{:>9}  outcome\n", "tier", "seconds");
    for Row { name, outcome, took } in rows {
        let (time, outcome) = match outcome {
            Outcome::Passed => (seconds(*took), "passed".to_owned()),
            Outcome::Failed => (seconds(*took), "FAILED".to_owned()),
            Outcome::NotRun(why) => ("-".to_owned(), format!("not run: {why}")),
        };
        let _ = writeln!(text, "{name:<18}{time:>9}  {outcome}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_was_not_run_says_why_and_has_no_time() {
        let rows = [
            Row {
                name: "unit",
                outcome: Outcome::Passed,
                took: Duration::from_millis(1500),
            },
            Row {
                name: "e2e",
                outcome: Outcome::NotRun("needs root".to_owned()),
                took: Duration::ZERO,
            },
        ];
        let text = render(&rows);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "tier seconds outcome",
                "unit 1.5 passed",
                "e2e - not run: needs root"
            ]
        );
    }
}
