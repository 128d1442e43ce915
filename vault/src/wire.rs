//! How Vault writes things in JSON: seconds, Go's durations, null for an empty list.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// A field that may be `null` where its type has an empty value.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whole seconds as a number; a negative number, which Vault writes for what is long past, counts as none.
pub(crate) mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = Option::<i64>::deserialize(deserializer)?.unwrap_or(0);
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }
}

/// Whole seconds, or nothing at all.
pub(crate) mod optional_seconds {
    use super::{Duration, Serializer};

    #[allow(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_u64(value.as_secs()),
            None => serializer.serialize_none(),
        }
    }
}

/// A duration as Go prints it (`24h0m0s`); written in milliseconds with their unit.
pub(crate) mod go_duration {
    use super::{Deserialize, Deserializer, Duration, Serializer, de, parse_go_duration};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_go_duration(&text).ok_or_else(|| de::Error::custom("not a Go duration"))
    }

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", value.as_millis()))
    }
}

/// Go's `time.Duration` text: a sequence of decimal numbers, each with a unit (`1h0m3.5s`, `250ms`, `0s`).
/// A negative duration is read as zero.
pub(crate) fn parse_go_duration(text: &str) -> Option<Duration> {
    if let Some(rest) = text.strip_prefix('-') {
        return parse_go_duration(rest).map(|_| Duration::ZERO);
    }
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let units = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(units);
        let unit_nanos: f64 = match unit {
            "h" => 3.6e12,
            "m" => 6e10,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * unit_nanos / 1e9).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("0s", 0),
            ("0", 0),
            ("10s", 10_000),
            ("24h0m0s", 86_400_000),
            ("1m30.5s", 90_500),
            ("250ms", 250),
            ("-3s", 0),
        ] {
            assert_eq!(
                parse_go_duration(text),
                Some(Duration::from_millis(millis)),
                "read from {text:?}"
            );
        }
    }

    #[test]
    fn what_is_no_go_duration_is_refused() {
        for text in ["", "10", "s", "3 s", "1d", "1.2.3s"] {
            assert_eq!(
                parse_go_duration(text),
                None,
                "{text:?} must not be read as a duration"
            );
        }
    }
}
