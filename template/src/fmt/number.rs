//! Integers and floats by a verb.

use super::{Flags, Print, Printer, format_float};
use crate::fmt::quote::{append_escaped, is_print};

/// The character of a code point; what is none becomes U+FFFD.
fn rune(code: u64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

impl Printer<'_> {
    /// An integer as its size and its sign. Returns whether there is such a verb.
    pub(super) fn integer(
        &mut self,
        size: u64,
        negative: bool,
        signed: bool,
        verb: char,
    ) -> Result<bool, super::TooLong> {
        let code = if negative { u64::MAX } else { size };
        match verb {
            'v' if self.flags.sharp_v && !signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                let result = self.based(size, negative, 16, verb);
                self.flags.sharp = sharp;
                result?;
            }
            'v' | 'd' => self.based(size, negative, 10, verb)?,
            'b' => self.based(size, negative, 2, verb)?,
            'o' | 'O' => self.based(size, negative, 8, verb)?,
            'x' | 'X' => self.based(size, negative, 16, verb)?,
            'c' => {
                let text = rune(code).to_string();
                self.pad(text.as_bytes())?;
            }
            'q' => {
                let mut text = "'".to_owned();
                append_escaped(&mut text, rune(code), '\'', self.flags.plus);
                text.push('\'');
                self.pad(text.as_bytes())?;
            }
            'U' => {
                let size = if negative { size.wrapping_neg() } else { size };
                self.code_point(size)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn based(&mut self, size: u64, negative: bool, base: u32, verb: char) -> Print {
        let Flags {
            width,
            precision,
            minus,
            plus,
            sharp,
            space,
            zero,
            ..
        } = self.flags;
        let least = match precision {
            Some(0) if size == 0 => return self.pad_with_spaces(b""),
            Some(precision) => precision,
            None if zero && !minus => {
                let sign = usize::from(negative || plus || space);
                width.unwrap_or(0).saturating_sub(sign)
            }
            None => 0,
        };
        self.check(least)?;
        let digits = match base {
            2 => format!("{size:b}"),
            8 => format!("{size:o}"),
            16 if verb == 'X' => format!("{size:X}"),
            16 => format!("{size:x}"),
            _ => size.to_string(),
        };
        let mut text = String::new();
        if negative {
            text.push('-');
        } else if plus {
            text.push('+');
        } else if space {
            text.push(' ');
        }
        if verb == 'O' {
            text.push_str("0o");
        }
        let zeros = least.saturating_sub(digits.len());
        if sharp {
            match base {
                2 => text.push_str("0b"),
                8 if zeros == 0 && !digits.starts_with('0') => text.push('0'),
                16 => text.push_str(if verb == 'X' { "0X" } else { "0x" }),
                _ => {}
            }
        }
        text.extend(std::iter::repeat_n('0', zeros));
        text.push_str(&digits);
        self.pad_with_spaces(text.as_bytes())
    }

    /// `%U`
    fn code_point(&mut self, code: u64) -> Print {
        let digits = self.flags.precision.unwrap_or(4).max(4);
        self.check(digits)?;
        let hex = format!("{code:X}");
        let mut text = "U+".to_owned();
        text.extend(std::iter::repeat_n('0', digits.saturating_sub(hex.len())));
        text.push_str(&hex);
        let character = u32::try_from(code).ok().and_then(char::from_u32);
        if let Some(c) = character
            && self.flags.sharp
            && is_print(c)
        {
            text.push_str(" '");
            text.push(c);
            text.push('\'');
        }
        self.pad_with_spaces(text.as_bytes())
    }

    /// A float. Returns whether there is such a verb.
    pub(super) fn float(&mut self, value: f64, verb: char) -> Result<bool, super::TooLong> {
        let (letter, default) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return Ok(false),
        };
        let precision = self.flags.precision.or(default);
        self.check(precision.unwrap_or(0))?;
        let mut text = format_float(value, letter, precision);
        if !text.starts_with(['-', '+']) {
            text.insert(0, '+');
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(..1, " ");
        }
        if !value.is_finite() {
            if value.is_nan() && !self.flags.space && !self.flags.plus {
                text.remove(0);
            }
            self.pad_with_spaces(text.as_bytes())?;
            return Ok(true);
        }
        if self.flags.sharp && letter != 'b' {
            text = with_point(&text, letter, precision);
        }
        if self.flags.plus || !text.starts_with('+') {
            let width = self.flags.width.unwrap_or(0);
            if self.flags.zero && !self.flags.minus && width > text.len() {
                let (sign, rest) = text.split_at(1);
                self.push(sign)?;
                self.padding(width - text.len())?;
                self.push(rest)?;
            } else {
                self.pad(text.as_bytes())?;
            }
        } else {
            self.pad(&text.as_bytes()[1..])?;
        }
        Ok(true)
    }
}

/// The flag `#`: a decimal point always, and for `%g` no trailing zeros removed.
fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let mut digits = match verb {
        'g' | 'G' | 'x' => i64::try_from(precision.unwrap_or(6)).unwrap_or(6),
        _ => 0,
    };
    let is_hex = matches!(verb, 'x' | 'X');
    let tail_at = text
        .find(|c| matches!(c, 'p' | 'P') || (!is_hex && matches!(c, 'e' | 'E')))
        .unwrap_or(text.len());
    let (head, tail) = text.split_at(tail_at);
    let mut head = head.to_owned();
    let mut seen = false;
    for c in head.chars().skip(1).filter(|c| *c != '.') {
        seen |= c != '0';
        if seen {
            digits -= 1;
        }
    }
    if !head.contains('.') {
        if head.len() == 2 && head.ends_with('0') {
            digits -= 1;
        }
        head.push('.');
    }
    head.extend(std::iter::repeat_n('0', usize::try_from(digits).unwrap_or(0)));
    head.push_str(tail);
    head
}
