//! Lines for a person who waits.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

/// How long a step may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Writes a line to standard error. Whether anybody reads it does not matter.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One step that takes a while: says every ten seconds that it still does.
#[derive(Debug)]
pub struct Step {
    what: String,
    start: Instant,
    said: Instant,
}

impl Step {
    /// Begins; says `what`.
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        say(&format!("{what} …"));
        let now = Instant::now();
        Self {
            what,
            start: now,
            said: now,
        }
    }

    /// To be called while waiting, as often as one likes.
    pub fn tick(&mut self) {
        if self.said.elapsed() >= SILENCE {
            self.said = Instant::now();
            say(&format!("{} … {} s", self.what, self.start.elapsed().as_secs()));
        }
    }

    /// Ends; says how long it took, and gives it.
    pub fn done(self) -> Duration {
        let took = self.start.elapsed();
        say(&format!("{}: done in {:.1} s", self.what, took.as_secs_f64()));
        took
    }
}
