//! consul-template's arithmetic. The piped value comes last and stands on the left.

use super::arguments::at;
use super::signature::{Function, Type, fixed, variadic};
use super::{Failure, Return, failed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    const TWO: &[Type] = &[Type::Any, Type::Any];
    match name {
        "add" => fixed(TWO, |_, a| {
            calculate(
                "add",
                a,
                |x, y| Some(x.wrapping_add(y)),
                |x, y| Some(x.wrapping_add(y)),
                |x, y| x + y,
            )
        }),
        "subtract" => fixed(TWO, |_, a| {
            calculate(
                "subtract",
                a,
                |x, y| Some(x.wrapping_sub(y)),
                |x, y| Some(x.wrapping_sub(y)),
                |x, y| x - y,
            )
        }),
        "multiply" => fixed(TWO, |_, a| {
            calculate(
                "multiply",
                a,
                |x, y| Some(x.wrapping_mul(y)),
                |x, y| Some(x.wrapping_mul(y)),
                |x, y| x * y,
            )
        }),
        "divide" => fixed(TWO, |_, a| {
            calculate("divide", a, whole_division, u64::checked_div, |x, y| x / y)
        }),
        "modulo" => fixed(TWO, |_, a| {
            if let (Ok(Operand::Float(_)), _) | (_, Ok(Operand::Float(_))) =
                (operand(at(a, 1)), operand(at(a, 0)))
            {
                return failed("modulo: unknown type for a value (float64)");
            }
            calculate("modulo", a, whole_rest, u64::checked_rem, |x, _| x)
        }),
        "minimum" => fixed(TWO, |_, a| choose("minimum", a, |left, right| left < right)),
        "maximum" => fixed(TWO, |_, a| choose("maximum", a, |left, right| left > right)),
        "loop" => variadic(&[], Type::Any, |_, a| sequence(a)),
        _ => None,
    }
}

fn whole_division(left: i64, right: i64) -> Option<i64> {
    if right == 0 {
        None
    } else {
        Some(left.wrapping_div(right))
    }
}

fn whole_rest(left: i64, right: i64) -> Option<i64> {
    if right == 0 {
        None
    } else {
        Some(left.wrapping_rem(right))
    }
}

#[derive(Clone, Copy)]
enum Operand {
    Int(i64),
    Uint(u64),
    Float(f64),
}

fn operand(value: &Value) -> Result<Operand, Failure> {
    match (value.int_kind(), value.uint_kind(), value) {
        (Some(value), _, _) => Ok(Operand::Int(value)),
        (None, Some(value), _) => Ok(Operand::Uint(value)),
        (None, None, Value::Float(value)) => Ok(Operand::Float(*value)),
        (None, None, other) => failed(format!("unknown type for a value ({})", other.type_name())),
    }
}

/// Both operands, the left one first.
fn operands(name: &str, arguments: &[Value]) -> Result<(Operand, Operand), Failure> {
    let named = |failure: Failure| Failure::new(format!("{name}: {failure}"));
    Ok((
        operand(at(arguments, 1)).map_err(named)?,
        operand(at(arguments, 0)).map_err(named)?,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "Go converts in the same way")]
fn as_float(operand: Operand) -> f64 {
    match operand {
        Operand::Int(value) => value as f64,
        Operand::Uint(value) => value as f64,
        Operand::Float(value) => value,
    }
}

/// Both as Go's `int64`, an unsigned one wrapped.
fn as_int(operand: Operand) -> i64 {
    match operand {
        Operand::Int(value) => value,
        Operand::Uint(value) => value.cast_signed(),
        Operand::Float(_) => 0,
    }
}

fn calculate(
    name: &str,
    arguments: &[Value],
    signed: fn(i64, i64) -> Option<i64>,
    unsigned: fn(u64, u64) -> Option<u64>,
    float: fn(f64, f64) -> f64,
) -> Return {
    let (left, right) = operands(name, arguments)?;
    let result = match (left, right) {
        (Operand::Float(_), _) | (_, Operand::Float(_)) => {
            return Ok(Value::Float(float(as_float(left), as_float(right))));
        }
        (Operand::Uint(left), Operand::Uint(right)) => unsigned(left, right).map(Value::Uint64),
        _ => signed(as_int(left), as_int(right)).map(Value::Int64),
    };
    result.map_or_else(|| failed("runtime error: integer divide by zero"), Ok)
}

/// The left one when the comparison holds, else the right one, each as its own widest type.
fn choose(name: &str, arguments: &[Value], holds: fn(f64, f64) -> bool) -> Return {
    let (left, right) = operands(name, arguments)?;
    let takes_left = match (left, right) {
        (Operand::Float(_), _) | (_, Operand::Float(_)) => holds(as_float(left), as_float(right)),
        (Operand::Uint(one), Operand::Uint(other)) => {
            // Compared as whole numbers: floats would lose the last digits.
            let ordering = one.cmp(&other);
            holds(f64::from(ordering as i8), 0.0)
        }
        _ => holds(f64::from(as_int(left).cmp(&as_int(right)) as i8), 0.0),
    };
    Ok(match if takes_left { left } else { right } {
        Operand::Int(value) => Value::Int64(value),
        Operand::Uint(value) => Value::Uint64(value),
        Operand::Float(value) => Value::Float(value),
    })
}

/// `loop N` counts from 0 to N-1, `loop A B` from A to B-1.
fn sequence(arguments: &[Value]) -> Return {
    let (from, to) = match arguments {
        [to] => (0, bound(to)?),
        [from, to] => (bound(from)?, bound(to)?),
        _ => {
            return failed(format!(
                "loop: wrong number of arguments, expected 1 or 2, but got {}",
                arguments.len()
            ));
        }
    };
    Ok(Value::Sequence(from, to))
}

fn bound(value: &Value) -> Result<i64, Failure> {
    if let Some(value) = value.int_kind() {
        return Ok(value);
    }
    if let Some(value) = value.uint_kind() {
        return Ok(value.cast_signed());
    }
    let Some(text) = value.string_kind() else {
        return failed(format!("loop: bad argument type: {}", value.type_name()));
    };
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    super::convert::integer(text).map_or_else(|| failed("parseInt: invalid syntax or out of range"), Ok)
}
