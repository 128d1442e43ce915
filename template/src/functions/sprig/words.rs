//! Words and their letters: title, camelcase and the like.

use crate::functions::arguments::{string, text};
use crate::functions::signature::{Function, Type, fixed};

pub(super) fn find(name: &str) -> Option<Function> {
    const ONE: &[Type] = &[Type::Text];
    match name {
        "title" => fixed(ONE, |_, a| string(title(&text(a, 0)))),
        "untitle" => fixed(ONE, |_, a| string(untitle(&text(a, 0)))),
        "nospace" => fixed(ONE, |_, a| {
            string(
                text(a, 0)
                    .chars()
                    .filter(|c| !c.is_whitespace())
                    .collect::<String>(),
            )
        }),
        "initials" => fixed(ONE, |_, a| string(initials(&text(a, 0)))),
        "swapcase" => fixed(ONE, |_, a| string(swap_case(&text(a, 0)))),
        _ => None,
    }
}

fn upper(c: char) -> char {
    let mut changed = c.to_uppercase();
    match (changed.next(), changed.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut changed = c.to_lowercase();
    match (changed.next(), changed.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// Go's `strings.Title`: the first letter of what is between what is neither letter, digit nor underscore.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let separator = if before.is_ascii() {
            !(before.is_ascii_alphanumeric() || before == '_')
        } else {
            !before.is_alphanumeric() && before.is_whitespace()
        };
        out.push(if separator { upper(c) } else { c });
        before = c;
    }
    out
}

fn untitle(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            start = true;
            out.push(c);
        } else {
            out.push(if start { lower(c) } else { c });
            start = false;
        }
    }
    out
}

fn initials(text: &str) -> String {
    let mut start = true;
    let mut out = String::new();
    for c in text.chars() {
        if c.is_whitespace() {
            start = true;
        } else if start {
            out.push(c);
            start = false;
        }
    }
    out
}

fn swap_case(text: &str) -> String {
    let mut after_space = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let swapped = if c.is_uppercase() {
            lower(c)
        } else if c.is_lowercase() {
            // The first letter of a word gets its title form, which is the upper one for nearly all.
            let _ = after_space;
            upper(c)
        } else {
            c
        };
        after_space = c.is_whitespace();
        out.push(swapped);
    }
    out
}
