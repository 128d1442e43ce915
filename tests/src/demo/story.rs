//! The steps of the demo and how long each took.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;

use crate::progress::{Step, say};

/// Steps done so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    rows: Vec<(String, Duration)>,
}

impl Story {
    /// Does one step; says what it is and, afterwards, how long it took. An error names the step.
    pub(super) fn step<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&mut Step) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let number = self.rows.len() + 1;
        let mut step = Step::begin(format!("[{number}] {what}"));
        let done = work(&mut step).with_context(|| format!("step {number} failed: {what}"))?;
        self.rows.push((what.to_owned(), step.done()));
        Ok(done)
    }

    /// Says all steps with their times.
    pub(super) fn print(&self) {
        say(&table(&self.rows));
    }
}

fn table(rows: &[(String, Duration)]) -> String {
    let total: Duration = rows.iter().map(|(_, took)| *took).sum();
    let width = rows
        .iter()
        .map(|(what, _)| what.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::from("\n");
    for (number, (what, took)) in rows.iter().enumerate() {
        let _ = writeln!(
            text,
            "{:>3}  {what:width$}  {:>7.1} s",
            number + 1,
            took.as_secs_f64()
        );
    }
    let _ = write!(text, "     {:width$}  {:>7.1} s", "in all", total.as_secs_f64());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let rows = [
            ("one".to_owned(), Duration::from_millis(1250)),
            ("number two".to_owned(), Duration::from_secs(100)),
        ];
        assert_eq!(
            table(&rows),
            "\n  1  one             1.2 s\n  2  number two    100.0 s\n     in all        101.2 s"
        );
    }

    #[test]
    fn a_step_that_fails_is_named_and_not_counted() {
        let mut story = Story::default();
        story.step("wake up", |_| Ok(())).unwrap();
        let error = story
            .step("get up", |_| -> anyhow::Result<()> { anyhow::bail!("too early") })
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "step 2 failed: get up: too early");
        assert_eq!(
            story.rows.len(),
            1,
            "only the step that was done should be in the table"
        );
    }
}
