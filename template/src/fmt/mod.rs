//! Go's package `fmt` over template values: `print`, `println`, `printf` and what an action writes.

mod float;
mod number;
mod printf;
mod quote;
mod value;

use crate::value::Value;

pub(crate) use float::format_float;
pub(crate) use printf::printf;
pub(crate) use quote::{is_print, quote};

/// No text grows larger than this, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 20;

/// A text that would grow larger than [`MAX_TEXT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text would be larger than 16 MiB")]
pub(crate) struct TooLong;

/// The flags of one verb.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Go's flags are independent of each other"
)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    plus_v: bool,
    sharp_v: bool,
}

/// Writes values as Go does.
struct Printer<'a> {
    out: &'a mut Vec<u8>,
    flags: Flags,
}

type Print = Result<(), TooLong>;

impl Printer<'_> {
    fn check(&self, more: usize) -> Print {
        if self.out.len().saturating_add(more) > MAX_TEXT {
            return Err(TooLong);
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Print {
        self.push_bytes(text.as_bytes())
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Print {
        self.check(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn padding(&mut self, count: usize) -> Print {
        self.check(count)?;
        let byte = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        self.out.extend(std::iter::repeat_n(byte, count));
        Ok(())
    }

    /// Writes a text in the width asked for, counted in characters.
    fn pad(&mut self, text: &[u8]) -> Print {
        let missing = match self.flags.width {
            None | Some(0) => return self.push_bytes(text),
            Some(width) => width.saturating_sub(count_runes(text)),
        };
        if self.flags.minus {
            self.push_bytes(text)?;
            self.padding(missing)
        } else {
            self.padding(missing)?;
            self.push_bytes(text)
        }
    }

    /// As [`pad`](Self::pad), never with zeros.
    fn pad_with_spaces(&mut self, text: &[u8]) -> Print {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        let result = self.pad(text);
        self.flags.zero = zero;
        result
    }
}

/// The number of characters, each byte that is none counted as one.
pub(crate) fn count_runes(text: &[u8]) -> usize {
    text.utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
        .sum()
}

/// `fmt.Sprint`: blanks only between operands of which neither is a string.
pub(crate) fn sprint(values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::new();
    let mut printer = Printer {
        out: &mut out,
        flags: Flags::default(),
    };
    let mut after_string = false;
    for (position, value) in values.iter().enumerate() {
        let is_string = value.string_kind().is_some();
        if position > 0 && !is_string && !after_string {
            printer.push(" ")?;
        }
        printer.argument(value, 'v')?;
        after_string = is_string;
    }
    Ok(out)
}

/// `fmt.Sprintln`
pub(crate) fn sprintln(values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::new();
    let mut printer = Printer {
        out: &mut out,
        flags: Flags::default(),
    };
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            printer.push(" ")?;
        }
        printer.argument(value, 'v')?;
    }
    printer.push("\n")?;
    Ok(out)
}

/// Appends what an action writes.
pub(crate) fn print(out: &mut Vec<u8>, value: &Value) -> Result<(), TooLong> {
    match value {
        Value::Str(text) | Value::Number(text) => {
            if out.len().saturating_add(text.len()) > MAX_TEXT {
                return Err(TooLong);
            }
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        Value::Absent | Value::Null => {
            out.extend_from_slice(b"<no value>");
            Ok(())
        }
        other => Printer {
            out,
            flags: Flags::default(),
        }
        .printed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn print_puts_blanks_between_what_are_no_strings() {
        let values = [
            Value::Int(1),
            Value::Int(2),
            Value::str("a"),
            Value::Int(3),
            Value::Null,
        ];
        assert_eq!(sprint(&values).unwrap(), b"1 2a3 <nil>", "Go's fmt.Sprint");
        assert_eq!(
            sprintln(&values).unwrap(),
            b"1 2 a 3 <nil>\n",
            "Go's fmt.Sprintln"
        );
    }

    #[test]
    fn a_list_that_holds_itself_twice_at_each_level_is_too_long_and_not_endless() {
        let mut value = Value::str("x");
        for _ in 0..100 {
            value = Value::list(vec![value.clone(), value]).unwrap();
        }
        assert!(sprint(&[value]).is_err(), "2^100 letters do not fit");
    }
}
