//! Arithmetic. A piped value is the left operand: `10 | subtract 3` is 7.

use super::arguments::exactly;
use super::{Failure, Function, Return, failed};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "add" => |_, a| calculate("add", a, i64::checked_add, |x, y| x + y),
        "subtract" => |_, a| calculate("subtract", a, i64::checked_sub, |x, y| x - y),
        "multiply" => |_, a| calculate("multiply", a, i64::checked_mul, |x, y| x * y),
        "divide" => |_, a| calculate("divide", a, i64::checked_div, |x, y| x / y),
        "minimum" => |_, a| calculate("minimum", a, |x, y| Some(x.min(y)), f64::min),
        "maximum" => |_, a| calculate("maximum", a, |x, y| Some(x.max(y)), f64::max),
        "modulo" => modulo,
        _ => return None,
    })
}

enum Operand {
    Int(i64),
    Float(f64),
}

fn operand(name: &str, value: &Value) -> Result<Operand, Failure> {
    match value {
        Value::Int(value) => Ok(Operand::Int(*value)),
        Value::Float(value) => Ok(Operand::Float(*value)),
        other => failed(format!(
            "{name}: unknown type for a value ({})",
            other.type_name()
        )),
    }
}

#[expect(clippy::cast_precision_loss, reason = "Go converts in the same way")]
fn calculate(
    name: &str,
    arguments: &[Value],
    whole: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
) -> Return {
    // The piped value comes last and stands on the left.
    let [right, left] = exactly(name, arguments)?;
    let (left, right) = match (operand(name, left)?, operand(name, right)?) {
        (Operand::Int(left), Operand::Int(right)) => {
            let result = whole(left, right).map(Value::Int);
            return result.map_or_else(|| failed(format!("{name}: division by zero or overflow")), Ok);
        }
        (Operand::Int(left), Operand::Float(right)) => (left as f64, right),
        (Operand::Float(left), Operand::Int(right)) => (left, right as f64),
        (Operand::Float(left), Operand::Float(right)) => (left, right),
    };
    Ok(Value::Float(float(left, right)))
}

fn modulo(_: &mut super::Context<'_>, arguments: &[Value]) -> Return {
    let [right, left] = exactly("modulo", arguments)?;
    match (operand("modulo", left)?, operand("modulo", right)?) {
        (Operand::Int(left), Operand::Int(right)) => left
            .checked_rem(right)
            .map_or_else(|| failed("modulo: division by zero"), |rest| Ok(Value::Int(rest))),
        _ => failed("modulo: only integers have a remainder"),
    }
}
