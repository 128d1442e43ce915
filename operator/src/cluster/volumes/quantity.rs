//! Quantities of bytes as the API server writes them, for comparing. Pure.

/// The bytes of a quantity such as `10Gi`, `1.5G`, `2e9` or `1073741824`, a part of a byte being a whole one. None: it is
/// none, it is negative, or too large to count.
pub(super) fn bytes(text: &str) -> Option<u128> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() {
        return None;
    }
    let value: u128 = digits.parse().ok()?;
    let (times, by) = scale(suffix)?;
    let by = by.checked_mul(10_u128.checked_pow(u32::try_from(part.len()).ok()?)?)?;
    Some(value.checked_mul(times)?.div_ceil(by))
}

/// What a suffix multiplies by, and what it divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1_u128 << (10 * power), 1));
    let decimal = |power: u32| Some((10_u128.checked_pow(power)?, 1));
    match suffix {
        "" => decimal(0),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            match power.strip_prefix('-') {
                Some(power) => Some((1, 10_u128.checked_pow(power.parse().ok()?)?)),
                None => decimal(power.strip_prefix('+').unwrap_or(power).parse().ok()?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_as_many_bytes_as_kubernetes_takes_it_for() {
        for (text, wanted) in [
            ("0", 0),
            ("1073741824", 1 << 30),
            ("1Gi", 1 << 30),
            ("1024Mi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("0.5Ki", 512),
            ("10G", 10_000_000_000),
            ("2e9", 2_000_000_000),
            ("2E+9", 2_000_000_000),
            ("15e-1", 2),
            ("1500m", 2),
            ("1E", 1_000_000_000_000_000_000),
            (".5k", 500),
        ] {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for wrong in [
            "", ".", "Gi", "-1Gi", "+1Gi", "1gi", "1 Gi", "1.2.3", "1e", "1e99", "1GiB",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
