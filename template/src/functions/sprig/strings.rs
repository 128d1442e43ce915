//! Texts.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cast;
use crate::fmt::{self, MAX_TEXT, TooLong};
use crate::functions::arguments::{at, bytes, int, string, text};
use crate::functions::signature::{Function, Type, fixed, variadic};
use crate::functions::{Context, Failure, Return, digest, encode, failed, regex, text as plain};
use crate::value::{Entries, Key, List, Map, Value};

const ONE: &[Type] = &[Type::Text];
const TWO: &[Type] = &[Type::Text, Type::Text];
const THREE: &[Type] = &[Type::Text, Type::Text, Type::Text];
const COUNT: &[Type] = &[Type::Int, Type::Text];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "hello" => fixed(&[], |_, _| string("Hello!")),
        "trim" => fixed(ONE, |_, a| plain::part(plain::trim_space(bytes(a, 0)))),
        "upper" => fixed(ONE, |_, a| string(plain::upper(&text(a, 0)))),
        "lower" => fixed(ONE, |_, a| string(plain::lower(&text(a, 0)))),
        "trimall" | "trimAll" => fixed(TWO, |_, a| string(plain::trim_set(&text(a, 1), &text(a, 0)))),
        "trimPrefix" => fixed(TWO, |_, a| {
            plain::part(plain::trim_prefix(bytes(a, 1), bytes(a, 0)))
        }),
        "trimSuffix" => fixed(TWO, |_, a| {
            plain::part(plain::trim_suffix(bytes(a, 1), bytes(a, 0)))
        }),
        "contains" => fixed(TWO, |_, a| {
            Ok(plain::find_bytes(bytes(a, 1), bytes(a, 0)).is_some().into())
        }),
        "hasPrefix" => fixed(TWO, |_, a| Ok(bytes(a, 1).starts_with(bytes(a, 0)).into())),
        "hasSuffix" => fixed(TWO, |_, a| Ok(bytes(a, 1).ends_with(bytes(a, 0)).into())),
        "replace" => fixed(THREE, |c, a| {
            plain::replace(c, bytes(a, 0), bytes(a, 1), bytes(a, 2))
        }),
        "indent" => fixed(COUNT, |c, a| plain::indent(c, int(a, 0), bytes(a, 1), true)),
        "nindent" => fixed(COUNT, |c, a| {
            let indented = plain::indent(c, int(a, 0), bytes(a, 1), true)?;
            let mut out = b"\n".to_vec();
            out.extend_from_slice(indented.as_bytes().unwrap_or_default());
            Ok(Value::from_bytes(out))
        }),
        "repeat" => fixed(COUNT, repeat),
        "trunc" => fixed(COUNT, |_, a| plain::part(truncated(int(a, 0), bytes(a, 1)))),
        "substr" => fixed(&[Type::Int, Type::Int, Type::Text], substring),
        "abbrev" => fixed(COUNT, abbreviated),
        "quote" => variadic(&[], Type::Any, |_, a| {
            joined(a, |value| Ok(fmt::quote(&cast::text(value)?, false).into_bytes()))
        }),
        "squote" => variadic(&[], Type::Any, |_, a| {
            joined(a, |value| {
                fmt::printf(b"'%v'", std::slice::from_ref(value)).map_err(Failure::new)
            })
        }),
        "cat" => variadic(&[], Type::Any, |_, a| {
            joined(a, |value| {
                fmt::printf(b"%v", std::slice::from_ref(value)).map_err(Failure::new)
            })
        }),
        "toString" => fixed(&[Type::Any], |_, a| Ok(Value::from_bytes(cast::text(at(a, 0))?))),
        "toStrings" => fixed(&[Type::Any], |c, a| texts(c, cast::texts(at(a, 0))?)),
        "plural" => fixed(&[Type::Text, Type::Text, Type::Int], |_, a| {
            Ok(at(a, usize::from(int(a, 2) != 1)).clone())
        }),
        "join" => fixed(&[Type::Text, Type::Any], |c, a| {
            let items: Vec<Value> = cast::texts(at(a, 1))?
                .into_iter()
                .map(Value::from_bytes)
                .collect();
            plain::join(c, bytes(a, 0), &items)
        }),
        "sortAlpha" => fixed(&[Type::Any], |c, a| {
            let mut found = cast::texts(at(a, 0))?;
            found.sort();
            texts(c, found)
        }),
        "splitList" => fixed(TWO, |c, a| {
            plain::strings(c, plain::split(bytes(a, 1), bytes(a, 0)))
        }),
        "split" => fixed(TWO, |c, a| numbered(c, plain::split(bytes(a, 1), bytes(a, 0)))),
        "splitn" => fixed(&[Type::Text, Type::Int, Type::Text], |c, a| {
            let parts = plain::split(bytes(a, 2), bytes(a, 0));
            numbered(c, limited(bytes(a, 2), bytes(a, 0), parts, int(a, 1)))
        }),
        "b64enc" => fixed(ONE, |_, a| string(STANDARD.encode(bytes(a, 0)))),
        "b64dec" => fixed(ONE, |_, a| encode::decode(bytes(a, 0))),
        "b32enc" => fixed(ONE, |_, a| string(base32(bytes(a, 0)))),
        "b32dec" => fixed(ONE, |_, a| from_base32(bytes(a, 0))),
        "sha1sum" => fixed(ONE, |_, a| {
            string(digest::sum(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes(a, 0)))
        }),
        "sha256sum" => fixed(ONE, |_, a| {
            string(digest::sum(&ring::digest::SHA256, bytes(a, 0)))
        }),
        "sha512sum" => fixed(ONE, |_, a| {
            string(digest::sum(&ring::digest::SHA512, bytes(a, 0)))
        }),
        "adler32sum" => fixed(ONE, |_, a| string(adler32(bytes(a, 0)).to_string())),
        // Without `must`, what is no expression matches nothing.
        "regexMatch" => fixed(TWO, |c, a| {
            Ok(regex::compiled(c, &text(a, 0), bytes(a, 1))
                .is_ok_and(|found| found.regex.is_match(bytes(a, 1)))
                .into())
        }),
        "mustRegexMatch" => fixed(TWO, |c, a| {
            let found = regex::compiled(c, &text(a, 0), bytes(a, 1))?;
            Ok(found.regex.is_match(bytes(a, 1)).into())
        }),
        "regexFind" | "mustRegexFind" => fixed(TWO, |c, a| {
            let found = regex::compiled(c, &text(a, 0), bytes(a, 1))?;
            plain::part(
                found
                    .regex
                    .find(bytes(a, 1))
                    .map_or(&[][..], |found| found.as_bytes()),
            )
        }),
        "regexFindAll" | "mustRegexFindAll" => fixed(&[Type::Text, Type::Text, Type::Int], |c, a| {
            let found = regex::compiled(c, &text(a, 0), bytes(a, 1))?;
            let most = usize::try_from(int(a, 2)).unwrap_or(usize::MAX);
            let all = found
                .regex
                .find_iter(bytes(a, 1))
                .take(most)
                .map(|found| found.as_bytes());
            plain::strings(c, all.collect())
        }),
        "regexReplaceAll" | "mustRegexReplaceAll" => fixed(THREE, |c, a| {
            regex::replace(c, &text(a, 0), bytes(a, 2), bytes(a, 1), false)
        }),
        "regexReplaceAllLiteral" | "mustRegexReplaceAllLiteral" => fixed(THREE, |c, a| {
            regex::replace(c, &text(a, 0), bytes(a, 2), bytes(a, 1), true)
        }),
        "regexSplit" | "mustRegexSplit" => fixed(&[Type::Text, Type::Text, Type::Int], regex_split),
        "regexQuoteMeta" => fixed(ONE, |_, a| string(crate::regexp::quote_meta(&text(a, 0)))),
        "fail" => fixed(ONE, |_, _| failed("the template says so")),
        _ => None,
    }
}

/// What is not nil, each part shown, with blanks between.
fn joined(values: &[Value], show: impl Fn(&Value) -> Result<Vec<u8>, Failure>) -> Return {
    let mut out = Vec::new();
    for (position, value) in values.iter().filter(|value| !value.is_nil()).enumerate() {
        if position > 0 {
            out.push(b' ');
        }
        out.extend(show(value)?);
        if out.len() > MAX_TEXT {
            return failed(TooLong);
        }
    }
    Ok(Value::from_bytes(out))
}

/// A list of strings, paid for.
fn texts(context: &mut Context<'_>, items: Vec<Vec<u8>>) -> Return {
    context.make(items.iter().map(|item| item.len() + 64).sum())?;
    let items = items.into_iter().map(Value::from_bytes).collect();
    Ok(Value::List(Arc::new(List::strings(items))))
}

fn repeat(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let Ok(count) = usize::try_from(int(arguments, 0)) else {
        return failed("strings: negative Repeat count");
    };
    let size = count.saturating_mul(bytes(arguments, 1).len());
    if size > MAX_TEXT {
        return failed(TooLong);
    }
    context.spend(size)?;
    if size == 0 {
        return string("");
    }
    Ok(Value::from_bytes(bytes(arguments, 1).repeat(count)))
}

fn truncated(count: i64, text: &[u8]) -> &[u8] {
    let length = text.len();
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if size >= length {
        return text;
    }
    if count < 0 {
        &text[length - size..]
    } else {
        &text[..size]
    }
}

/// `substr START END S`, in bytes.
fn substring(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let source = bytes(arguments, 2);
    let (start, end) = (int(arguments, 0), int(arguments, 1));
    let whole = usize::try_from(end).ok().filter(|end| *end <= source.len());
    let range = if start < 0 {
        let Some(end) = whole else {
            return failed("slice bounds out of range");
        };
        source.get(..end)
    } else {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        source.get(start..whole.unwrap_or(source.len()))
    };
    range.map_or_else(|| failed("slice bounds out of range"), plain::part)
}

/// `abbrev WIDTH S`: cut with three dots.
fn abbreviated(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let source = bytes(arguments, 1);
    match usize::try_from(int(arguments, 0)) {
        Ok(width) if width >= 4 && source.len() > width => {
            let mut out = source[..width - 3].to_vec();
            out.extend_from_slice(b"...");
            Ok(Value::from_bytes(out))
        }
        _ => plain::part(source),
    }
}

/// The parts as a map of `_0`, `_1` and so on.
fn numbered(context: &mut Context<'_>, parts: Vec<&[u8]>) -> Return {
    context.make(parts.iter().map(|part| part.len() + 128).sum())?;
    let entries = parts.into_iter().enumerate().map(|(position, part)| {
        (
            Key::Str(format!("_{position}").into()),
            Value::from_bytes(part.to_vec()),
        )
    });
    let map = Map::new(Entries::Strings, entries.collect()).map_err(Failure::new)?;
    Ok(Value::Map(Arc::new(map)))
}

/// Go's `strings.SplitN`: the last part is the rest.
fn limited<'a>(source: &'a [u8], separator: &[u8], parts: Vec<&'a [u8]>, most: i64) -> Vec<&'a [u8]> {
    let Ok(most) = usize::try_from(most) else {
        return parts;
    };
    if most == 0 {
        return Vec::new();
    }
    if parts.len() <= most {
        return parts;
    }
    let before: usize = parts
        .iter()
        .take(most - 1)
        .map(|part| part.len() + separator.len())
        .sum();
    let mut out: Vec<&[u8]> = parts.into_iter().take(most - 1).collect();
    out.push(source.get(before..).unwrap_or_default());
    out
}

/// Go's `Regexp.Split`
fn regex_split(context: &mut Context<'_>, arguments: &[Value]) -> Return {
    let (pattern, source, most) = (text(arguments, 0), bytes(arguments, 1), int(arguments, 2));
    let found = regex::compiled(context, &pattern, source)?;
    if most == 0 {
        return plain::strings(context, Vec::new());
    }
    if !pattern.is_empty() && source.is_empty() {
        return plain::strings(context, vec![b""]);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for place in found.regex.find_iter(source) {
        if parts.len() == most - 1 {
            break;
        }
        end = place.start();
        if place.end() != 0 {
            parts.push(source.get(begin..end).unwrap_or_default());
        }
        begin = place.end();
    }
    if end != source.len() {
        parts.push(source.get(begin..).unwrap_or_default());
    }
    plain::strings(context, parts)
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(source: &[u8]) -> String {
    let mut out = String::new();
    for block in source.chunks(5) {
        let mut bits = 0_u64;
        for place in 0..5 {
            bits = bits << 8 | u64::from(block.get(place).copied().unwrap_or(0));
        }
        let letters = (block.len() * 8).div_ceil(5);
        for place in 0..8 {
            let digit = usize::try_from(bits >> (35 - 5 * place) & 31).unwrap_or(0);
            out.push(if place < letters {
                char::from(BASE32[digit])
            } else {
                '='
            });
        }
    }
    out
}

/// sprig gives the words of an error for a text that is none; they are of no use in a file.
fn from_base32(source: &[u8]) -> Return {
    let clean: Vec<u8> = source
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let mut out = Vec::new();
    if !clean.len().is_multiple_of(8) {
        return failed("illegal base32 data");
    }
    for (position, block) in clean.chunks(8).enumerate() {
        let letters = block.iter().position(|byte| *byte == b'=').unwrap_or(8);
        let is_last = (position + 1) * 8 == clean.len();
        let padded = block[letters..].iter().all(|byte| *byte == b'=');
        if !padded || (letters < 8 && !is_last) || !matches!(letters, 2 | 4 | 5 | 7 | 8) {
            return failed("illegal base32 data");
        }
        let mut bits = 0_u64;
        for place in 0..8 {
            let digit = match block.get(place).filter(|_| place < letters) {
                None => 0,
                Some(byte) => match BASE32.iter().position(|letter| letter == byte) {
                    Some(digit) => digit,
                    None => return failed("illegal base32 data"),
                },
            };
            bits = bits << 5 | u64::try_from(digit).unwrap_or(0);
        }
        let count = letters * 5 / 8;
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + count]);
    }
    Ok(Value::from_bytes(out))
}

fn adler32(source: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in source {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}
