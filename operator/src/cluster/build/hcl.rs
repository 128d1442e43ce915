//! The few forms of HCL that a server's configuration needs. Pure.

use std::fmt::Write as _;

/// A string literal. Nothing in it ends it, and nothing in it is interpolated.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            // `${` would begin an interpolation.
            '$' => quoted.push_str("\\u0024"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A block such as `seal "transit" { … }` with string attributes; those without a value are left out.
pub(crate) fn block(kind: &str, label: &str, attributes: &[(&str, Option<&str>)]) -> String {
    let given: Vec<(&str, &str)> = attributes
        .iter()
        .filter_map(|(key, value)| Some((*key, (*value)?)))
        .collect();
    if given.is_empty() {
        return format!("{kind} {} {{}}\n", quote(label));
    }
    let width = given.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let mut text = format!("{kind} {} {{\n", quote(label));
    for (key, value) in given {
        let _ = writeln!(text, "  {key:width$} = {}", quote(value));
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_literal_or_begins_an_interpolation() {
        assert_eq!(quote("a\"}\\${x}\n"), "\"a\\\"}\\\\\\u0024{x}\\u000a\"");
    }

    #[test]
    fn a_block_holds_what_is_given_and_nothing_else() {
        assert_eq!(
            block("seal", "x", &[("a", Some("1")), ("bcd", None), ("ef", Some("2"))]),
            "seal \"x\" {\n  a  = \"1\"\n  ef = \"2\"\n}\n"
        );
        assert_eq!(block("storage", "inmem", &[]), "storage \"inmem\" {}\n");
    }
}
