//! Writes an expression back as text, for error messages (`at <.Data.data.nope>`).

use gotmpl::parse::{CommandNode, Expr, Number, PipeNode, SmolStr};

/// The expression as it stood in the template, near enough to recognise it.
pub(crate) fn expression(expression: &Expr) -> String {
    match expression {
        Expr::Dot(_) => ".".to_owned(),
        Expr::Field(_, names) => dotted(names),
        Expr::Variable(_, name, fields) => format!("{name}{}", dotted(fields)),
        Expr::Identifier(_, name) => name.to_string(),
        Expr::String(_, text) => format!("{text:?}"),
        Expr::Number(_, Number::Int(value)) => value.to_string(),
        Expr::Number(_, Number::Uint(value)) => value.to_string(),
        Expr::Number(_, Number::Float(value)) => value.to_string(),
        Expr::Bool(_, value) => value.to_string(),
        Expr::Nil(_) => "nil".to_owned(),
        Expr::Pipe(_, inner) => format!("({})", pipe(inner)),
        Expr::Chain(_, inner, fields) => format!("{}{}", self::expression(inner), dotted(fields)),
    }
}

/// `.a.b`
fn dotted(names: &[SmolStr]) -> String {
    let mut out = String::new();
    for name in names {
        out.push('.');
        out.push_str(name);
    }
    out
}

/// A command: a function with its arguments, or a single operand.
pub(crate) fn command(command: &CommandNode) -> String {
    command.args.iter().map(expression).collect::<Vec<_>>().join(" ")
}

fn pipe(pipe: &PipeNode) -> String {
    pipe.commands.iter().map(command).collect::<Vec<_>>().join(" | ")
}
