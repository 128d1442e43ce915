//! How values of annotations are read. Each function answers with the value, or with what is wrong and what to write instead.

/// Reads a bool as Go's `strconv.ParseBool` does; empty is false.
pub fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "{} is neither true nor false: write \"true\" or \"false\"",
            shown(value)
        )),
    }
}

/// Reads a user or group ID.
pub fn id(value: &str) -> Result<i64, String> {
    match value.parse::<u32>() {
        Ok(id) => Ok(i64::from(id)),
        Err(_) => Err(format!(
            "{} is not an ID: write a number such as \"100\"",
            shown(value)
        )),
    }
}

/// Reads a comma-separated list. Blanks around the names are dropped.
pub fn list(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<_> = value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(
            "the list is empty: write names with commas between them, or leave the annotation out".into(),
        );
    }
    Ok(names)
}

/// Reads the mode of a file, octal with or without a leading zero.
pub fn permissions(value: &str) -> Result<String, String> {
    match u32::from_str_radix(value, 8) {
        Ok(mode) if mode <= 0o777 => Ok(value.to_owned()),
        _ => Err(format!(
            "{} is not the mode of a file: write octal digits such as \"0400\"",
            shown(value)
        )),
    }
}

/// Reads a duration as Go's `time.ParseDuration` does, or a number of seconds; it must be longer than nothing.
pub fn duration(value: &str) -> Result<String, String> {
    match measured(value) {
        Some((text, seconds)) if seconds > 0.0 => Ok(text),
        _ => Err(format!(
            "{} is not a duration: write one such as \"30s\" or \"5m\"",
            shown(value)
        )),
    }
}

/// Reads a duration of at least a second.
pub fn interval(value: &str) -> Result<String, String> {
    match measured(value) {
        Some((_, seconds)) if seconds < 1.0 => {
            Err(format!("{} is too short: write at least \"1s\"", shown(value)))
        }
        _ => duration(value),
    }
}

/// The units of a duration, in seconds.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// A duration with its unit, and how many seconds it is.
fn measured(value: &str) -> Option<(String, f64)> {
    if let Ok(seconds) = value.parse::<u32>() {
        return Some((format!("{value}s"), f64::from(seconds)));
    }
    let mut rest = value;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, tail) = rest.split_at(digits);
        let number = number.parse::<f64>().ok()?;
        let (tail, unit) = UNITS
            .iter()
            .find_map(|(unit, length)| Some((tail.strip_prefix(unit).filter(|t| unit_ends(t))?, length)))?;
        seconds += number * unit;
        rest = tail;
    }
    Some((value.to_owned(), seconds))
}

/// Reads one of a few words, in whatever case.
pub fn one_of(value: &str, words: &[&str]) -> Result<String, String> {
    if words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
        return Ok(value.to_owned());
    }
    Err(format!(
        "{} is not known: write one of {}",
        shown(value),
        words.join(", ")
    ))
}

/// Whether a unit is followed by the next number or by nothing, so that `m` is not found in `ms`.
fn unit_ends(tail: &str) -> bool {
    tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads a number between 0 and 1, both excluded.
pub fn fraction(value: &str) -> Result<serde_json::Number, String> {
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| *number > 0.0 && *number < 1.0);
    number.and_then(serde_json::Number::from_f64).ok_or_else(|| {
        format!(
            "{} is not a number between 0 and 1: write one such as \"0.9\"",
            shown(value)
        )
    })
}

/// Reads text that must not be blank.
pub fn text(value: &str) -> Result<String, String> {
    if value.trim().is_empty() {
        return Err("the value is empty: give one, or leave the annotation out".into());
    }
    Ok(value.to_owned())
}

/// Reads an absolute path inside a container and takes out `//`, `.` and a last slash.
pub fn absolute_path(value: &str) -> Result<String, String> {
    let wrong = |what: &str| {
        Err(format!(
            "{} {what}: write one such as \"/vault/secrets\"",
            shown(value)
        ))
    };
    if !value.starts_with('/') {
        return wrong("is not an absolute path");
    }
    if value.contains(':') {
        return wrong("holds a colon, which Kubernetes refuses in a mount path");
    }
    match relative(value) {
        Some(parts) if !parts.is_empty() => Ok(format!("/{parts}")),
        Some(_) => wrong("is the root folder"),
        None => wrong("holds .."),
    }
}

/// Reads the path of a file below the volume of secrets.
pub fn file_name(value: &str) -> Result<String, String> {
    match relative(value) {
        Some(name) if !name.is_empty() => Ok(name),
        Some(_) => Err("the name of the file is empty: write one such as \"config.json\"".into()),
        None => Err(format!(
            "{} leaves the volume of secrets: write a path without ..",
            shown(value)
        )),
    }
}

/// A path without leading slash, `//` and `.`; `None` when it holds `..`.
fn relative(path: &str) -> Option<String> {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// Reads a quantity of Kubernetes, such as `250m` or `64Mi`. Empty means that the field is left out.
pub fn quantity(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = value.trim_start_matches('+');
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let known = matches!(
        suffix,
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
    ) || suffix
        .strip_prefix(['e', 'E'])
        .is_some_and(|exponent| exponent.parse::<i8>().is_ok());
    if known && number.parse::<f64>().is_ok() {
        return Ok(Some(value.to_owned()));
    }
    Err(format!(
        "{} is not a quantity: write one such as \"5m\" or \"64Mi\"",
        shown(value)
    ))
}

/// A value in a message: quoted, and cut when it is long.
pub fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bools_are_those_of_go() {
        for value in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(value), Ok(true), "{value} is true in Go");
        }
        for value in ["", "0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(value), Ok(false), "{value} is false in Go");
        }
        for value in ["yes", "tRUE", " true", "on"] {
            assert!(boolean(value).is_err(), "{value} is no bool in Go");
        }
    }

    #[test]
    fn durations_are_those_of_go_or_seconds() {
        for value in ["5m", "1h30m", "250ms", "1.5s", "0h5m", "10us"] {
            assert_eq!(duration(value).as_deref(), Ok(value), "{value} is a duration");
        }
        assert_eq!(duration("30").as_deref(), Ok("30s"), "a bare number is seconds");
        for value in ["", "5 m", "m", "5x", "-5m", "0s", "0", "5m5"] {
            assert!(duration(value).is_err(), "{value} is no duration");
        }
    }

    #[test]
    fn modes_are_octal() {
        for value in ["0400", "640", "0"] {
            assert_eq!(permissions(value).as_deref(), Ok(value), "{value} is a mode");
        }
        for value in ["", "0999", "rw", "10000", "-1"] {
            assert!(permissions(value).is_err(), "{value} is no mode");
        }
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(
            file_name("a/./b//c").as_deref(),
            Ok("a/b/c"),
            "the path is cleaned"
        );
        assert_eq!(
            file_name("/a").as_deref(),
            Ok("a"),
            "a leading slash means the volume"
        );
        for value in ["", "/", "..", "a/../b", "../../etc/passwd"] {
            assert!(file_name(value).is_err(), "{value} must be refused");
        }
        assert_eq!(
            absolute_path("/vault//secrets/").as_deref(),
            Ok("/vault/secrets"),
            "the path is cleaned"
        );
        for value in ["", "/", "vault/secrets", "/a/../b", "/a:b"] {
            assert!(absolute_path(value).is_err(), "{value} must be refused");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for value in ["5m", "64Mi", "1", "0.5", "1e3", "2Gi", "1E"] {
            assert_eq!(
                quantity(value),
                Ok(Some(value.to_owned())),
                "{value} is a quantity"
            );
        }
        assert_eq!(quantity(""), Ok(None), "empty leaves the field out");
        for value in [" ", "64MB", "m", "-5m", "1.2.3", "64 Mi"] {
            assert!(quantity(value).is_err(), "{value} is no quantity");
        }
    }

    #[test]
    fn lists_and_ids_and_texts_refuse_nothing_at_all() {
        assert_eq!(
            list("a, b,").as_deref(),
            Ok(&["a".to_owned(), "b".to_owned()][..]),
            "blanks are dropped"
        );
        assert!(
            list(" , ").is_err() && text(" ").is_err() && id("").is_err(),
            "empty values are refused"
        );
        assert_eq!(id("0"), Ok(0), "root has an ID too");
        assert!(id("-1").is_err() && id("root").is_err(), "IDs are numbers from 0");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let shown = shown(&"ä".repeat(100));
        assert!(
            shown.ends_with('…') && shown.chars().count() < 70,
            "cut to 60 characters: {shown}"
        );
    }
}
