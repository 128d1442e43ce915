//! Go's regular expressions (RE2 syntax), translated for the crate `regex`, which matches in the same way.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

/// How often Go lets something be repeated.
const MAX_REPEAT: u32 = 1000;
/// How large a compiled expression may become, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// A compiled expression, with what it costs per byte of text, roughly.
pub(crate) struct Expression {
    pub(crate) regex: Regex,
    pub(crate) cost: usize,
}

/// An expression that Go would refuse too, or that is too large. What it is stays unsaid: it may come from a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression is not valid, or too large")]
pub(crate) struct Invalid;

/// Compiles an expression of Go's syntax.
pub(crate) fn compile(pattern: &str) -> Result<Expression, Invalid> {
    let mut translation = Translation {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len()),
        repeats: 1,
    };
    translation.run()?;
    let regex = RegexBuilder::new(&translation.out)
        .size_limit(MAX_SIZE)
        .nest_limit(200)
        .build()
        .map_err(|_| Invalid)?;
    let cost = pattern.len().saturating_mul(translation.repeats) / 2 + 1;
    Ok(Expression { regex, cost })
}

/// Puts a backslash before what has a meaning (Go's `regexp.QuoteMeta`).
pub(crate) fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

struct Translation<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    /// The product of all counts of repetitions.
    repeats: usize,
}

impl Translation<'_> {
    fn rest(&self) -> &str {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            let _ = write!(self.out, "\\x{{{:x}}}", u32::from(c));
        }
    }

    fn run(&mut self) -> Result<(), Invalid> {
        // Go refuses a repetition of a repetition, as in `a**`.
        let mut repeated = false;
        while let Some(c) = self.next() {
            let is_repeat = match c {
                '*' | '+' | '?' => true,
                '{' => self.count().is_some(),
                _ => false,
            };
            if is_repeat {
                if repeated {
                    return Err(Invalid);
                }
                match c {
                    '{' => self.repeat()?,
                    c => self.out.push(c),
                }
                if self.rest().starts_with('?') {
                    self.at += 1;
                    self.out.push('?');
                }
                repeated = true;
                continue;
            }
            repeated = false;
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' | '|' | '^' | '$' | '.' => self.out.push(c),
                c => self.literal(c),
            }
        }
        Ok(())
    }

    /// The length of `3}`, `3,}` or `3,5}` behind an opened brace.
    fn count(&self) -> Option<usize> {
        let end = self.rest().find('}')?;
        let (least, most) = {
            let inner = self.rest().get(..end)?;
            inner.split_once(',').unwrap_or((inner, "0"))
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (!least.is_empty() && digits(least) && digits(most)).then_some(end)
    }

    fn repeat(&mut self) -> Result<(), Invalid> {
        let end = self.count().ok_or(Invalid)?;
        let inner = self.rest().get(..end).unwrap_or_default().to_owned();
        let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
        let least: u32 = least.parse().map_err(|_| Invalid)?;
        let most: u32 = if most.is_empty() {
            least
        } else {
            most.parse().map_err(|_| Invalid)?
        };
        if least > MAX_REPEAT || most > MAX_REPEAT || most < least {
            return Err(Invalid);
        }
        self.repeats = self
            .repeats
            .saturating_mul(usize::try_from(most.max(1)).unwrap_or(1));
        self.at += end + 1;
        let _ = write!(self.out, "{{{inner}}}");
        Ok(())
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>`, `(?<name>` or a plain group.
    fn group(&mut self) -> Result<(), Invalid> {
        self.out.push('(');
        if !self.rest().starts_with('?') {
            return Ok(());
        }
        if self.rest().starts_with("?P<") || self.rest().starts_with("?<") {
            let start = self.rest().find('<').ok_or(Invalid)? + 1;
            let end = self.rest().find('>').ok_or(Invalid)?;
            let name = self.rest().get(start..end).unwrap_or_default().to_owned();
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(Invalid);
            }
            self.at += end + 1;
            // The crate wants a name to begin with a letter; Go does not, and `$1` then means the name.
            let _ = write!(self.out, "?P<{name}>");
            return Ok(());
        }
        let end = self.rest().find([':', ')']).ok_or(Invalid)?;
        let flags = self.rest().get(1..end).unwrap_or_default().to_owned();
        if !flags.chars().all(|c| "imsU-".contains(c)) {
            return Err(Invalid);
        }
        let closing = self.rest().get(end..=end).unwrap_or_default().to_owned();
        self.at += end + 1;
        let _ = write!(self.out, "?{flags}{closing}");
        if flags.is_empty() && closing == ")" {
            return Err(Invalid);
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), Invalid> {
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.next().ok_or(Invalid)?;
            match c {
                ']' if !first => break,
                '[' if self.rest().starts_with(':') => {
                    let end = self.rest().find(":]").ok_or(Invalid)?;
                    let name = self.rest().get(1..end).unwrap_or_default().to_owned();
                    self.at += end + 2;
                    let _ = write!(self.out, "[:{name}:]");
                }
                '\\' => self.escape(true)?,
                // A range, or a dash at either end.
                '-' if !first && !self.rest().starts_with(']') => self.out.push('-'),
                c => self.literal(c),
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), Invalid> {
        let c = self.next().ok_or(Invalid)?;
        let class = |plain: &str| {
            if in_class {
                plain.to_owned()
            } else {
                format!("[{plain}]")
            }
        };
        match c {
            'd' => self.out.push_str(&class("0-9")),
            'w' => self.out.push_str(&class("0-9A-Za-z_")),
            's' => self.out.push_str(&class(r"\t\n\x0c\r\x20")),
            'D' => self.out.push_str("[^0-9]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            'S' => self.out.push_str(r"[^\t\n\x0c\r\x20]"),
            'p' | 'P' => self.unicode_class(c == 'P')?,
            'b' | 'B' if !in_class => {
                let _ = write!(self.out, "(?-u:\\{c})");
            }
            'A' | 'z' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Q' if !in_class => {
                let end = self.rest().find("\\E").unwrap_or(self.rest().len());
                let quoted = self.rest().get(..end).unwrap_or_default().to_owned();
                self.at = (self.at + end + 2).min(self.pattern.len());
                for c in quoted.chars() {
                    self.literal(c);
                }
            }
            'a' => self.literal('\u{7}'),
            'f' => self.literal('\u{c}'),
            'n' => self.literal('\n'),
            'r' => self.literal('\r'),
            't' => self.literal('\t'),
            'v' => self.literal('\u{b}'),
            'x' => {
                let code = self.hex()?;
                self.literal(char::from_u32(code).ok_or(Invalid)?);
            }
            '0'..='7' => {
                let mut code = u32::from(c) - u32::from('0');
                let more = self.rest().chars().take(2).take_while(|c| c.is_digit(8)).count();
                if c != '0' && more == 0 {
                    return Err(Invalid);
                }
                for _ in 0..more {
                    let digit = self.next().and_then(|c| c.to_digit(8)).unwrap_or(0);
                    code = code * 8 + digit;
                }
                self.literal(char::from_u32(code).ok_or(Invalid)?);
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.literal(c),
            _ => return Err(Invalid),
        }
        Ok(())
    }

    /// `\x41` or `\x{1F600}`
    fn hex(&mut self) -> Result<u32, Invalid> {
        let (start, end) = if self.rest().starts_with('{') {
            (1, self.rest().find('}').ok_or(Invalid)?)
        } else {
            (0, 2)
        };
        let digits = self.rest().get(start..end).ok_or(Invalid)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Invalid);
        }
        let code = u32::from_str_radix(digits, 16).map_err(|_| Invalid)?;
        self.at += end + start;
        Ok(code)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`
    fn unicode_class(&mut self, negated: bool) -> Result<(), Invalid> {
        let name = if self.rest().starts_with('{') {
            let end = self.rest().find('}').ok_or(Invalid)?;
            let name = self.rest().get(1..end).unwrap_or_default().to_owned();
            self.at += end + 1;
            name
        } else {
            self.next().ok_or(Invalid)?.to_string()
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, !negated),
            None => (name.as_str(), negated),
        };
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            return Err(Invalid);
        }
        let letter = if negated { 'P' } else { 'p' };
        let _ = write!(self.out, "\\{letter}{{{name}}}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<String> {
        let expression = compile(pattern).unwrap_or_else(|_| panic!("{pattern} must compile"));
        let found = expression.regex.find(text.as_bytes())?;
        Some(String::from_utf8_lossy(found.as_bytes()).into_owned())
    }

    #[test]
    fn gos_syntax_is_understood() {
        for (pattern, text, expected) in [
            (r"\d+", "a٣12", Some("12")),
            (r"\w+", "é_a1", Some("_a1")),
            (r"[\d.]+", "v1.20", Some("1.20")),
            (r"[[:alpha:]]+", "12ab", Some("ab")),
            (r"\pL+", "12äß", Some("äß")),
            (r"\p{Greek}+", "abγδ", Some("γδ")),
            (r"[^\pL]+", "ab12", Some("12")),
            (r"\Qa.b\E+", "a.bbb", Some("a.bbb")),
            (r"(?i)ABC", "xabc", Some("abc")),
            (r"(?P<first>a)(?<second>b)", "ab", Some("ab")),
            (r"x{2,3}", "xxxx", Some("xxx")),
            (r"x{,2}", "x{,2}", Some("x{,2}")),
            (r"a{b}", "a{b}", Some("a{b}")),
            (r"\x41\101", "AA", Some("AA")),
            (r"[[a]", "[", Some("[")),
            (r"[a&&b]+", "b&a", Some("b&a")),
            (r"\<a\>", "<a>", Some("<a>")),
            (r"(?U)a+", "aaa", Some("a")),
            (r"(?s).", "\n", Some("\n")),
            (r"\bfoo\b", "a foo b", Some("foo")),
            (r"[]a]+", "a]", Some("a]")),
            (r"[a-c-]+", "-b", Some("-b")),
            (r"^b", "a\nb", None),
            (r"(?m)^b$", "a\nb", Some("b")),
        ] {
            assert_eq!(found(pattern, text).as_deref(), expected, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            "a**",
            "a{1001}",
            r"\1",
            r"\y",
            "[z-a]",
            "(?x)a",
            "(?=a)",
            r"\Z",
            "[a",
            "a{2,1}",
            r"\p{Nope}",
            "(?P<>a)",
            "*",
        ] {
            assert!(compile(pattern).is_err(), "{pattern} is no expression of Go");
        }
    }

    #[test]
    fn an_expression_cannot_take_all_memory() {
        assert!(compile(&"(".repeat(100_000)).is_err(), "nested too deeply");
        assert!(compile("((a{100}){100}){100}").is_err(), "a million states");
    }
}
