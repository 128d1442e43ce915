//! Functions from string to string.

use std::sync::Arc;

use super::arguments::{bytes, int, items, string, text};
use super::signature::{Function, Type, fixed};
use super::{Context, Failure, Return, failed};
use crate::fmt::{MAX_TEXT, TooLong};
use crate::value::{Entries, Key, Map, Value};

const ONE: &[Type] = &[Type::Text];
const TWO: &[Type] = &[Type::Text, Type::Text];
const THREE: &[Type] = &[Type::Text, Type::Text, Type::Text];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "indent" => fixed(&[Type::Int, Type::Text], |c, a| {
            indent(c, int(a, 0), bytes(a, 1), false)
        }),
        "join" => fixed(&[Type::Text, Type::Strings], |c, a| {
            join(c, bytes(a, 0), items(a, 1))
        }),
        "replaceAll" => fixed(THREE, |c, a| replace(c, bytes(a, 0), bytes(a, 1), bytes(a, 2))),
        "split" => fixed(TWO, |c, a| split_trimmed(c, bytes(a, 0), bytes(a, 1))),
        "splitToMap" => fixed(THREE, split_to_map),
        "toLower" => fixed(ONE, |_, a| string(lower(&text(a, 0)))),
        "toTitle" => fixed(ONE, |_, a| string(title(&text(a, 0)))),
        "toUpper" => fixed(ONE, |_, a| string(upper(&text(a, 0)))),
        "trim" => fixed(TWO, |_, a| string(trim_set(&text(a, 1), &text(a, 0)))),
        "trimPrefix" => fixed(TWO, |_, a| part(trim_prefix(bytes(a, 1), bytes(a, 0)))),
        "trimSuffix" => fixed(TWO, |_, a| part(trim_suffix(bytes(a, 1), bytes(a, 0)))),
        "trimSpace" => fixed(ONE, |_, a| part(trim_space(bytes(a, 0)))),
        _ => None,
    }
}

/// A part of a text as a value.
#[expect(clippy::unnecessary_wraps, reason = "what functions return")]
pub(super) fn part(text: &[u8]) -> Return {
    Ok(Value::from_bytes(text.to_vec()))
}

/// Go's `strings.ToUpper`: letter by letter, so that `ß` stays.
pub(super) fn upper(text: &str) -> String {
    text.chars().map(|c| one(c, c.to_uppercase())).collect()
}

/// Go's `strings.ToLower`: letter by letter.
pub(super) fn lower(text: &str) -> String {
    text.chars()
        .map(|c| if c == 'İ' { 'i' } else { one(c, c.to_lowercase()) })
        .collect()
}

/// The letter that another one becomes; itself when it would become several.
fn one(c: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// The title form of a letter: that of `ǆ` is neither upper nor lower case, that of `ß` has two letters.
fn push_title(out: &mut String, c: char) {
    match c {
        'Ǆ'..='ǆ' => out.push('ǅ'),
        'Ǉ'..='ǉ' => out.push('ǈ'),
        'Ǌ'..='ǌ' => out.push('ǋ'),
        'Ǳ'..='ǳ' => out.push('ǲ'),
        'ŉ' => out.push_str("ʼN"),
        c => {
            let mut changed = c.to_uppercase();
            out.extend(changed.next());
            out.extend(changed.flat_map(char::to_lowercase));
        }
    }
}

/// Upper case for the first letter of each word; the rest stays (`hello wORLD` becomes `Hello WORLD`).
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Whether the word has had its first letter.
    let mut titled = false;
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphabetic() {
            if titled {
                out.push(c);
            } else {
                push_title(&mut out, c);
            }
            titled = true;
        } else {
            // What stands between letters of one word: `o'neil`, `a.b`, `a_b`.
            let joins = matches!(
                c,
                '\'' | '.' | ':' | '\u{b7}' | '\u{2018}' | '\u{2019}' | '\u{2024}' | '\u{2027}'
            ) && before.is_alphabetic()
                && chars.peek().is_some_and(|next| next.is_alphabetic());
            titled = titled && (joins || c == '_' || c.is_numeric() || is_mark(c));
            out.push(c);
        }
        before = c;
    }
    out
}

/// Marks that extend the letter before them.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f)
}

pub(super) fn trim_set(text: &str, cut: &str) -> String {
    text.trim_matches(|c| cut.contains(c)).to_owned()
}

pub(super) fn trim_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    text.strip_prefix(prefix).unwrap_or(text)
}

pub(super) fn trim_suffix<'a>(text: &'a [u8], suffix: &[u8]) -> &'a [u8] {
    text.strip_suffix(suffix).unwrap_or(text)
}

/// Go's `strings.TrimSpace`, which cuts what Unicode calls white space.
pub(super) fn trim_space(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => text.trim_ascii(),
    }
}

/// `indent N S`: only lines with something in them, or (`empty_too`) every line.
pub(super) fn indent(context: &mut Context<'_>, count: i64, text: &[u8], empty_too: bool) -> Return {
    let Ok(count) = usize::try_from(count) else {
        return failed("indent value must be a positive integer");
    };
    let lines = text.split(|byte| *byte == b'\n').count();
    let size = count.saturating_mul(lines).saturating_add(text.len());
    if size > MAX_TEXT {
        return failed(TooLong);
    }
    context.spend(size)?;
    let mut out = Vec::with_capacity(size);
    for (position, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if position > 0 {
            out.push(b'\n');
        }
        if empty_too || !line.is_empty() {
            out.extend(std::iter::repeat_n(b' ', count));
        }
        out.extend_from_slice(line);
    }
    Ok(Value::from_bytes(out))
}

pub(super) fn join(context: &mut Context<'_>, separator: &[u8], items: &[Value]) -> Return {
    let mut out = Vec::new();
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(item.as_bytes().unwrap_or_default());
        if out.len() > MAX_TEXT {
            return failed(TooLong);
        }
    }
    context.spend(out.len())?;
    Ok(Value::from_bytes(out))
}

/// Where a text is found, one after the other; before each character for an empty one, as in Go.
fn places<'a>(text: &'a [u8], wanted: &'a [u8]) -> Box<dyn Iterator<Item = usize> + 'a> {
    if wanted.is_empty() {
        let mut at = 0;
        let mut done = false;
        return Box::new(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let here = at;
            let rest = text.get(at..).unwrap_or_default();
            if rest.is_empty() {
                done = true;
            }
            at += first_rune(rest);
            Some(here)
        }));
    }
    let mut at = 0;
    Box::new(std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let found = find_bytes(rest, wanted)?;
        let here = at + found;
        at = here + wanted.len();
        Some(here)
    }))
}

/// The length of the first character; a byte that is none counts as one.
fn first_rune(text: &[u8]) -> usize {
    let chunk = text.utf8_chunks().next();
    let valid = chunk.and_then(|chunk| chunk.valid().chars().next());
    valid.map_or(1, char::len_utf8).min(text.len().max(1))
}

/// Where one text stands in another.
pub(super) fn find_bytes(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    match (std::str::from_utf8(text), std::str::from_utf8(wanted)) {
        (Ok(text), Ok(wanted)) => text.find(wanted),
        _ => text.windows(wanted.len()).position(|window| window == wanted),
    }
}

pub(super) fn replace(context: &mut Context<'_>, from: &[u8], to: &[u8], text: &[u8]) -> Return {
    let mut out = Vec::new();
    let mut last = 0;
    // Looking for UTF-8 in each rest again would take the square of its length.
    if let (Ok(text), Ok(from), Ok(to)) = (
        std::str::from_utf8(text),
        std::str::from_utf8(from),
        std::str::from_utf8(to),
    ) {
        for (at, found) in text.match_indices(from) {
            out.extend_from_slice(text.get(last..at).unwrap_or_default().as_bytes());
            out.extend_from_slice(to.as_bytes());
            last = at + found.len();
            if out.len() > MAX_TEXT {
                return failed(TooLong);
            }
        }
    } else {
        for at in places(text, from) {
            context.spend(from.len().max(1))?;
            out.extend_from_slice(text.get(last..at).unwrap_or_default());
            out.extend_from_slice(to);
            last = at + from.len();
            if out.len() > MAX_TEXT {
                return failed(TooLong);
            }
        }
    }
    out.extend_from_slice(text.get(last..).unwrap_or_default());
    if out.len() > MAX_TEXT {
        return failed(TooLong);
    }
    context.spend(out.len())?;
    Ok(Value::from_bytes(out))
}

/// Go's `strings.Split`: an empty separator gives the characters.
pub(super) fn split<'a>(text: &'a [u8], separator: &'a [u8]) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    if separator.is_empty() {
        let mut rest = text;
        while !rest.is_empty() {
            let (first, after) = rest.split_at(first_rune(rest));
            out.push(first);
            rest = after;
        }
        return out;
    }
    let mut last = 0;
    for at in places(text, separator) {
        out.push(text.get(last..at).unwrap_or_default());
        last = at + separator.len();
    }
    out.push(text.get(last..).unwrap_or_default());
    out
}

/// A list of strings, paid for.
pub(super) fn strings(context: &mut Context<'_>, parts: Vec<&[u8]>) -> Return {
    let size: usize = parts.iter().map(|part| part.len() + 64).sum();
    context.make(size)?;
    let items = parts.into_iter().map(|part| Value::from_bytes(part.to_vec()));
    Ok(Value::List(Arc::new(crate::value::List::strings(
        items.collect(),
    ))))
}

/// `split SEP S`: S is trimmed first; nothing gives an empty list.
fn split_trimmed(context: &mut Context<'_>, separator: &[u8], text: &[u8]) -> Return {
    let text = trim_space(text);
    let parts = if text.is_empty() {
        Vec::new()
    } else {
        split(text, separator)
    };
    strings(context, parts)
}

/// `splitToMap SEP1 SEP2 S`: items without the second separator are dropped.
fn split_to_map(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let (outer, inner) = (bytes(arguments, 0), bytes(arguments, 1));
    let value = trim_space(bytes(arguments, 2));
    let parts = if value.is_empty() {
        Vec::new()
    } else {
        split(value, outer)
    };
    context.make(parts.len() * 128 + value.len())?;
    let mut entries = Vec::new();
    for part in parts {
        let Some(at) = find_bytes(part, inner) else {
            continue;
        };
        let (key, value) = (&part[..at], &part[at + inner.len()..]);
        let key: Arc<str> = String::from_utf8_lossy(key).into();
        entries.push((Key::Str(key), Value::from_bytes(value.to_vec())));
    }
    let map = Map::new(Entries::Strings, entries).map_err(Failure::new)?;
    Ok(Value::Map(Arc::new(map)))
}
