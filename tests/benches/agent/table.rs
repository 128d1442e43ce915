//! The rows of the table, in Markdown.

use std::fmt::Write as _;

use vaultkeeper_tests::progress::say;

/// Grows row by row; each is said when it is known.
pub(crate) struct Table {
    machine: String,
    rows: String,
    notes: String,
}

impl Table {
    pub(crate) fn new(machine: &str) -> Self {
        Self {
            machine: machine.to_owned(),
            rows: String::new(),
            notes: String::new(),
        }
    }

    /// Two numbers with so many digits behind the point, and how they compare.
    pub(crate) fn row(&mut self, what: &str, digits: usize, ours: f64, theirs: f64) {
        let ratio = if ours > 0.0 && theirs > 0.0 {
            if theirs >= ours {
                format!("{:.1} × ours", theirs / ours)
            } else {
                format!("1 / {:.1} of ours", ours / theirs)
            }
        } else {
            "–".to_owned()
        };
        let row = format!("| {what} | {ours:.digits$} | {theirs:.digits$} | {ratio} |");
        say(&row);
        let _ = writeln!(self.rows, "{row}");
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: &str) {
        let _ = writeln!(self.notes, "{note}");
    }

    pub(crate) fn text(&self) -> String {
        let Self { machine, rows, notes } = self;
        format!(
            "| what | ours | `vault agent` 1.21.1 | that is |\n|---|---|---|---|\n{rows}\nmachine: {machine}\n{notes}"
        )
    }
}
