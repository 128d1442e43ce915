//! Which of two quantities of Kubernetes is larger, exactly: `1Gi` and `1073741824` are the same.

use std::cmp::Ordering;

/// Whether `one` is more than `other`. Both were read by `annotations::values::quantity`, or are defaults; of one that is
/// neither nothing is said, and the API server judges it.
pub(super) fn is_more(one: &str, other: &str) -> bool {
    match (nanos(one), nanos(other)) {
        (Some(one), Some(other)) => one.cmp(&other) == Ordering::Greater,
        _ => false,
    }
}

/// A quantity in billionths, the finest that Kubernetes keeps; it rounds up, too.
fn nanos(quantity: &str) -> Option<u128> {
    let quantity = quantity.trim_start_matches('+');
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (decimal, binary) = exponents(suffix)?;
    // Larger than anything that exists are 2^128 billionths; there is no need to tell such quantities apart.
    let scaled = digits.saturating_mul(1_u128.checked_shl(binary).unwrap_or(u128::MAX));
    let decimal = decimal + 9 - i32::try_from(fraction.len()).ok()?;
    let power = 10_u128.checked_pow(decimal.unsigned_abs());
    Some(match (decimal >= 0, power) {
        (true, power) => scaled.saturating_mul(power.unwrap_or(u128::MAX)),
        (false, Some(power)) => scaled.div_ceil(power),
        (false, None) => u128::from(scaled > 0),
    })
}

/// What a suffix multiplies by: a power of ten and one of two.
fn exponents(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (i32::from(suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?), 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        for (less, more) in [
            ("64Mi", "128Mi"),
            ("64M", "64Mi"),
            ("999m", "1"),
            ("0.5", "501m"),
            ("1023Mi", "1Gi"),
            ("1e3", "1001"),
            ("0", "1n"),
            ("8Mi", "16Mi"),
            ("1Ei", "2E"),
            ("9223372036854775807", "100e100"),
            ("0", "0.0000000000001"),
        ] {
            assert!(is_more(more, less), "{more} is more than {less}");
            assert!(!is_more(less, more), "{less} is not more than {more}");
        }
        for (one, other) in [
            ("1Gi", "1073741824"),
            ("100m", "0.1"),
            ("1e3", "1k"),
            ("+5m", "5m"),
            ("1.5Ki", "1536"),
            ("1E3", "1000"),
        ] {
            assert!(
                !is_more(one, other) && !is_more(other, one),
                "{one} and {other} are the same"
            );
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_no_quantity() {
        assert!(!is_more("much", "1") && !is_more("1", "") && !is_more("1x", "0"));
    }
}
