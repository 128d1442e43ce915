//! Reads the scalars of YAML: plain, quoted, literal and folded.

use super::parse::{Parse, Parser};

/// Whether a scalar's words may be something else than a text.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    Plain,
    Quoted,
}

fn is_blank(c: Option<char>) -> bool {
    matches!(c, Some(' ' | '\t'))
}

fn is_end(c: Option<char>) -> bool {
    matches!(c, None | Some('\n' | '\r'))
}

/// The rest of a plain scalar in this line, without blanks at its end.
pub(super) fn plain_line(parser: &mut Parser, in_flow: bool) -> String {
    let mut out = String::new();
    while let Some(c) = parser.peek() {
        let next = parser.ahead(1);
        let ends = match c {
            '\n' | '\r' => true,
            ':' => is_blank(next) || is_end(next),
            '#' => out.ends_with([' ', '\t']),
            ',' | '[' | ']' | '{' | '}' => in_flow,
            _ => false,
        };
        if ends {
            break;
        }
        out.push(c);
        parser.at += 1;
    }
    let kept = out.trim_end_matches([' ', '\t']);
    // The blanks stay to be read: a comment needs one before it.
    parser.at -= out.len() - kept.len();
    kept.to_owned()
}

/// Joins lines: one break becomes a blank, further ones stay.
fn join(out: &mut String, breaks: usize) {
    if breaks == 1 {
        out.push(' ');
    } else {
        out.extend(std::iter::repeat_n('\n', breaks.saturating_sub(1)));
    }
}

/// Steps over the end of a line and empty ones. How many breaks there were.
fn skip_breaks(parser: &mut Parser) -> usize {
    let mut breaks = 0;
    loop {
        parser.skip_blanks();
        match parser.peek() {
            Some('\r') if parser.ahead(1) == Some('\n') => parser.at += 1,
            Some('\n' | '\r') => {
                breaks += 1;
                parser.at += 1;
            }
            _ => return breaks,
        }
    }
}

/// A plain scalar, with the lines that stand further right than the parent.
pub(super) fn plain(parser: &mut Parser, parent: i32) -> Parse<String> {
    let mut out = plain_line(parser, false);
    loop {
        let back = parser.at;
        let breaks = skip_breaks(parser);
        let c = parser.peek();
        if breaks == 0 || c.is_none() || c == Some('#') || parser.at_marker() || parser.column() <= parent {
            parser.at = back;
            return Ok(out);
        }
        let line = plain_line(parser, false);
        if parser.peek() == Some(':') || line.is_empty() {
            return parser.error("mapping values are not allowed in this context");
        }
        join(&mut out, breaks);
        out.push_str(&line);
    }
}

/// A plain scalar between brackets.
pub(super) fn plain_flow(parser: &mut Parser) -> String {
    let mut out = plain_line(parser, true);
    loop {
        let back = parser.at;
        let breaks = skip_breaks(parser);
        let stops = matches!(
            parser.peek(),
            None | Some('#' | ',' | '[' | ']' | '{' | '}' | ':')
        );
        if breaks == 0 || stops {
            parser.at = back;
            // A character that is none of a scalar must not be looked at for ever.
            if out.is_empty() && parser.peek().is_some() && breaks == 0 {
                parser.at += 1;
            }
            return out;
        }
        let line = plain_line(parser, true);
        join(&mut out, breaks);
        out.push_str(&line);
    }
}

/// Folds the end of a line within quotes: blanks before it go.
fn fold(parser: &mut Parser, out: &mut String, kept: usize) {
    let end = out.trim_end_matches([' ', '\t']).len().max(kept);
    out.truncate(end);
    let breaks = skip_breaks(parser);
    join(out, breaks);
}

pub(super) fn single_quoted(parser: &mut Parser) -> Parse<String> {
    parser.at += 1;
    let mut out = String::new();
    loop {
        match parser.peek() {
            None => return parser.error("a quote is not closed"),
            Some('\'') if parser.ahead(1) == Some('\'') => {
                out.push('\'');
                parser.at += 2;
            }
            Some('\'') => {
                parser.at += 1;
                return Ok(out);
            }
            Some('\n' | '\r') => fold(parser, &mut out, 0),
            Some(c) => {
                out.push(c);
                parser.at += 1;
            }
        }
    }
}

pub(super) fn double_quoted(parser: &mut Parser) -> Parse<String> {
    parser.at += 1;
    let mut out = String::new();
    // What was escaped is no blank that may go.
    let mut kept = 0;
    loop {
        match parser.peek() {
            None => return parser.error("a quote is not closed"),
            Some('"') => {
                parser.at += 1;
                return Ok(out);
            }
            Some('\n' | '\r') => fold(parser, &mut out, kept),
            Some('\\') => {
                parser.at += 1;
                escape(parser, &mut out)?;
                kept = out.len();
            }
            Some(c) => {
                out.push(c);
                parser.at += 1;
            }
        }
    }
}

fn escape(parser: &mut Parser, out: &mut String) -> Parse<()> {
    let Some(letter) = parser.peek() else {
        return parser.error("a quote is not closed");
    };
    parser.at += 1;
    let c = match letter {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        ' ' | '"' | '\'' | '/' | '\\' => letter,
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        'x' => code(parser, 2)?,
        'u' => code(parser, 4)?,
        'U' => code(parser, 8)?,
        '\n' | '\r' => {
            parser.at -= 1;
            let breaks = skip_breaks(parser);
            out.extend(std::iter::repeat_n('\n', breaks.saturating_sub(1)));
            return Ok(());
        }
        _ => return parser.error("unknown escape character"),
    };
    out.push(c);
    Ok(())
}

fn code(parser: &mut Parser, digits: usize) -> Parse<char> {
    let mut code = 0_u32;
    for _ in 0..digits {
        let Some(digit) = parser.peek().and_then(|c| c.to_digit(16)) else {
            return parser.error("expected hexadecimal digits");
        };
        code = code << 4 | digit;
        parser.at += 1;
    }
    char::from_u32(code).map_or_else(|| parser.error("invalid Unicode character"), Ok)
}

/// `|` and `>`
pub(super) fn block(parser: &mut Parser, parent: i32) -> Parse<String> {
    let folded = parser.peek() == Some('>');
    parser.at += 1;
    let (mut keep, mut strip, mut given) = (false, false, None);
    loop {
        match parser.peek() {
            Some('+') => keep = true,
            Some('-') => strip = true,
            Some(c @ '1'..='9') => given = c.to_digit(10).and_then(|digit| i32::try_from(digit).ok()),
            _ => break,
        }
        parser.at += 1;
    }
    parser.skip_blanks();
    if parser.peek() == Some('#') {
        while !is_end(parser.peek()) {
            parser.at += 1;
        }
    }
    if !is_end(parser.peek()) {
        return parser.error("did not find expected comment or line break");
    }
    let mut indent = given.map(|given| parent.max(0) + given);
    let mut out = String::new();
    let (mut breaks, mut after_more, mut first) = (0, false, true);
    loop {
        match parser.peek() {
            None => break,
            Some('\r') if parser.ahead(1) == Some('\n') => parser.at += 2,
            Some(_) => parser.at += 1,
        }
        let start = parser.at;
        while parser.peek() == Some(' ') && indent.is_none_or(|indent| parser.column() < indent) {
            parser.at += 1;
        }
        if is_end(parser.peek()) {
            if parser.peek().is_none() {
                break;
            }
            breaks += 1;
            continue;
        }
        let column = parser.column();
        let needed = *indent.get_or_insert(column.max(parent + 1));
        if column < needed || column <= parent {
            parser.at = start;
            break;
        }
        let more = is_blank(parser.peek());
        if first {
            out.extend(std::iter::repeat_n('\n', breaks));
        } else if folded && !more && !after_more {
            join(&mut out, breaks + 1);
        } else {
            out.extend(std::iter::repeat_n('\n', breaks + 1));
        }
        while !is_end(parser.peek()) {
            out.extend(parser.peek());
            parser.at += 1;
        }
        (breaks, after_more, first) = (0, more, false);
    }
    if keep {
        let last = usize::from(!first);
        out.extend(std::iter::repeat_n('\n', breaks + last));
    } else if !strip && !first {
        out.push('\n');
    }
    Ok(out)
}
