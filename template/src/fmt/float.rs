//! Floats as Go's `strconv.FormatFloat` writes them.

use std::fmt::Write as _;

/// No float has more digits behind its point that are not zero. (Rust's formatting panics from 65,536 on.)
const MAX_DIGITS: usize = 1100;

/// The digits of a float without its sign: `0.d1d2d3… * 10^point`.
struct Digits {
    digits: String,
    point: i32,
}

fn digits(value: f64, precision: Option<usize>) -> Digits {
    let text = match precision {
        None => format!("{:e}", value.abs()),
        Some(count) => format!("{:.*e}", count.min(MAX_DIGITS), value.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = digits.trim_end_matches('0').to_owned();
    if digits.is_empty() {
        return Digits { digits, point: 0 };
    }
    Digits {
        digits,
        point: exponent.parse::<i32>().unwrap_or(0) + 1,
    }
}

/// Formats a float by one of the verbs `b`, `e`, `E`, `f`, `g`, `G`, `x`, `X`; without a precision with as few digits as
/// tell it from its neighbours.
pub(crate) fn format_float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let body = match verb {
        'e' | 'E' => {
            let found = match precision {
                None => digits(value, None),
                Some(count) => digits(value, Some(count)),
            };
            let count = precision.unwrap_or_else(|| found.digits.len().saturating_sub(1));
            exponent_form(&found, count, verb)
        }
        'g' | 'G' => general(value, precision, if verb == 'g' { 'e' } else { 'E' }),
        'b' => binary(value),
        'x' | 'X' => hexadecimal(value, precision, verb),
        _ => match precision {
            Some(count) => {
                let mut text = format!("{:.*}", count.min(MAX_DIGITS), value.abs());
                text.extend(std::iter::repeat_n('0', count.saturating_sub(MAX_DIGITS)));
                text
            }
            None => format!("{}", value.abs()),
        },
    };
    format!("{sign}{body}")
}

/// `%e` below 1e-4 and from the precision on (21 digits never matter here: without a precision it is 6), else `%f`.
fn general(value: f64, precision: Option<usize>, letter: char) -> String {
    // A precision of 0 counts as 1.
    let wanted = precision.map(|count| count.max(1));
    let found = digits(value, wanted.map(|count| count - 1));
    let count = found.digits.len();
    let point = usize::try_from(found.point).unwrap_or(0);
    let mut threshold = wanted.unwrap_or(6);
    if wanted.is_some() && threshold > count && count >= point {
        threshold = count;
    }
    let exponent = if found.digits.is_empty() {
        0
    } else {
        found.point - 1
    };
    if exponent < -4 || exponent >= i32::try_from(threshold).unwrap_or(i32::MAX) {
        let shown = wanted.unwrap_or(count).min(count);
        return exponent_form(&found, shown.saturating_sub(1), letter);
    }
    plain_form(&found)
}

fn exponent_form(found: &Digits, after_point: usize, letter: char) -> String {
    let mut all = found.digits.clone();
    if all.is_empty() {
        all.push('0');
    }
    let exponent = if found.digits.is_empty() {
        0
    } else {
        found.point - 1
    };
    let (first, rest) = all.split_at(1);
    let mut out = first.to_owned();
    if after_point > 0 {
        out.push('.');
        out.push_str(rest);
        out.extend(std::iter::repeat_n('0', after_point.saturating_sub(rest.len())));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "{letter}{sign}{:02}", exponent.abs());
    out
}

fn plain_form(found: &Digits) -> String {
    let Digits { digits, point } = found;
    match usize::try_from(*point) {
        Ok(point) if point > 0 => {
            let whole: String = digits.chars().chain(std::iter::repeat('0')).take(point).collect();
            match digits.get(point..) {
                Some(rest) if !rest.is_empty() => format!("{whole}.{rest}"),
                _ => whole,
            }
        }
        _ if digits.is_empty() => "0".to_owned(),
        _ => {
            let zeros = "0".repeat(usize::try_from(-point).unwrap_or(0));
            format!("0.{zeros}{digits}")
        }
    }
}

/// The mantissa (52 bits and the hidden one) and the exponent of 2.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    if exponent == 0 {
        (mantissa, -1074)
    } else {
        (mantissa | 1 << 52, exponent - 1075)
    }
}

/// `%b`: a whole mantissa and an exponent of 2.
fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    let sign = if exponent >= 0 { "+" } else { "" };
    format!("{mantissa}p{sign}{exponent}")
}

/// `%x`: one hexadecimal digit, a fraction, an exponent of 2.
fn hexadecimal(value: f64, precision: Option<usize>, verb: char) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // 1.fraction, with 60 bits behind the point.
        exponent += 52;
        mantissa <<= 8;
        while mantissa & (1 << 60) == 0 {
            mantissa <<= 1;
            exponent -= 1;
        }
    }
    if let Some(count) = precision
        && count < 15
    {
        let shift = u32::try_from(count * 4).unwrap_or(0);
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let first = (mantissa >> 60) & 1;
    let fraction = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_owned(),
        Some(count) => fraction
            .chars()
            .chain(std::iter::repeat('0'))
            .take(count)
            .collect(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("0x{first}{point}{fraction}p{sign}{:02}", exponent.abs());
    if verb == 'X' { text.to_uppercase() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_does() {
        for (value, verb, precision, expected) in [
            (12_345_678.0, 'g', None, "1.2345678e+07"),
            (123_456.0, 'g', None, "123456"),
            (1e6, 'g', None, "1e+06"),
            (1e20, 'g', None, "1e+20"),
            (0.0001, 'g', None, "0.0001"),
            (0.000_01, 'g', None, "1e-05"),
            (0.0, 'g', None, "0"),
            (-0.0, 'g', None, "-0"),
            (1.5, 'g', Some(3), "1.5"),
            (1234.5678, 'g', Some(3), "1.23e+03"),
            (1234.0, 'g', Some(6), "1234"),
            (100_000.0, 'g', Some(3), "1e+05"),
            (1.0, 'e', None, "1e+00"),
            (1.0, 'e', Some(3), "1.000e+00"),
            (0.0, 'e', Some(2), "0.00e+00"),
            (1234.5678, 'E', Some(2), "1.23E+03"),
            (2.5, 'f', Some(0), "2"),
            (3.5, 'f', Some(0), "4"),
            (1.005, 'f', Some(2), "1.00"),
            (1e21, 'f', None, "1000000000000000000000"),
            (1.0, 'b', None, "4503599627370496p-52"),
            (1.0, 'x', None, "0x1p+00"),
            (0.1, 'x', None, "0x1.999999999999ap-04"),
            (0.1, 'x', Some(3), "0x1.99ap-04"),
            (f64::NAN, 'g', None, "NaN"),
            (f64::NEG_INFINITY, 'g', None, "-Inf"),
        ] {
            assert_eq!(
                format_float(value, verb, precision),
                expected,
                "{value} by {verb}"
            );
        }
        for verb in ['e', 'f', 'g', 'x'] {
            let text = format_float(0.1, verb, Some(1_000_000));
            assert!(
                text.len() <= 1_000_010,
                "the largest precision of Go's: {} by {verb}",
                text.len()
            );
        }
    }
}
