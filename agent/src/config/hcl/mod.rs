//! HCL as Vault reads it (version 1): comments, blocks with names, `=` or not before an object, heredocs. Pure; it never
//! panics, and nesting is bounded, so that no text can exhaust the stack.

mod parse;
mod scan;
mod text;

pub(super) use parse::parse;

/// A mistake in the text, with its place. Nothing of the text is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line}, column {column}")]
pub struct HclError {
    /// What is wrong.
    pub reason: &'static str,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}
