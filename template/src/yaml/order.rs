//! The order of keys in yaml.v2: numbers within texts by their value (`a2` before `a10`), letters after the rest.

use crate::value::{Key, Value};

/// Puts entries in order. No sort of the standard library: the order is not quite one for odd keys, and those may panic.
pub(super) fn sorted(entries: &[(Key, Value)]) -> Vec<&(Key, Value)> {
    let mut parts: Vec<Vec<&(Key, Value)>> = entries.iter().map(|entry| vec![entry]).collect();
    while parts.len() > 1 {
        let mut merged = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(left) = rest.next() {
            merged.push(match rest.next() {
                Some(right) => merge(left, right),
                None => left,
            });
        }
        parts = merged;
    }
    parts.pop().unwrap_or_default()
}

fn merge<'a>(left: Vec<&'a (Key, Value)>, right: Vec<&'a (Key, Value)>) -> Vec<&'a (Key, Value)> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let next = if less(&other.0, &one.0) {
            right.next()
        } else {
            left.next()
        };
        out.extend(next);
    }
    out.extend(left);
    out.extend(right);
    out
}

fn number(key: &Key) -> Option<f64> {
    match key {
        Key::Bool(value) => Some(f64::from(u8::from(*value))),
        #[expect(clippy::cast_precision_loss, reason = "so does Go")]
        Key::Int(value) => Some(*value as f64),
        Key::Float(value) => Some(*value),
        Key::Nil | Key::Str(_) => None,
    }
}

/// The place of a kind among Go's kinds.
fn kind(key: &Key) -> u8 {
    match key {
        Key::Bool(_) => 1,
        Key::Int(_) => 2,
        Key::Float(_) => 14,
        Key::Nil => 20,
        Key::Str(_) => 24,
    }
}

fn less(left: &Key, right: &Key) -> bool {
    match (number(left), number(right), left.text(), right.text()) {
        (Some(one), Some(other), _, _) => {
            let ordering = one.partial_cmp(&other).filter(|ordering| ordering.is_ne());
            ordering.map_or_else(|| kind(left) < kind(right), std::cmp::Ordering::is_lt)
        }
        (_, _, Some(one), Some(other)) => text_less(one, other),
        _ => kind(left) < kind(right),
    }
}

fn text_less(left: &str, right: &str) -> bool {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    for (at, (one, other)) in left.iter().zip(&right).enumerate() {
        if one == other {
            continue;
        }
        match (one.is_alphabetic(), other.is_alphabetic()) {
            (true, true) => return one < other,
            (false, false) => return digits_less(&left, &right, at),
            (_, other_is_letter) => return other_is_letter,
        }
    }
    left.len() < right.len()
}

/// Compares from the first difference, where neither is a letter: runs of digits by their value.
fn digits_less(left: &[char], right: &[char], at: usize) -> bool {
    let mut start = 0_i64;
    if left[at] == '0' || right[at] == '0' {
        let before = left[..at].iter().rev().take_while(|c| c.is_ascii_digit());
        if before.into_iter().any(|c| *c != '0') {
            start = 1;
        }
    }
    let run = |text: &[char]| {
        let digits = text[at..].iter().map_while(|c| c.to_digit(10));
        digits.fold((start, 0_usize), |(value, count), digit| {
            (value.wrapping_mul(10).wrapping_add(i64::from(digit)), count + 1)
        })
    };
    let ((one, one_count), (other, other_count)) = (run(left), run(right));
    if one != other {
        return one < other;
    }
    if one_count != other_count {
        return one_count < other_count;
    }
    left[at] < right[at]
}
