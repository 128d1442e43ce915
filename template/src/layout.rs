//! Times in UTC by a layout of Go (`2006-01-02T15:04:05Z07:00`).

use std::time::{SystemTime, UNIX_EPOCH};

/// Go's `time.RFC3339`.
pub(crate) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A time as RFC 3339 in UTC, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    format(time, RFC3339)
}

/// An RFC 3339 time as Go prints it (`2006-01-02 15:04:05 +0000 UTC`).
pub(crate) fn printed(text: &str) -> String {
    let Some((date, rest)) = text.split_once('T') else {
        return text.to_owned();
    };
    let Some(zone_at) = rest.find(['Z', '+', '-']) else {
        return text.to_owned();
    };
    let (time, zone) = rest.split_at(zone_at);
    let time = match time.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{whole}{point}{fraction}")
        }
        None => time.to_owned(),
    };
    if matches!(zone, "Z" | "+00:00") {
        return format!("{date} {time} +0000 UTC");
    }
    let zone = zone.replace(':', "");
    format!("{date} {time} {zone} {zone}")
}

/// Seconds since 1970; 0 before.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time taken apart.
struct Civil {
    year: u64,
    month: usize,
    day: u64,
    /// From 1.
    day_of_year: u64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
    nanos: u32,
}

/// Days to a date of the Gregorian calendar, after Howard Hinnant's `civil_from_days`.
fn civil(time: SystemTime) -> Civil {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let days = seconds / 86_400;
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    // From the first of March.
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let clock = seconds % 86_400;
    Civil {
        year,
        month: usize::try_from(month).unwrap_or(1),
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        day_of_year: if month <= 2 {
            day_of_year - 305
        } else {
            day_of_year + 60 + u64::from(leap)
        },
        weekday: usize::try_from((days + 4) % 7).unwrap_or(0),
        hour: clock / 3600,
        minute: clock / 60 % 60,
        second: clock % 60,
        nanos: since.subsec_nanos(),
    }
}

/// Formats a time; parts of the layout that Go knows are replaced, the rest is kept.
pub(crate) fn format(time: SystemTime, layout: &str) -> String {
    let now = civil(time);
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((length, text)) = part(&now, rest) {
            out.push_str(&text);
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// A part of a layout at its start: how long it is there, and what it becomes.
fn part(now: &Civil, layout: &str) -> Option<(usize, String)> {
    let month = MONTHS[(now.month - 1) % 12];
    let weekday = DAYS[now.weekday % 7];
    let hour12 = if now.hour.is_multiple_of(12) {
        12
    } else {
        now.hour % 12
    };
    let half = now.hour >= 12;
    // `Jan` and `Mon` in front of a small letter belong to another word.
    let word = |short: &str| {
        layout.starts_with(short) && !layout[short.len()..].starts_with(|c: char| c.is_ascii_lowercase())
    };
    // Longest first, so that 2006 is not read as 2 and 006.
    let fixed: [(&str, &dyn Fn() -> String); 32] = [
        ("January", &|| month.to_owned()),
        ("Monday", &|| weekday.to_owned()),
        ("Z07:00:00", &|| "Z".to_owned()),
        ("Z070000", &|| "Z".to_owned()),
        ("Z07:00", &|| "Z".to_owned()),
        ("Z0700", &|| "Z".to_owned()),
        ("Z07", &|| "Z".to_owned()),
        ("-07:00:00", &|| "+00:00:00".to_owned()),
        ("-070000", &|| "+000000".to_owned()),
        ("-07:00", &|| "+00:00".to_owned()),
        ("-0700", &|| "+0000".to_owned()),
        ("-07", &|| "+00".to_owned()),
        ("MST", &|| "UTC".to_owned()),
        ("2006", &|| format!("{:04}", now.year)),
        ("002", &|| format!("{:03}", now.day_of_year)),
        ("01", &|| format!("{:02}", now.month)),
        ("02", &|| format!("{:02}", now.day)),
        ("03", &|| format!("{hour12:02}")),
        ("04", &|| format!("{:02}", now.minute)),
        ("05", &|| format!("{:02}", now.second)),
        ("06", &|| format!("{:02}", now.year % 100)),
        ("15", &|| format!("{:02}", now.hour)),
        ("__2", &|| format!("{:3}", now.day_of_year)),
        ("_2006", &|| format!("_{:04}", now.year)),
        ("_2", &|| format!("{:2}", now.day)),
        ("PM", &|| if half { "PM" } else { "AM" }.to_owned()),
        ("pm", &|| if half { "pm" } else { "am" }.to_owned()),
        ("1", &|| now.month.to_string()),
        ("2", &|| now.day.to_string()),
        ("3", &|| hour12.to_string()),
        ("4", &|| now.minute.to_string()),
        ("5", &|| now.second.to_string()),
    ];
    if word("Jan") {
        return Some((3, month[..3].to_owned()));
    }
    if word("Mon") {
        return Some((3, weekday[..3].to_owned()));
    }
    if let Some(found) = fraction(now, layout) {
        return Some(found);
    }
    let (name, text) = fixed.iter().find(|(name, _)| layout.starts_with(name))?;
    Some((name.len(), text()))
}

/// `.000` or `,999`: parts of a second, with or without zeros at their end. No digit may follow.
fn fraction(now: &Civil, layout: &str) -> Option<(usize, String)> {
    let point = layout.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let digit = layout[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = layout[1..].chars().take_while(|c| *c == digit).count();
    if layout[1 + count..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let all = format!("{:09}", now.nanos);
    let mut digits: String = all
        .chars()
        .chain(std::iter::repeat('0'))
        .take(count.min(9))
        .collect();
    if digit == '9' {
        digits.truncate(digits.trim_end_matches('0').len());
        if digits.is_empty() {
            return Some((1 + count, String::new()));
        }
    }
    Some((1 + count, format!("{point}{digits}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_written_in_gos_layouts() {
        let time = UNIX_EPOCH + Duration::from_secs(1_709_210_096); // 2024-02-29, a leap day
        assert_eq!(format(time, RFC3339), "2024-02-29T12:34:56Z");
        assert_eq!(format(time, "Mon Jan _2 3:04PM 06"), "Thu Feb 29 12:34PM 24");
        assert_eq!(format(UNIX_EPOCH, RFC3339), "1970-01-01T00:00:00Z");
        let time = time + Duration::from_millis(120);
        for (layout, expected) in [
            ("15:04:05.000", "12:34:56.120"),
            ("15:04:05.999", "12:34:56.12"),
            ("05,000000", "56,120000"),
            ("002 __2", "060  60"),
            ("Janet Monk Month", "Janet Monk Month"),
            ("January Monday", "February Thursday"),
            ("_2006", "_2024"),
            ("-07:00 Z0700 MST", "+00:00 Z UTC"),
            ("20060102T150405Z", "20240229T123456Z"),
        ] {
            assert_eq!(format(time, layout), expected, "{layout}");
        }
        let last = UNIX_EPOCH + Duration::from_secs(1_735_603_200); // 2024-12-31
        assert_eq!(format(last, "2006-002"), "2024-366");
    }
}
