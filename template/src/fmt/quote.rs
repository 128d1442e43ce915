//! Go's `strconv.Quote` and what it takes for printable.

use std::fmt::Write as _;

/// A text between double quotes, with what cannot be printed as escapes.
pub(crate) fn quote(text: &[u8], ascii_only: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            append_escaped(&mut out, c, '"', ascii_only);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Appends one character as it stands between quotes.
pub(crate) fn append_escaped(out: &mut String, c: char, quote: char, ascii_only: bool) {
    match c {
        _ if c == quote || c == '\\' => {
            out.push('\\');
            out.push(c);
        }
        ' '..='~' => out.push(c),
        _ if !c.is_ascii() && !ascii_only && is_print(c) => out.push(c),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ => {
            let code = u32::from(c);
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                0..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

/// Whether Go's `strconv.CanBackquote` lets a text stand between backquotes.
pub(super) fn can_backquote(text: &str) -> bool {
    text.chars()
        .all(|c| !(c == '\u{feff}' || c == '`' || c == '\u{7f}' || (c < ' ' && c != '\t')))
}

/// Whether Go prints a character as it is: letters, marks, numbers, punctuation, symbols and the ASCII blank.
///
/// Rust's own table, the one behind `escape_debug`, leaves out marks at the start of a text only; the other blanks and what
/// is unassigned it escapes as Go does.
pub(crate) fn is_print(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..'\u{a0}' | '\u{a0}' | '\u{ad}' => false,
        _ if c.is_whitespace() => false,
        _ => {
            // A mark that extends the letter before it is printable, and only `escape_debug` of a lone one escapes it.
            let mut lead = String::from("a");
            lead.push(c);
            lead.escape_debug().nth(1) == Some(c)
        }
    }
}
