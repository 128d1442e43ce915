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

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    weekday: u64,
    seconds: u64,
}

/// Days to a date of the Gregorian calendar, after Howard Hinnant's `civil_from_days`.
fn civil(seconds: u64) -> Civil {
    let days = seconds / 86_400;
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    Civil {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        weekday: (days + 4) % 7,
        seconds: seconds % 86_400,
    }
}

/// Formats a time; parts of the layout that Go knows are replaced, the rest is kept.
pub(crate) fn format(time: SystemTime, layout: &str) -> String {
    let now = civil(unix(time));
    let (hour, minute, second) = (now.seconds / 3600, now.seconds / 60 % 60, now.seconds % 60);
    let month = MONTHS[usize::try_from(now.month - 1).unwrap_or(0) % 12];
    let weekday = DAYS[usize::try_from(now.weekday).unwrap_or(0) % 7];
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    // Longest first, so that 2006 is not read as 2 and 006.
    let parts: [(&str, String); 26] = [
        ("January", month.to_owned()),
        ("Monday", weekday.to_owned()),
        ("Z07:00", "Z".to_owned()),
        ("-07:00", "+00:00".to_owned()),
        ("Z0700", "Z".to_owned()),
        ("-0700", "+0000".to_owned()),
        ("2006", format!("{:04}", now.year)),
        ("Jan", month[..3].to_owned()),
        ("Mon", weekday[..3].to_owned()),
        ("MST", "UTC".to_owned()),
        ("-07", "+00".to_owned()),
        ("01", format!("{:02}", now.month)),
        ("02", format!("{:02}", now.day)),
        ("03", format!("{hour12:02}")),
        ("04", format!("{minute:02}")),
        ("05", format!("{second:02}")),
        ("06", format!("{:02}", now.year % 100)),
        ("15", format!("{hour:02}")),
        ("_2", format!("{:2}", now.day)),
        ("PM", if hour < 12 { "AM" } else { "PM" }.to_owned()),
        ("pm", if hour < 12 { "am" } else { "pm" }.to_owned()),
        ("1", now.month.to_string()),
        ("2", now.day.to_string()),
        ("3", hour12.to_string()),
        ("4", minute.to_string()),
        ("5", second.to_string()),
    ];
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((part, text)) = parts.iter().find(|(part, _)| rest.starts_with(part)) {
            out.push_str(text);
            rest = &rest[part.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
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
    }
}
