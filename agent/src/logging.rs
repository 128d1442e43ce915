//! Logs to stderr, as JSON or text: a small subscriber of our own, since the usual one costs more than the rest of the agent's logic.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// An error with its causes, for a log line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

struct Logger {
    level: LevelFilter,
    json: bool,
    spans: AtomicU64,
}

/// Starts logging; later calls change nothing. `level` and `format` are Vault's words (`VAULT_LOG_LEVEL`, `VAULT_LOG_FORMAT`).
pub(crate) fn start(level: Option<&str>, format: Option<&str>) {
    let level = match level.map(str::to_ascii_lowercase).as_deref() {
        Some("trace") => LevelFilter::TRACE,
        Some("debug") => LevelFilter::DEBUG,
        Some("warn" | "warning") => LevelFilter::WARN,
        Some("error" | "err") => LevelFilter::ERROR,
        Some("off") => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    let json = format.is_some_and(|format| format.eq_ignore_ascii_case("json"));
    let logger = Logger {
        level,
        json,
        spans: AtomicU64::new(1),
    };
    // Already started: a second call in one process, as tests make it.
    let _ = tracing::subscriber::set_global_default(logger);
}

impl Subscriber for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries print what they like at trace level, headers included: only our own lines go out.
        metadata.is_event() && metadata.target().starts_with("vaultkeeper") && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed).max(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let time = vaultkeeper_template::rfc3339(SystemTime::now());
        let line = line(event, &time, self.json);
        // Nobody is left to be told when stderr is gone.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>, time: &str, json: bool) -> String {
    let level = event.metadata().level().as_str();
    let mut fields = Fields {
        json,
        message: String::new(),
        rest: String::new(),
    };
    event.record(&mut fields);
    let Fields {
        json: _,
        message,
        rest,
    } = fields;
    if json {
        let (level, message) = (level.to_ascii_lowercase(), quoted(&message));
        format!("{{\"@timestamp\":\"{time}\",\"@level\":\"{level}\",\"@message\":{message}{rest}}}\n")
    } else {
        format!("{time} [{level}] {}{rest}\n", one_line(&message))
    }
}

struct Fields {
    json: bool,
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, text: &str, plain: bool) {
        if field.name() == "message" {
            text.clone_into(&mut self.message);
            return;
        }
        // Writing to a string cannot fail.
        let _ = if self.json {
            let value = if plain { text.to_owned() } else { quoted(text) };
            write!(self.rest, ",\"{}\":{value}", field.name())
        } else if plain || (!text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"')) {
            write!(self.rest, " {}={}", field.name(), one_line(text))
        } else {
            write!(self.rest, " {}={}", field.name(), quoted(text))
        };
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, false);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value.to_string(), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value.to_string(), true);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, if value { "true" } else { "false" }, true);
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A server's words could hold line breaks, and with them forged lines.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Catch(Arc<Mutex<Vec<String>>>, bool);

    impl Subscriber for Catch {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(line(event, "T", self.1));
        }
    }

    fn caught(json: bool, log: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Catch(Arc::clone(&lines), json), log);
        let lines = lines.lock().unwrap();
        lines.concat()
    }

    #[test]
    fn a_line_is_json_that_a_collector_can_read() {
        let text = caught(
            true,
            || tracing::warn!(error = %"a \"b\"\nc", bytes = 5_u64, done = true, "not {}", "rendered"),
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"@timestamp": "T", "@level": "warn", "@message": "not rendered", "error": "a \"b\"\nc", "bytes": 5, "done": true});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_text_line_stays_one_line() {
        let text = caught(
            false,
            || tracing::info!(file = %"/a/b", reason = %"x\nforged", "one\ntwo"),
        );
        assert_eq!(text, "T [INFO] one two file=/a/b reason=\"x\\nforged\"\n");
    }
}
