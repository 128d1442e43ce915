//! Renders a parsed template: walks its tree as Go's text/template does.

mod field;
mod term;
mod walk;

use std::fmt::Display;
use std::sync::Arc;

use secrecy::SecretSlice;

use crate::functions::Context;
use crate::parse::Template;
use crate::render::{Options, Outcome, RenderError};
use crate::secrets::Secrets;
use crate::syntax::Pos;
use crate::value::Value;

/// How deep blocks, parentheses and `template` calls may be nested: more than the parser takes of one text, so that only
/// calls come near. A worker's stack of 2 MiB bears it.
const MAX_DEPTH: usize = 220;
/// How many nodes one rendering may walk.
const MAX_STEPS: u64 = 2_000_000;
/// How many bytes one rendering may write, what `executeTemplate` gives back included: its calls may be nested.
const MAX_WRITTEN: usize = 64 << 20;

/// Why a walk ended early.
enum Stop {
    Break,
    Continue,
    Error(Box<RenderError>),
}

type Walk<T> = Result<T, Stop>;

/// See [`Template::render`].
pub(crate) fn run(
    template: &Template,
    secrets: &dyn Secrets,
    options: &Options<'_>,
) -> Result<Outcome, RenderError> {
    let mut run = Run {
        template,
        calls: Context::new(secrets, options),
        variables: Vec::new(),
        depth: 0,
        steps_left: MAX_STEPS,
        bytes_left: MAX_WRITTEN,
    };
    let mut out = Vec::new();
    let result = run.body(&mut out, &template.main, &Value::Absent);
    let Context {
        used,
        missing,
        files,
        missing_files,
        writes,
        ..
    } = run.calls;
    let incomplete = !missing.is_empty() || !missing_files.is_empty();
    let (out, writes) = match result {
        Ok(()) => (out, writes),
        // What fails on an answer that is not there yet may well succeed once it is.
        Err(_) if incomplete => (Vec::new(), Vec::new()),
        Err(Stop::Error(error)) => return Err(*error),
        // The parser refuses both outside a range.
        Err(Stop::Break | Stop::Continue) => {
            return Err(RenderError {
                line: 0,
                column: 0,
                at: "break or continue".to_owned(),
                message: "outside of a range".to_owned(),
            });
        }
    };
    Ok(Outcome {
        text: SecretSlice::from(out),
        used,
        missing,
        files,
        missing_files,
        writes,
    })
}

struct Run<'a> {
    template: &'a Template,
    calls: Context<'a>,
    /// The variables in scope, innermost last.
    variables: Vec<(Arc<str>, Value)>,
    depth: usize,
    steps_left: u64,
    bytes_left: usize,
}

impl Run<'_> {
    fn error<T>(&self, pos: Pos, at: &dyn Display, message: impl Into<String>) -> Walk<T> {
        let (line, column) = crate::parse::place(&self.template.source, pos);
        Err(Stop::Error(Box::new(RenderError {
            line,
            column,
            at: at.to_string(),
            message: message.into(),
        })))
    }

    /// One level deeper.
    fn nested<T>(&mut self, pos: Pos, at: &dyn Display, walk: impl FnOnce(&mut Self) -> Walk<T>) -> Walk<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(pos, at, "nested too deeply (a template that calls itself?)");
        }
        self.depth += 1;
        let result = walk(self);
        self.depth -= 1;
        result
    }

    /// Counts what was written since the buffer had this length.
    fn wrote(&mut self, before: usize, out: &[u8], pos: Pos, at: &dyn Display) -> Walk<()> {
        match self.bytes_left.checked_sub(out.len().saturating_sub(before)) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => self.error(pos, at, "the template writes more than 64 MiB in all its parts"),
        }
    }

    fn step(&mut self, pos: Pos, at: &dyn Display) -> Walk<()> {
        if self.steps_left == 0 {
            return self.error(pos, at, "too many rounds and calls");
        }
        self.steps_left -= 1;
        Ok(())
    }
}
