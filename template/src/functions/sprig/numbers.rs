//! Arithmetic: what is no number counts as 0.

use super::cast::{to_float, to_int};
use crate::fmt;
use crate::functions::arguments::{at, bytes};
use crate::functions::signature::{Function, Type, fixed, variadic};
use crate::functions::{Return, convert, failed};
use crate::value::Value;

const ANY: &[Type] = &[Type::Any];
const PAIR: &[Type] = &[Type::Any, Type::Any];

pub(super) fn find(name: &str) -> Option<Function> {
    match name {
        "atoi" => fixed(&[Type::Text], |_, a| {
            let text = std::str::from_utf8(bytes(a, 0)).unwrap_or_default();
            Ok(Value::Int(atoi(text)))
        }),
        "int" => fixed(ANY, |_, a| Ok(Value::Int(to_int(at(a, 0))))),
        "int64" => fixed(ANY, |_, a| Ok(Value::Int64(to_int(at(a, 0))))),
        "float64" => fixed(ANY, |_, a| Ok(Value::Float(to_float(at(a, 0))))),
        "toDecimal" => fixed(ANY, |_, a| {
            let text = fmt::sprint(a).unwrap_or_default();
            let text = std::str::from_utf8(&text).unwrap_or_default();
            Ok(Value::Int64(i64::from_str_radix(text, 8).unwrap_or(0)))
        }),
        "add1" => fixed(ANY, |_, a| Ok(Value::Int64(to_int(at(a, 0)).wrapping_add(1)))),
        "add" => variadic(&[], Type::Any, |_, a| {
            Ok(Value::Int64(a.iter().map(to_int).fold(0, i64::wrapping_add)))
        }),
        "sub" => fixed(PAIR, |_, a| {
            Ok(Value::Int64(to_int(at(a, 0)).wrapping_sub(to_int(at(a, 1)))))
        }),
        "div" => fixed(PAIR, |_, a| divided(a, i64::wrapping_div)),
        "mod" => fixed(PAIR, |_, a| divided(a, i64::wrapping_rem)),
        "mul" => variadic(ANY, Type::Any, |_, a| {
            Ok(Value::Int64(a.iter().map(to_int).fold(1, i64::wrapping_mul)))
        }),
        "max" | "biggest" => variadic(ANY, Type::Any, |_, a| {
            Ok(Value::Int64(a.iter().map(to_int).max().unwrap_or(0)))
        }),
        "min" => variadic(ANY, Type::Any, |_, a| {
            Ok(Value::Int64(a.iter().map(to_int).min().unwrap_or(0)))
        }),
        "maxf" => variadic(ANY, Type::Any, |_, a| Ok(Value::Float(folded(a, f64::max)))),
        "minf" => variadic(ANY, Type::Any, |_, a| Ok(Value::Float(folded(a, f64::min)))),
        "ceil" => fixed(ANY, |_, a| Ok(Value::Float(to_float(at(a, 0)).ceil()))),
        "floor" => fixed(ANY, |_, a| Ok(Value::Float(to_float(at(a, 0)).floor()))),
        "round" => variadic(&[Type::Any, Type::Int], Type::Float, |_, a| {
            Ok(Value::Float(round(a)))
        }),
        _ => None,
    }
}

/// Go's `strconv.Atoi` with its error thrown away: the nearest number when it is out of range.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    convert::integer(text).unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn divided(arguments: &[Value], divide: fn(i64, i64) -> i64) -> Return {
    let (left, right) = (to_int(at(arguments, 0)), to_int(at(arguments, 1)));
    if right == 0 {
        return failed("runtime error: integer divide by zero");
    }
    Ok(Value::Int64(divide(left, right)))
}

fn folded(arguments: &[Value], choose: fn(f64, f64) -> f64) -> f64 {
    arguments.iter().map(to_float).reduce(choose).unwrap_or(0.0)
}

/// `round NUMBER PLACES [FROM]`
fn round(arguments: &[Value]) -> f64 {
    let from = match at(arguments, 2) {
        Value::Float(from) => *from,
        _ => 0.5,
    };
    let power = 10.0_f64.powf(to_float(at(arguments, 1)));
    let digit = power * to_float(at(arguments, 0));
    let rounded = if digit.fract() >= from {
        digit.ceil()
    } else {
        digit.floor()
    };
    rounded / power
}
