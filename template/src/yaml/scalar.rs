//! How a text may stand in YAML, and what YAML 1.1 would take it for.

use crate::value::Value;

/// In which ways a text may be written.
#[expect(clippy::struct_excessive_bools, reason = "four questions with four answers")]
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) plain: bool,
    pub(super) single_quoted: bool,
    pub(super) block: bool,
}

fn is_blank(c: Option<char>) -> bool {
    matches!(c, Some(' ' | '\t'))
}

/// What yaml.v2 takes for a break of a line.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What yaml.v2 writes as it is: letters of four bytes are not among it.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

pub(super) fn analyse(text: &str) -> Analysis {
    if text.is_empty() {
        return Analysis {
            multiline: false,
            plain: true,
            single_quoted: true,
            block: false,
        };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut line_breaks, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut after_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let before_blank = chars.peek().is_none() || is_blank(chars.peek().copied());
        indicators |= match c {
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            '#' => first || after_blank,
            ':' => before_blank,
            '?' | '-' => first && before_blank,
            _ => false,
        };
        special |= !is_printable(c);
        if c == ' ' {
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(c) {
            line_breaks = true;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        after_blank = is_blank(Some(c)) || is_break(c) || c == '\0';
        first = false;
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
    let leading = edge(text.chars().next());
    let trailing = edge(text.chars().next_back());
    Analysis {
        multiline: line_breaks,
        plain: !(leading || trailing || break_space || space_break || special || line_breaks || indicators),
        single_quoted: !(break_space || space_break || special),
        block: !(text.ends_with(' ') || space_break || special),
    }
}

/// What a plain text is read as by YAML 1.1, in the way of yaml.v2. Times stay texts.
pub(super) fn value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.chars().next() {
        Some('.') => float(text).map_or_else(|| Value::str(text), Value::Float),
        Some('0'..='9' | '+' | '-') => number(text).unwrap_or_else(|| Value::str(text)),
        _ => Value::str(text),
    }
}

/// Whether a plain text would be read as something else than a text.
pub(super) fn is_other(text: &str) -> bool {
    is_time(text) || !matches!(value(text), Value::Str(_))
}

fn float(text: &str) -> Option<f64> {
    crate::syntax_float(text).filter(|value| value.is_finite())
}

fn number(text: &str) -> Option<Value> {
    if is_time(text) {
        return None;
    }
    let plain = text.replace('_', "");
    if let Some(int) = crate::syntax_integer(&plain) {
        return Some(Value::Int(int));
    }
    if let Ok(uint) = plain.parse::<u64>()
        && !plain.starts_with('+')
    {
        return Some(Value::Uint64(uint));
    }
    if is_yaml_float(&plain) {
        return float(&plain).map(Value::Float);
    }
    None
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    exponent_fits && has_digits && digits(whole) && digits(fraction)
}

/// Whether yaml.v2 reads a text as a time.
fn is_time(text: &str) -> bool {
    let Some((year, rest)) = text.split_once('-') else {
        return false;
    };
    let digits = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some((month, rest)) = rest.split_once('-') else {
        return false;
    };
    let day_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, clock) = rest.split_at(day_end);
    let within = |text: &str, least: u32, most: u32| {
        digits(text, 1, 2)
            && text
                .parse::<u32>()
                .is_ok_and(|value| (least..=most).contains(&value))
    };
    if !digits(year, 4, 4) || !within(month, 1, 12) || !within(day, 1, 31) {
        return false;
    }
    let (Ok(year), Ok(month), Ok(day)) = (year.parse::<u32>(), month.parse::<u32>(), day.parse::<u32>())
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > longest {
        return false;
    }
    match clock.chars().next() {
        None => true,
        Some('T' | 't') => {
            let zone_at = clock[1..].find(['Z', '+', '-']).map(|at| at + 1);
            let Some(zone_at) = zone_at else { return false };
            let zone = &clock[zone_at..];
            let zone_fits = zone == "Z"
                || (zone.len() == 6
                    && zone.as_bytes()[3] == b':'
                    && digits(&zone[1..3], 2, 2)
                    && digits(&zone[4..], 2, 2));
            zone_fits && is_clock(&clock[1..zone_at])
        }
        Some(' ') => is_clock(&clock[1..]),
        Some(_) => false,
    }
}

/// `15:4:5.999`
fn is_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let parts: Vec<&str> = whole.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else {
        return false;
    };
    let below = |text: &str, end: u32| {
        !text.is_empty()
            && text.len() <= 2
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|value| value < end)
    };
    let fraction_fits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    hour.len() == 2 && below(hour, 24) && below(minute, 60) && below(second, 60) && fraction_fits
}

/// Sexagesimal numbers (`1:30`), which yaml.v2 quotes though it does not read them.
pub(super) fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let whole = parts.next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !whole.starts_with(|c: char| c.is_ascii_digit()) || !digits(whole) {
        return false;
    }
    let mut rest: Vec<&str> = parts.collect();
    let Some(last) = rest.pop() else { return false };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    let sixty = |text: &str| match text.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
        _ => false,
    };
    sixty(last) && digits(fraction) && rest.into_iter().all(sixty)
}
