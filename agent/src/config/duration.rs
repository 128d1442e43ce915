//! Durations as Go writes them (`1h30m`, `500ms`), or a number of seconds.

use std::time::Duration;

/// A hundred years: what is longer is a mistake, and no clock could add it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads a duration; `None` when it is none, or longer than a hundred years.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    any(text).filter(|duration| *duration <= LONGEST)
}

/// A number of seconds; `None` when it is negative or longer than a hundred years.
pub(crate) fn seconds(number: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(number).ok();
    duration.filter(|duration| *duration <= LONGEST)
}

fn any(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            "d" => 86_400.0,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(amount * unit).ok()?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_and_plain_seconds_are_read() {
        for (text, millis) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("90", 90_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5x",
            "m",
            "-5m",
            "5m3",
            "1e400h",
            "ten",
            "900000h",
            "99999999999",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(seconds(-1.0), None, "a negative number");
        assert_eq!(seconds(1e18), None, "no clock could add it");
        assert_eq!(seconds(1.5), Some(Duration::from_millis(1500)));
    }
}
