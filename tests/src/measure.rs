//! What a process takes, from /proc, and what machine this is: for benchmarks.

use std::fmt;
use std::fs;

use anyhow::Context as _;

/// A number of the environment: how many of what are measured.
pub fn number(name: &str, usual: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(usual),
    }
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of its pages that are in memory, those of its program included.
    pub resident: u64,
    /// Those of them that are its own, and in no file.
    pub anonymous: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib / 1024;
        write!(
            f,
            "RSS {} MiB ({} MiB of it anonymous)",
            mib(self.resident),
            mib(self.anonymous)
        )
    }
}

impl Memory {
    /// Reads it: page by page where we may (root), else as the kernel counts it, which may lag by some hundred KiB.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let exact = read(&format!("/proc/{pid}/smaps_rollup"), "Rss:", "Anonymous:");
        exact.or_else(|_| read(&format!("/proc/{pid}/status"), "VmRSS:", "RssAnon:"))
    }

    /// The one with more.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        if other.resident > self.resident {
            other
        } else {
            self
        }
    }

    /// CPU time of a process, user and system.
    pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = text.rsplit(')').next().context("no name")?;
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|word| word.parse::<f64>().unwrap_or_default())
            .sum();
        // USER_HZ is 100 on every Linux that this runs on.
        Ok(ticks / 100.0)
    }
}

fn read(path: &str, resident: &str, anonymous: &str) -> anyhow::Result<Memory> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    Ok(Memory {
        resident: field(&text, resident).with_context(|| format!("no {resident} in {path}"))?,
        anonymous: field(&text, anonymous).with_context(|| format!("no {anonymous} in {path}"))?,
    })
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Cores, model and memory of this machine.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, model)| model)
        })
        .collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    format!(
        "{} cores of {}, {} GiB; all servers run on it",
        models.len(),
        models.first().unwrap_or(&"?"),
        total.unwrap_or_default() / (1 << 20)
    )
}

/// The load of this machine over one, five and fifteen minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_the_one_with_exactly_this_name() {
        let text = "Rss:                6112 kB\nPss:                5200 kB\nPss_Anon:           1100 kB\nAnonymous:          1200 kB\n";
        assert_eq!(field(text, "Rss:"), Some(6112), "the number of Rss");
        assert_eq!(field(text, "Anonymous:"), Some(1200), "not that of Pss_Anon");
        assert_eq!(field(text, "Swap:"), None, "it is not there");
    }

    #[test]
    fn this_process_takes_memory_and_most_of_a_block_that_it_writes_is_its_own() {
        let before = Memory::of(std::process::id()).unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = Memory::of(std::process::id()).unwrap();
        assert!(
            after.anonymous >= before.anonymous + 50 * 1024 && after.resident > after.anonymous,
            "{} MiB more are expected: {before:?}, {after:?}",
            block.len() >> 20
        );
    }
}
