//! Go's literals: quoted strings, characters, numbers.

/// A number in every kind that can hold it, as Go's ideal constants.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    /// Whether it is written as a float or as something else.
    pub(crate) is_float: bool,
    /// As it was written.
    pub(crate) text: Box<str>,
}

/// The bytes of a string literal, quotes included; `None` when it is not valid.
pub(super) fn unquote(literal: &str) -> Option<Vec<u8>> {
    let quote = literal.chars().next()?;
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(inner.bytes().filter(|byte| *byte != b'\r').collect());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (part, after) = unquote_one(rest, quote)?;
        match part {
            Part::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Part::Byte(byte) => out.push(byte),
        }
        rest = after;
    }
    Some(out)
}

enum Part {
    Char(char),
    /// `\x` and octal escapes are bytes.
    Byte(u8),
}

/// The first character of a text, its escape resolved, and the rest.
fn unquote_one(text: &str, quote: char) -> Option<(Part, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == quote || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Part::Char(first), chars.as_str()));
    }
    let letter = chars.next()?;
    let rest = chars.as_str();
    let digits = |count: usize, radix: u32| -> Option<(u32, &str)> {
        let digits = rest.get(..count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        Some((u32::from_str_radix(digits, radix).ok()?, rest.get(count..)?))
    };
    let simple = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        '\'' | '"' if letter == quote => letter,
        'x' => {
            let (code, rest) = digits(2, 16)?;
            return Some((Part::Byte(u8::try_from(code).ok()?), rest));
        }
        'u' | 'U' => {
            let (code, rest) = digits(if letter == 'u' { 4 } else { 8 }, 16)?;
            return Some((Part::Char(char::from_u32(code)?), rest));
        }
        '0'..='7' => {
            let octal = text.get(1..4)?;
            if !octal.chars().all(|c| c.is_digit(8)) {
                return None;
            }
            let code = u32::from_str_radix(octal, 8).ok()?;
            return Some((Part::Byte(u8::try_from(code).ok()?), text.get(4..)?));
        }
        _ => return None,
    };
    Some((Part::Char(simple), rest))
}

/// A character constant, quotes included.
pub(super) fn character(literal: &str) -> Result<Number, String> {
    let inner = literal.get(1..).unwrap_or_default();
    let malformed = || format!("malformed character constant: {literal}");
    let (part, rest) = unquote_one(inner, '\'').ok_or_else(malformed)?;
    if rest != "'" {
        return Err(malformed());
    }
    let code = match part {
        Part::Char(c) => u32::from(c),
        Part::Byte(byte) => u32::from(byte),
    };
    Ok(Number {
        int: Some(i64::from(code)),
        uint: Some(u64::from(code)),
        float: Some(f64::from(code)),
        is_float: false,
        text: literal.into(),
    })
}

/// Splits a sign and a base off: `-0x1F` is (true, 16, "1F"). Underscores are gone from the digits.
fn integer_parts(text: &str) -> Option<(bool, u32, String)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !underscores_fit(unsigned) {
        return None;
    }
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    Some((negative, base, digits))
}

/// Underscores only between digits, or between the base and the first digit.
fn underscores_fit(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let mut before = '^';
    let mut chars = text.chars().peekable();
    let mut hex = false;
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("0x") || lower.starts_with("0o") || lower.starts_with("0b") {
        hex = lower.starts_with("0x");
        chars.next();
        chars.next();
        before = '0';
    }
    for c in chars {
        let digit = c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
        if digit {
            before = '0';
        } else if c == '_' {
            if before != '0' {
                return false;
            }
            before = '_';
        } else {
            if before == '_' {
                return false;
            }
            before = '!';
        }
    }
    before != '_'
}

/// An integer as Go's `strconv.ParseInt` reads it with base 0: `0x1F`, `0b1`, `017`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (negative, base, digits) = integer_parts(text)?;
    let wide = i128::from(u64::from_str_radix(&digits, base).ok()?);
    i64::try_from(if negative { -wide } else { wide }).ok()
}

/// A float as Go's `strconv.ParseFloat` reads it; infinite when it is out of range.
pub(crate) fn float(text: &str) -> Option<f64> {
    if text.contains('_') {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        return underscores_fit(unsigned)
            .then(|| float(&text.replace('_', "")))
            .flatten();
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        let value = hex_float(&hex.replace('_', ""))?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    if matches!(lower.as_str(), "inf" | "infinity" | "nan") {
        return lower
            .parse::<f64>()
            .ok()
            .map(|value| if text.starts_with('-') { -value } else { value });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.parse().ok()
}

/// `1.8p3`, without its `0x`.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = exponent.saturating_sub(i32::try_from(fraction.len()).ok()?.saturating_mul(4));
    // Two steps: the power alone may be too large or too small where the product is not.
    let half = shift.clamp(-4000, 4000) / 2;
    let rest = shift.clamp(-4000, 4000) - half;
    Some(value * 2.0_f64.powi(half) * 2.0_f64.powi(rest))
}

/// A number literal.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "Go converts and compares in the same way to see whether a float is whole"
)]
pub(super) fn number(text: &str) -> Result<Number, String> {
    if text.ends_with('i') {
        return Err(format!("complex numbers are not offered: {text}"));
    }
    let mut out = Number {
        int: None,
        uint: None,
        float: None,
        is_float: false,
        text: text.into(),
    };
    let has_float_mark = text.contains(['.', 'e', 'E', 'p', 'P']);
    if let Some((negative, base, digits)) = integer_parts(text) {
        let size = u64::from_str_radix(&digits, base).ok();
        let signed = text.starts_with(['-', '+']);
        out.uint = size.filter(|_| !signed);
        out.int = size.and_then(|size| {
            let wide = i128::from(size);
            i64::try_from(if negative { -wide } else { wide }).ok()
        });
        if out.int == Some(0) {
            out.uint = Some(0);
        }
        out.float = out.int.map(|int| int as f64).or(out.uint.map(|uint| uint as f64));
    }
    if out.float.is_none() {
        let Some(value) = float(text) else {
            return Err(format!("illegal number syntax: {text:?}"));
        };
        if !value.is_finite() {
            return Err(format!("illegal number syntax: {text:?}"));
        }
        if !has_float_mark {
            return Err(format!("integer overflow: {text:?}"));
        }
        out.float = Some(value);
        if value.abs() < 9.3e18 && (value as i64) as f64 == value {
            out.int = Some(value as i64);
        }
        if (0.0..1.85e19).contains(&value) && (value as u64) as f64 == value {
            out.uint = Some(value as u64);
        }
    }
    let is_hex_int = text.len() > 2
        && text.starts_with('0')
        && text[1..].starts_with(['x', 'X'])
        && !text.contains(['p', 'P']);
    out.is_float = !is_hex_int && has_float_mark;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, int, float) in [
            ("12", Some(12), false),
            ("-0x1F", Some(-31), false),
            ("0b101", Some(5), false),
            ("0o17", Some(15), false),
            ("017", Some(15), false),
            ("1_000", Some(1000), false),
            ("+5", Some(5), false),
            ("1e3", Some(1000), true),
            ("1.5", None, true),
            ("0x1p4", Some(16), true),
            ("0xE", Some(14), false),
            (".5", None, true),
            ("9223372036854775808", None, false),
        ] {
            let number = number(text).expect(text);
            assert_eq!((number.int, number.is_float), (int, float), "{text}");
        }
        for text in ["1__0", "08", "0x", "1e", "99999999999999999999", "1i", "_1", "1_"] {
            assert!(number(text).is_err(), "{text} is no number");
        }
    }

    #[test]
    fn strings_and_characters_are_read_as_go_reads_them() {
        assert_eq!(
            unquote(r#""a\tb\x41\101\u00e9\"""#).as_deref(),
            Some("a\tbAAé\"".as_bytes())
        );
        assert_eq!(
            unquote(r#""\xff""#).as_deref(),
            Some(&[0xff][..]),
            "a byte stays a byte"
        );
        assert_eq!(
            unquote("`a\\n\r`").as_deref(),
            Some(&b"a\\n"[..]),
            "raw, without carriage returns"
        );
        for text in [r#""\q""#, r#""\'""#, r#""\ud800""#, r#""\400""#] {
            assert_eq!(unquote(text), None, "{text} is no string");
        }
        assert_eq!(character("'x'").unwrap().int, Some(120));
        assert_eq!(character(r"'\n'").unwrap().int, Some(10));
        assert!(character("'xy'").is_err() && character("''").is_err());
    }
}
