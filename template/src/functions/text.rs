//! Functions from string to string.

use super::arguments::{exactly, int, string, text, wrong};
use super::{Context, Function, Return, failed};
use crate::value::{Elements, Value};

/// No text grows larger than this in one call, in bytes.
const MAX_TEXT: usize = 16 << 20;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "indent" => indent,
        "join" => join,
        "regexMatch" => regex_match,
        "regexReplaceAll" => regex_replace_all,
        "replaceAll" => replace_all,
        "split" => split,
        "splitToMap" => split_to_map,
        "toLower" => |_, a| map("toLower", a, str::to_lowercase),
        "toTitle" => |_, a| map("toTitle", a, title),
        "toUpper" => |_, a| map("toUpper", a, str::to_uppercase),
        "trim" => |_, a| two("trim", a, |cut, s| s.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimPrefix" => |_, a| {
            two("trimPrefix", a, |cut, s| {
                s.strip_prefix(cut).unwrap_or(s).to_owned()
            })
        },
        "trimSuffix" => |_, a| {
            two("trimSuffix", a, |cut, s| {
                s.strip_suffix(cut).unwrap_or(s).to_owned()
            })
        },
        "trimSpace" => |_, a| map("trimSpace", a, |s| s.trim().to_owned()),
        "html" => |_, a| printed("html", a, gotmpl::html_escape),
        "js" => |_, a| printed("js", a, gotmpl::js_escape),
        "urlquery" => |_, a| printed("urlquery", a, gotmpl::url_encode),
        _ => return None,
    })
}

fn map(name: &str, arguments: &[Value], change: impl Fn(&str) -> String) -> Return {
    let [value] = exactly(name, arguments)?;
    Ok(string(change(&text(value)?)))
}

fn two(name: &str, arguments: &[Value], change: impl Fn(&str, &str) -> String) -> Return {
    let [first, second] = exactly(name, arguments)?;
    Ok(string(change(&text(first)?, &text(second)?)))
}

/// The escaping builtins take any number of any values and join them as `print` does.
fn printed(name: &str, arguments: &[Value], escape: impl Fn(&str) -> String) -> Return {
    super::arguments::at_least(name, arguments, 1)?;
    Ok(string(escape(&String::from_utf8_lossy(&super::format::joined(
        arguments,
    )))))
}

/// Upper case for the first letter of each word; the rest stays (`hello wORLD` becomes `Hello WORLD`).
fn title(text: &str) -> String {
    let mut last = ' ';
    text.chars()
        .map(|c| {
            let start = !(last.is_alphanumeric() || last == '_' || last == '\'');
            last = c;
            if start {
                c.to_uppercase().next().unwrap_or(c)
            } else {
                c
            }
        })
        .collect()
}

/// `indent N S`: only lines with something in them.
fn indent(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [count, value] = exactly("indent", arguments)?;
    let (count, value) = (int(count)?, text(value)?);
    let Ok(count) = usize::try_from(count) else {
        return failed("indent value must be a positive integer");
    };
    if count.saturating_mul(value.lines().count()) > MAX_TEXT {
        return failed("the indented text would be larger than 16 MiB");
    }
    let mut out = String::with_capacity(value.len());
    for (position, line) in value.split('\n').enumerate() {
        if position > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', count));
        }
        out.push_str(line);
    }
    Ok(string(out))
}

fn join(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [separator, list] = exactly("join", arguments)?;
    let separator = text(separator)?;
    let Value::List(items, Elements::Strings) = list else {
        return Err(wrong(list, "[]string"));
    };
    let items = items.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(string(items.join(&separator)))
}

fn replace_all(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [from, to, value] = exactly("replaceAll", arguments)?;
    let (from, to, value) = (text(from)?, text(to)?, text(value)?);
    if value.len().saturating_add(1).saturating_mul(to.len()) > MAX_TEXT {
        return failed("the replaced text could be larger than 16 MiB");
    }
    Ok(string(value.replace(from.as_ref(), &to)))
}

/// `split SEP S`: S is trimmed first; nothing gives an empty list.
fn split(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [separator, value] = exactly("split", arguments)?;
    let (separator, value) = (text(separator)?, text(value)?);
    let value = value.trim();
    if value.is_empty() {
        return Ok(Value::strings(Vec::<String>::new()));
    }
    if separator.is_empty() {
        return Ok(Value::strings(value.chars().map(String::from)));
    }
    Ok(Value::strings(value.split(separator.as_ref())))
}

/// `splitToMap SEP1 SEP2 S`: items without the second separator are dropped.
fn split_to_map(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [outer, inner, value] = exactly("splitToMap", arguments)?;
    let (outer, inner, value) = (text(outer)?, text(inner)?, text(value)?);
    let pairs = value
        .trim()
        .split(outer.as_ref())
        .filter_map(|item| item.split_once(inner.as_ref()));
    Ok(Value::map(
        pairs.map(|(key, value)| (key.into(), Value::str(value))),
    ))
}

/// A pattern, limited in size. Unicode classes (`\p{…}`) are not known here; RE2's other syntax is.
fn pattern(value: &Value) -> Result<regex_lite::Regex, super::Failure> {
    let pattern = text(value)?;
    let built = regex_lite::RegexBuilder::new(&pattern)
        .size_limit(1 << 20)
        .build();
    // The pattern itself is left out of the error: it may come from a secret.
    built.map_err(|_| super::Failure::Failed("the regular expression is not valid".to_owned()))
}

/// `regexMatch RE S`: anywhere in the text.
fn regex_match(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [regex, value] = exactly("regexMatch", arguments)?;
    Ok(Value::Bool(pattern(regex)?.is_match(&text(value)?)))
}

/// `regexReplaceAll RE REPLACEMENT S`, with `$1` and `${name}` for groups.
fn regex_replace_all(_: &mut Context<'_>, arguments: &[Value]) -> Return {
    let [regex, to, value] = exactly("regexReplaceAll", arguments)?;
    let (to, value) = (text(to)?, text(value)?);
    let mut out = String::new();
    let regex = pattern(regex)?;
    let mut last = 0;
    for found in regex.captures_iter(&value) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(value.get(last..whole.start()).unwrap_or_default());
        found.expand(&to, &mut out);
        last = whole.end();
        if out.len() > MAX_TEXT {
            return failed("the replaced text is larger than 16 MiB");
        }
    }
    out.push_str(value.get(last..).unwrap_or_default());
    Ok(string(out))
}
