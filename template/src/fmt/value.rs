//! Values by a verb, and the forms that say that a verb does not fit (`%!d(string=x)`).

use super::{Print, Printer, TooLong, quote};
use crate::fmt::quote::can_backquote;
use crate::value::{List, Map, Value};

/// What stands inside lists, maps and structs is told from what stands alone: Go prints nil and pointers in another way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Inside,
}

impl Printer<'_> {
    /// One argument of `print` or `printf`.
    pub(super) fn argument(&mut self, value: &Value, verb: char) -> Print {
        match (value, verb) {
            (Value::Absent | Value::Null, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Absent | Value::Null, _) | (_, 'p') => self.bad_verb(verb, value),
            (_, 'T') => self.string(value.type_name().as_bytes(), 's').map(|_| ()),
            _ => self.value(value, verb, Place::Alone),
        }
    }

    /// What an action writes: a pointer as what it points to.
    pub(super) fn printed(&mut self, value: &Value) -> Print {
        match value {
            Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) => self.value(value, 'v', Place::Inside),
            Value::NilPointer(_) => self.push("<nil>"),
            other => self.value(other, 'v', Place::Alone),
        }
    }

    fn bad_verb(&mut self, verb: char, value: &Value) -> Print {
        self.push("%!")?;
        self.push(verb.encode_utf8(&mut [0; 4]))?;
        self.push("(")?;
        if let Value::Absent | Value::Null = value {
            self.push("<nil>")?;
        } else {
            self.push(value.type_name())?;
            self.push("=")?;
            self.value(value, 'v', Place::Alone)?;
        }
        self.push(")")
    }

    fn value(&mut self, value: &Value, verb: char, place: Place) -> Print {
        let known = match value {
            // Inside a container it is a nil interface, for every verb.
            Value::Absent | Value::Null if self.flags.sharp_v => return self.push("interface {}(nil)"),
            Value::Absent | Value::Null => return self.push("<nil>"),
            Value::Bool(value) if matches!(verb, 't' | 'v') => {
                self.pad(if *value { b"true" } else { b"false" })?;
                true
            }
            Value::Bool(_) => false,
            Value::Int(value) | Value::Int64(value) => {
                self.integer(value.unsigned_abs(), *value < 0, true, verb)?
            }
            Value::Uint64(value) => self.integer(*value, false, false, verb)?,
            Value::Byte(value) => self.integer(u64::from(*value), false, false, verb)?,
            Value::Float(value) => self.float(*value, verb)?,
            Value::Number(text) | Value::Str(text) => self.string(text.as_bytes(), verb)?,
            Value::Bytes(bytes) => self.string(bytes, verb)?,
            Value::List(list) => return self.list(list, verb),
            Value::Map(map) => return self.map(map, verb),
            Value::Dict(dict) => return self.map(&dict.snapshot(), verb),
            Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) if place == Place::Alone => {
                self.push("&")?;
                return self.structure(value, verb);
            }
            Value::Secret(_) | Value::Auth(_) | Value::WrapInfo(_) | Value::Certificate(_) => {
                return self.structure(value, verb);
            }
            Value::NilPointer(_) if verb == 'v' && !self.flags.sharp_v => {
                self.pad(b"<nil>")?;
                true
            }
            // Addresses say nothing and differ from run to run.
            Value::NilPointer(_) | Value::Sequence(..) | Value::Scratch => {
                self.push("(")?;
                self.push(value.type_name())?;
                return self.push(")");
            }
        };
        if known { Ok(()) } else { self.bad_verb(verb, value) }
    }

    /// A string. Returns whether there is such a verb.
    fn string(&mut self, text: &[u8], verb: char) -> Result<bool, TooLong> {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text)?,
            'v' | 's' => {
                let text = self.truncated(text);
                self.pad(text)?;
            }
            'q' => self.quoted(text)?,
            'x' => self.hex(text, b"0123456789abcdefx")?,
            'X' => self.hex(text, b"0123456789ABCDEFX")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(mut left) = self.flags.precision else {
            return text;
        };
        let mut end = 0;
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                if left == 0 {
                    return &text[..end];
                }
                left -= 1;
                end += c.len_utf8();
            }
            for _ in chunk.invalid() {
                if left == 0 {
                    return &text[..end];
                }
                left -= 1;
                end += 1;
            }
        }
        text
    }

    fn quoted(&mut self, text: &[u8]) -> Print {
        let text = self.truncated(text);
        self.check(text.len())?;
        if self.flags.sharp
            && let Ok(plain) = std::str::from_utf8(text)
            && can_backquote(plain)
        {
            return self.pad(format!("`{plain}`").as_bytes());
        }
        let ascii_only = self.flags.plus;
        self.pad(quote(text, ascii_only).as_bytes())
    }

    fn hex(&mut self, text: &[u8], digits: &[u8; 17]) -> Print {
        let text = match self.flags.precision {
            Some(count) if count < text.len() => &text[..count],
            _ => text,
        };
        if text.is_empty() {
            return self.padding(self.flags.width.unwrap_or(0));
        }
        let (space, sharp) = (self.flags.space, self.flags.sharp);
        let mut out = Vec::new();
        self.check(text.len().saturating_mul(5))?;
        for (position, byte) in text.iter().enumerate() {
            if space && position > 0 {
                out.push(b' ');
            }
            if sharp && (space || position == 0) {
                out.extend([b'0', digits[16]]);
            }
            out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        let missing = self.flags.width.unwrap_or(0).saturating_sub(out.len());
        if !self.flags.minus {
            self.padding(missing)?;
        }
        self.push_bytes(&out)?;
        if self.flags.minus {
            self.padding(missing)?;
        }
        Ok(())
    }

    fn separator(&mut self, position: usize) -> Print {
        match (position, self.flags.sharp_v) {
            (0, _) => Ok(()),
            (_, true) => self.push(", "),
            (_, false) => self.push(" "),
        }
    }

    fn list(&mut self, list: &List, verb: char) -> Print {
        if self.flags.sharp_v {
            self.push(list.elements().list_name())?;
        }
        self.push(if self.flags.sharp_v { "{" } else { "[" })?;
        for (position, item) in list.items().iter().enumerate() {
            self.separator(position)?;
            self.value(item, verb, Place::Inside)?;
        }
        self.push(if self.flags.sharp_v { "}" } else { "]" })
    }

    fn map(&mut self, map: &Map, verb: char) -> Print {
        if self.flags.sharp_v {
            self.push(map.kind().map_name())?;
            self.push("{")?;
        } else {
            self.push("map[")?;
        }
        for (position, (key, value)) in map.entries().iter().enumerate() {
            self.separator(position)?;
            self.value(&key.value(), verb, Place::Inside)?;
            self.push(":")?;
            self.value(value, verb, Place::Inside)?;
        }
        self.push(if self.flags.sharp_v { "}" } else { "]" })
    }

    /// A struct: its fields between braces.
    fn structure(&mut self, value: &Value, verb: char) -> Print {
        let fields = crate::fields::all(value);
        if self.flags.sharp_v {
            self.push(value.type_name().trim_start_matches('*'))?;
        }
        self.push("{")?;
        for (position, (name, field)) in fields.into_iter().enumerate() {
            self.separator(position)?;
            if self.flags.plus_v || self.flags.sharp_v {
                self.push(name)?;
                self.push(":")?;
            }
            self.value(&field, verb, Place::Inside)?;
        }
        self.push("}")
    }
}
