//! What a process takes, from /proc.

use std::fmt;
use std::fs;

use anyhow::Context as _;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    resident: u64,
    anonymous: u64,
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
    /// Reads it.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let word = line.and_then(|line| line.split_whitespace().nth(1));
            word.and_then(|word| word.parse().ok())
                .with_context(|| format!("no {name} in {path}"))
        };
        Ok(Self {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
        })
    }

    /// The one with more.
    pub(crate) fn larger(self, other: Self) -> Self {
        if other.resident > self.resident {
            other
        } else {
            self
        }
    }

    /// CPU time of a process, user and system.
    pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
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

/// Cores, model and memory of this machine.
pub(crate) fn machine() -> String {
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
