//! What texts and numbers of HCL stand for.

/// The number in decimal; `None` where it is none.
pub(super) fn number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    if let Some(hexadecimal) = hexadecimal {
        return Some(format!("{sign}{}", i64::from_str_radix(hexadecimal, 16).ok()?));
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let radix = if digits.len() > 1 && digits.starts_with('0') {
            8
        } else {
            10
        };
        return Some(format!("{sign}{}", i64::from_str_radix(digits, radix).ok()?));
    }
    // Not "inf", "nan" and the like.
    let is_plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let float: f64 = digits.parse().ok().filter(|_| is_plain)?;
    float.is_finite().then(|| format!("{sign}{float}"))
}

/// A text with what follows each `\` put in. What is in `${…}` stays as it is. `None` where a sequence is none.
pub(super) fn unescaped(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("${") {
            let end = interpolation(rest)?;
            text.push_str(rest.get(..end)?);
            rest = rest.get(end..)?;
        } else if first == '\\' {
            let (character, used) = escape(rest.get(1..)?)?;
            text.push(character);
            rest = rest.get(1 + used..)?;
        } else {
            text.push(first);
            rest = rest.get(first.len_utf8()..)?;
        }
    }
    Some(text)
}

/// Where the `${…}` at the start of the text ends.
fn interpolation(text: &str) -> Option<usize> {
    let mut braces = 0_usize;
    for (position, character) in text.char_indices() {
        match character {
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The character after a `\`, and how many bytes stand for it.
fn escape(rest: &str) -> Option<(char, usize)> {
    let digits = |from: usize, count: usize, radix: u32| {
        let text = rest.get(from..from + count)?;
        let is_plain = text.bytes().all(|byte| char::from(byte).is_digit(radix));
        let code = u32::from_str_radix(text, radix).ok().filter(|_| is_plain)?;
        Some((char::from_u32(code)?, from + count))
    };
    let simple = |character| Some((character, 1));
    match rest.chars().next()? {
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\u{b}'),
        '\\' => simple('\\'),
        '"' => simple('"'),
        // A byte above 127 alone is no UTF-8, which our texts are.
        '0'..='7' => digits(0, 3, 8).filter(|(character, _)| character.is_ascii()),
        'x' => digits(1, 2, 16).filter(|(character, _)| character.is_ascii()),
        'u' => digits(1, 4, 16),
        'U' => digits(1, 8, 16),
        _ => None,
    }
}

/// What a heredoc stands for: `body` are its lines, `indent` the white space before its end. With `<<-` that is taken from
/// every line, if every line has it; Vault's parser does not do so where one line, an empty one as well, has less.
pub(super) fn heredoc(body: &str, indent: &str, is_indented: bool) -> String {
    if !is_indented {
        return format!("{body}{indent}");
    }
    let lines: Vec<&str> = body.split_inclusive('\n').collect();
    let stripped: Option<String> = lines.iter().map(|line| line.strip_prefix(indent)).collect();
    stripped.unwrap_or_else(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("5", Some("5")),
            ("-5", Some("-5")),
            ("0640", Some("416")),
            ("0x1F", Some("31")),
            ("1.5", Some("1.5")),
            ("0.90", Some("0.9")),
            ("1e3", Some("1000")),
            ("08", None),
            ("0x", None),
            ("1.2.3", None),
            ("5m", None),
            ("1e999", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sequences_after_a_backslash_are_put_in() {
        for (raw, expected) in [
            (r#"a\n\t\"b\"\\"#, Some("a\n\t\"b\"\\")),
            (r"\x41\101\u00e9\U0001F600", Some("AA\u{e9}\u{1F600}")),
            (r#"${ f("x\n") } \n"#, Some("${ f(\"x\\n\") } \n")),
            (r"\d", None),
            (r"\x4", None),
            (r"\x+4", None),
            (r"\uD800", None),
            (r"${ {", None),
        ] {
            assert_eq!(unescaped(raw).as_deref(), expected, "{raw}");
        }
    }
}
