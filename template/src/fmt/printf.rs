//! `printf`: reads the format.

use super::{Flags, Print, Printer, TooLong};
use crate::value::Value;

/// Neither a width nor a precision is larger than this.
const MAX_NUMBER: usize = 1_000_000;

/// `fmt.Sprintf`
pub(crate) fn printf(format: &[u8], values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::new();
    let mut reader = Reader {
        format,
        at: 0,
        values,
        next: 0,
        reordered: false,
        good_number: true,
    };
    let mut printer = Printer {
        out: &mut out,
        flags: Flags::default(),
    };
    while reader.at < format.len() {
        let rest = &format[reader.at..];
        let plain = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
        printer.push_bytes(&rest[..plain])?;
        reader.at += plain + 1;
        if plain < rest.len() {
            reader.good_number = true;
            printer.flags = Flags::default();
            reader.verb(&mut printer)?;
        }
    }
    if !reader.reordered && reader.next < values.len() {
        printer.flags = Flags::default();
        printer.push("%!(EXTRA ")?;
        for (position, value) in values[reader.next..].iter().enumerate() {
            if position > 0 {
                printer.push(", ")?;
            }
            if let Value::Absent | Value::Null = value {
                printer.push("<nil>")?;
            } else {
                printer.push(value.type_name())?;
                printer.push("=")?;
                printer.argument(value, 'v')?;
            }
        }
        printer.push(")")?;
    }
    Ok(out)
}

struct Reader<'a> {
    format: &'a [u8],
    at: usize,
    values: &'a [Value],
    /// The argument that the next verb takes.
    next: usize,
    /// Whether an index such as `%[1]d` was used.
    reordered: bool,
    /// Whether the index of this verb is one.
    good_number: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Everything behind one `%`.
    fn verb(&mut self, printer: &mut Printer<'_>) -> Print {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => printer.flags.sharp = true,
                b'0' => printer.flags.zero = true,
                b'+' => printer.flags.plus = true,
                b'-' => printer.flags.minus = true,
                b' ' => printer.flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.number_argument() {
                None => printer.push("%!(BADWIDTH)")?,
                Some(width) => {
                    printer.flags.width = Some(width.unsigned_abs());
                    if width < 0 {
                        printer.flags.minus = true;
                        printer.flags.zero = false;
                    }
                }
            }
            after_index = false;
        } else {
            printer.flags.width = self.number();
            if after_index && printer.flags.width.is_some() {
                self.good_number = false;
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_index {
                self.good_number = false;
            }
            after_index = self.index();
            if self.peek() == Some(b'*') {
                self.at += 1;
                printer.flags.precision = self
                    .number_argument()
                    .and_then(|count| usize::try_from(count).ok());
                if printer.flags.precision.is_none() {
                    printer.push("%!(BADPREC)")?;
                }
                after_index = false;
            } else {
                printer.flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        let Some(verb) = self.letter() else {
            return printer.push("%!(NOVERB)");
        };
        self.write(printer, verb)
    }

    fn write(&mut self, printer: &mut Printer<'_>, verb: char) -> Print {
        if verb == '%' {
            return printer.push("%");
        }
        let problem = if !self.good_number {
            "(BADINDEX)"
        } else if self.next >= self.values.len() {
            "(MISSING)"
        } else {
            ""
        };
        if !problem.is_empty() {
            printer.push("%!")?;
            printer.push(verb.encode_utf8(&mut [0; 4]))?;
            return printer.push(problem);
        }
        if verb == 'v' {
            printer.flags.sharp_v = std::mem::take(&mut printer.flags.sharp);
            printer.flags.plus_v = std::mem::take(&mut printer.flags.plus);
        }
        let value = &self.values[self.next];
        self.next += 1;
        printer.argument(value, verb)
    }

    fn letter(&mut self) -> Option<char> {
        let rest = self.format.get(self.at..)?;
        let chunk = rest.utf8_chunks().next()?;
        let Some(letter) = chunk.valid().chars().next() else {
            self.at += 1;
            return Some(char::REPLACEMENT_CHARACTER);
        };
        self.at += letter.len_utf8();
        Some(letter)
    }

    /// A number in the format; one that is too large ends the format, as in Go.
    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let value = number.unwrap_or(0);
            if value > MAX_NUMBER {
                self.at = self.format.len();
                return None;
            }
            number = Some(value * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        number
    }

    /// The argument behind a `*`.
    fn number_argument(&mut self) -> Option<isize> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = match (value.int_kind(), value.uint_kind()) {
            (Some(number), _) => isize::try_from(number).ok(),
            (None, Some(number)) => isize::try_from(number).ok(),
            (None, None) => None,
        };
        number.filter(|number| number.unsigned_abs() <= MAX_NUMBER)
    }

    /// An index such as `[2]`. Returns whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let closing = rest
            .iter()
            .position(|byte| *byte == b']')
            .filter(|_| rest.len() >= 3);
        let Some(closing) = closing else {
            self.at += 1;
            self.good_number = false;
            return false;
        };
        let text = std::str::from_utf8(&rest[1..closing]).unwrap_or_default();
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain { text.parse::<usize>().ok() } else { None };
        self.at += closing + 1;
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < self.values.len() => {
                self.next = index;
                true
            }
            _ => {
                self.good_number = false;
                number.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: &str, values: &[Value]) -> String {
        String::from_utf8(printf(format.as_bytes(), values).unwrap()).unwrap()
    }

    #[test]
    fn verbs_and_flags_are_gos() {
        let (s, n) = (Value::str("hé"), Value::Number("12".into()));
        let list = Value::strings(["a", "b"]);
        for (format, values, expected) in [
            (
                "%s|%q|%x|%X|% x|%#x",
                vec![s.clone(); 6],
                "hé|\"hé\"|68c3a9|68C3A9|68 c3 a9|0x68c3a9",
            ),
            ("%5s|%-5s|%05s|%.1s", vec![s.clone(); 4], "   hé|hé   |000hé|h"),
            (
                "%d|%+d|%05d|%-5d|%x|%#x|%o|%O|%b|%c|%q|%U",
                vec![Value::Int(65); 12],
                "65|+65|00065|65   |41|0x41|101|0o101|1000001|A|'A'|U+0041",
            ),
            (
                "%d %s %v",
                vec![s.clone(), Value::Int(3), n.clone()],
                "%!d(string=hé) %!s(int=3) 12",
            ),
            (
                "%d|%s|%q",
                vec![n.clone(), n.clone(), n],
                "%!d(json.Number=12)|12|\"12\"",
            ),
            ("%d", vec![], "%!d(MISSING)"),
            ("%", vec![], "%!(NOVERB)"),
            (
                "a",
                vec![Value::Int(1), Value::Null, s.clone()],
                "a%!(EXTRA int=1, <nil>, string=hé)",
            ),
            ("%[2]d %[1]s", vec![s.clone(), Value::Int(7)], "7 hé"),
            ("%[3]d", vec![s.clone()], "%!d(BADINDEX)"),
            (
                "%*d|%-*d|",
                vec![Value::Int(4), Value::Int(1), Value::Int(4), Value::Int(2)],
                "   1|2   |",
            ),
            ("%.*f", vec![Value::Int(2), Value::Float(1.0)], "1.00"),
            ("%*d", vec![s.clone(), Value::Int(1)], "%!(BADWIDTH)1"),
            ("%v %d %s", vec![Value::Null; 3], "<nil> %!d(<nil>) %!s(<nil>)"),
            (
                "%v|%s|%q|%#v|%d",
                vec![list; 5],
                "[a b]|[a b]|[\"a\" \"b\"]|[]string{\"a\", \"b\"}|[%!d(string=a) %!d(string=b)]",
            ),
            (
                "%T %T %T",
                vec![s, Value::Int64(1), Value::map([])],
                "string int64 map[string]interface {}",
            ),
            ("%t %v %5t", vec![Value::Bool(true); 3], "true true  true"),
            (
                "%f %.1f %8.2f %-8.2f| %08.3f %e %g %G",
                vec![Value::Float(1.5); 8],
                "1.500000 1.5     1.50 1.50    | 0001.500 1.500000e+00 1.5 1.5",
            ),
            (
                "%+v %+.2f % d",
                vec![Value::Float(1.5), Value::Float(2.0), Value::Int(5)],
                "1.5 +2.00  5",
            ),
            ("%%|%5%", vec![], "%|%"),
            ("%z", vec![Value::Int(1)], "%!z(int=1)"),
            ("%x", vec![Value::Int(-255)], "-ff"),
        ] {
            assert_eq!(text(format, &values), expected, "{format}");
        }
    }

    #[test]
    fn a_width_cannot_take_all_memory() {
        assert!(
            printf(b"%1000000d", &[Value::Int(1)]).is_ok(),
            "Go's largest width"
        );
        let format = "%1000000d".repeat(20);
        assert!(
            printf(format.as_bytes(), &vec![Value::Int(1); 20]).is_err(),
            "20 MB are too much"
        );
    }
}
