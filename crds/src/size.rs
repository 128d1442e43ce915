//! Sizes as Kubernetes writes them, as far as our specs take them: a whole number and a unit.

/// The bytes of a size such as `100Mi` or `10G`. None: it is no such size, or too large to count.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)? {
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_plain.then_some(())?;
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        assert_eq!(bytes("100Mi"), Some(104_857_600));
        assert_eq!(bytes("10Gi"), Some(10_737_418_240));
        assert_eq!(bytes("1T"), Some(1_000_000_000_000));
        for wrong in [
            "",
            "Mi",
            "100",
            "-1Mi",
            "+1Mi",
            "1.5Gi",
            "1 Gi",
            "1Ki",
            "99999999999999Ti",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
