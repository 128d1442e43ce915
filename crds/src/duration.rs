//! Durations as they are written in specs: `90s`, `30m`, `1h30m`, `7d`.

use std::time::Duration;

/// Pattern that the API server checks, beside "not empty": no sum of it is more than Vault's clock can hold (292 years).
pub const PATTERN: &str = "^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$";

/// Why a duration could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write a number and a unit, such as 90s, 30m, 1h30m or 7d")]
pub struct ParseDurationError(String);

/// Reads a duration made of numbers with the units `s`, `m`, `h`, `d`.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError(text.to_owned());
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return Err(error()),
        };
        let number: u64 = digits.parse().map_err(|_| error())?;
        digits.clear();
        seconds = number
            .checked_mul(unit)
            .and_then(|s| seconds.checked_add(s))
            .ok_or_else(error)?;
    }
    if text.is_empty() || !digits.is_empty() {
        return Err(error());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(604_800)));
    }

    #[test]
    fn every_rule_on_a_duration_is_the_same_and_its_longest_fits_into_vaults_clock() {
        for manifest in crate::generate::manifests().unwrap() {
            let rules = manifest.yaml.matches(PATTERN).count();
            assert!(rules >= 2, "{} has {rules} rules with the pattern", manifest.file);
            assert!(!manifest.yaml.contains("[smhd]"), "{}", manifest.file);
        }
        let longest = parse("9999d999999h9999999m99999999s").unwrap();
        assert!(
            longest.as_secs() < i64::MAX.unsigned_abs() / 1_000_000_000,
            "{longest:?}"
        );
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for bad in [
            "",
            "10",
            "h",
            "1w",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
