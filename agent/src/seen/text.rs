//! The same as Prometheus reads it. Pure.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{Renderings, Seen, Trouble};

/// What the system knows of our process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    /// When the program began.
    pub(crate) started: SystemTime,
    /// Its resident memory in bytes, where the system tells it.
    pub(crate) memory: Option<u64>,
}

struct Page(String);

impl Page {
    fn metric(&mut self, kind: &str, name: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A metric without labels; nothing at all without a value.
    fn one(&mut self, kind: &str, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.metric(kind, name, help);
            self.value(name, "", value);
        }
    }
}

/// The page of metrics.
pub(crate) fn text(seen: &Seen, process: Process, now: Instant) -> String {
    let Seen {
        errors,
        logins,
        renewals,
        logged_in,
        token_ends,
        leases,
        lease_ends,
        files,
    } = seen;
    let left = |end: Instant| end.saturating_duration_since(now).as_secs();
    let mut page = Page(String::with_capacity(4096));
    page.metric("gauge", "vaultkeeper_agent_info", "The agent's version.");
    page.value(
        "vaultkeeper_agent_info",
        concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
        1,
    );
    let help = "Whether the agent holds a token.";
    page.one(
        "gauge",
        "vaultkeeper_agent_logged_in",
        help,
        Some(u8::from(*logged_in)),
    );
    let help = "Logins that succeeded.";
    page.one("counter", "vaultkeeper_agent_logins_total", help, Some(logins));
    let help = "Renewals of the token that succeeded.";
    page.one(
        "counter",
        "vaultkeeper_agent_token_renewals_total",
        help,
        Some(renewals),
    );
    let help = "Time until the token ends unless it is renewed; absent when it does not end.";
    page.one(
        "gauge",
        "vaultkeeper_agent_token_remaining_seconds",
        help,
        token_ends.map(left),
    );
    let help = "Leases of secrets that the agent holds.";
    page.one("gauge", "vaultkeeper_agent_leases", help, Some(leases));
    let help = "Time until the first lease ends unless it is renewed; absent without leases.";
    page.one(
        "gauge",
        "vaultkeeper_agent_lease_remaining_seconds",
        help,
        lease_ends.map(left),
    );

    let name = "vaultkeeper_agent_renders_total";
    page.metric("counter", name, "How often a file got a new content.");
    for (file, Renderings { count, last: _ }) in files {
        page.value(name, &label("file", file), count);
    }
    let name = "vaultkeeper_agent_last_render_timestamp_seconds";
    page.metric(
        "gauge",
        name,
        "When a file was last known to hold what its template gives.",
    );
    for (file, Renderings { count: _, last }) in files {
        if let Some(last) = last {
            page.value(name, &label("file", file), seconds(*last));
        }
    }
    let name = "vaultkeeper_agent_errors_total";
    page.metric("counter", name, "What went wrong, by kind.");
    for kind in Trouble::ALL {
        let count = errors.get(&kind).copied().unwrap_or(0);
        page.value(name, &format!("{{kind=\"{}\"}}", kind.as_str()), count);
    }
    let Process { started, memory } = process;
    let help = "Start of the process.";
    page.one(
        "gauge",
        "process_start_time_seconds",
        help,
        Some(seconds(started)),
    );
    let help = "Resident memory.";
    page.one("gauge", "process_resident_memory_bytes", help, memory);
    page.0
}

fn label(name: &str, value: &Path) -> String {
    let value = value
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_page_tells_what_was_seen() {
        let now = Instant::now();
        let time = UNIX_EPOCH + Duration::from_millis(1500);
        let mut seen = Seen::default();
        seen.trouble(Trouble::Denied);
        seen.trouble(Trouble::Denied);
        seen.logged_in(Duration::from_secs(90), now);
        seen.renewed(Duration::from_secs(60), now);
        seen.rendered(Path::new("/vault/secrets/a\"b"), true, time);
        seen.rendered(
            Path::new("/vault/secrets/a\"b"),
            false,
            time + Duration::from_secs(1),
        );
        let process = Process {
            started: time,
            memory: Some(4096),
        };
        let page = text(&seen, process, now + Duration::from_secs(20));
        for line in [
            "vaultkeeper_agent_logged_in 1",
            "vaultkeeper_agent_logins_total 1",
            "vaultkeeper_agent_token_renewals_total 1",
            "vaultkeeper_agent_token_remaining_seconds 40",
            "vaultkeeper_agent_renders_total{file=\"/vault/secrets/a\\\"b\"} 1",
            "vaultkeeper_agent_last_render_timestamp_seconds{file=\"/vault/secrets/a\\\"b\"} 2.5",
            "vaultkeeper_agent_errors_total{kind=\"denied\"} 2",
            "vaultkeeper_agent_errors_total{kind=\"login\"} 0",
            "process_start_time_seconds 1.5",
            "process_resident_memory_bytes 4096",
        ] {
            assert!(
                page.lines().any(|there| there == line),
                "{line} is missing:\n{page}"
            );
        }
        assert!(!page.contains("lease_remaining"), "there is no lease:\n{page}");
    }

    #[test]
    fn every_value_belongs_to_a_metric_with_a_type() {
        let process = Process {
            started: UNIX_EPOCH,
            memory: None,
        };
        let page = text(&Seen::default(), process, Instant::now());
        let mut current = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, current, "the type is missing:\n{page}");
            }
        }
    }
}
