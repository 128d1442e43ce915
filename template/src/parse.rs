//! A template's text becomes a checked tree, or an error with line and column.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits;
use crate::syntax::{self, List, Pos, Syntax};

/// The two delimiters of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delims {
    /// Opens an action, `{{` by default.
    pub left: String,
    /// Closes an action, `}}` by default.
    pub right: String,
}

impl Default for Delims {
    fn default() -> Self {
        Self {
            left: "{{".to_owned(),
            right: "}}".to_owned(),
        }
    }
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// The line, from 1; 0 when it is not known.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        match (line, column) {
            (0, _) => write!(f, "{message}"),
            (_, Some(column)) => write!(f, "line {line}, column {column}: {message}"),
            (_, None) => write!(f, "line {line}: {message}"),
        }
    }
}

impl ParseError {
    pub(crate) fn at(source: &str, pos: Pos, message: String) -> Self {
        let (line, column) = place(source, pos);
        Self {
            line,
            column: Some(column),
            message,
        }
    }
}

/// The line and the column, in characters, of a byte offset; both from 1.
pub(crate) fn place(source: &str, pos: Pos) -> (usize, usize) {
    let before = source.get(..pos.min(source.len())).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// A template that parsed, whose functions and variables all exist.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) source: String,
    pub(crate) main: List,
    defines: BTreeMap<Arc<str>, List>,
}

impl Template {
    /// Parses a template and checks, without rendering it, that every function and variable exists.
    ///
    /// # Errors
    /// A syntax error, a function that does not exist or is refused (with the reason), an undeclared variable, a text that
    /// is too large or nested too deeply.
    pub fn parse(text: &str, delims: &Delims) -> Result<Self, ParseError> {
        limits::refuse(text, delims)?;
        let Syntax { main, defines } = syntax::parse(text, delims)?;
        Ok(Self {
            source: text.to_owned(),
            main,
            defines,
        })
    }

    /// The body of a definition; the template itself has the empty name.
    pub(crate) fn body(&self, name: &str) -> Option<&List> {
        match self.defines.get(name) {
            None if name.is_empty() => Some(&self.main),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ParseError {
        Template::parse(text, &Delims::default()).expect_err("the template must be refused")
    }

    #[test]
    fn an_unknown_function_is_found_without_rendering() {
        let error = error("line one\n  {{ if false }}{{ nope 1 }}{{ end }}");
        assert_eq!(
            (error.line, error.column),
            (2, Some(20)),
            "the place is wrong: {error}"
        );
        assert!(
            error.message.contains("\"nope\""),
            "the function is not named: {error}"
        );
    }

    #[test]
    fn an_unclosed_action_names_its_line() {
        assert_eq!(error("a\n{{ if true }}").line, 2, "the error must be on line 2");
    }

    #[test]
    fn an_unclosed_block_is_named_by_its_beginning() {
        let error = error("a\n{{ if 1 }}\n{{ with 2 }}\n{{ end }}\nb\nc");
        assert_eq!(error.line, 2, "where it begins, not where the text ends: {error}");
        assert!(error.message.contains("has no {{end}}"), "what is wrong: {error}");
    }

    #[test]
    fn every_kind_of_unclosed_block_is_found() {
        for open in [
            "if true",
            "with 1",
            "range 3",
            "define \"a\"",
            "block \"a\" 1",
            "if true }}{{ else",
            "if 1 }}{{ with 2",
        ] {
            let text = format!("x {{{{ {open} }}}} y");
            assert!(
                Template::parse(&text, &Delims::default()).is_err(),
                "{text} has no end"
            );
        }
        for text in [
            "",
            "{{ if true }}{{ end }}",
            "{{ range 3 }}x{{ end }}{",
            "{{/* c */}}",
        ] {
            let parsed = Template::parse(text, &Delims::default());
            assert!(parsed.is_ok(), "{text} is complete: {parsed:?}");
        }
    }

    #[test]
    fn an_end_too_many_is_found() {
        for text in [
            "a{{ end }}b",
            "{{ if 1 }}{{ end }}{{ end }}",
            "{{ else }}",
            "{{ end }}{{ nope }}",
        ] {
            assert!(
                Template::parse(text, &Delims::default()).is_err(),
                "{text} has an end too many"
            );
        }
    }

    #[test]
    fn break_and_continue_need_a_range() {
        for text in [
            "{{ break }}",
            "{{ if 1 }}{{ continue }}{{ end }}",
            "{{ range 3 }}{{ else }}{{ break }}{{ end }}",
        ] {
            assert!(
                error(text).message.contains("outside {{range}}"),
                "{text} breaks out of nothing"
            );
        }
        assert!(
            Template::parse(
                "{{ range 3 }}{{ if 1 }}{{ break }}{{ end }}{{ end }}",
                &Delims::default()
            )
            .is_ok()
        );
    }

    #[test]
    fn any_mixture_of_pieces_is_a_template_or_an_error() {
        const PIECES: &[&str] = &[
            "{{", "}}", "{{-", "-}}", "if", "end", "else", "range", "with", "define", "\"a\"", "template",
            "block", "break", " ", " ", " ", "$x", ":=", "=", "|", "(", ")", ".", ".a", "1", "'", "`", "\"",
            "/*", "*/", ",", "nil", "secret", "\n", "é", "x",
        ];
        // A fixed linear congruential generator: the same pieces in every run.
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PIECES[usize::try_from(state >> 33).unwrap() % PIECES.len()]);
            }
            let result = std::panic::catch_unwind(|| Template::parse(&text, &Delims::default()).is_ok());
            assert!(result.is_ok(), "the parser panicked on {text:?}");
        }
    }

    #[test]
    fn a_refused_function_says_why() {
        let error = error("{{ plugin \"/bin/sh\" }}");
        assert!(
            error.message.contains("runs programs"),
            "no reason was given: {error}"
        );
    }

    #[test]
    fn an_undeclared_variable_is_found_without_rendering() {
        let error = error("{{ with $x := 1 }}{{ $x }}{{ end }}{{ $x }}");
        assert!(error.message.contains("$x"), "the variable is not named: {error}");
    }

    #[test]
    fn other_delimiters_are_used() {
        let delims = Delims {
            left: "<<".into(),
            right: ">>".into(),
        };
        assert!(
            Template::parse("{{ nope }} << nope >>", &delims).is_err(),
            "<< >> must be read"
        );
        assert!(
            Template::parse("{{ nope }}", &delims).is_ok(),
            "{{ }} is plain text now"
        );
    }

    #[test]
    fn a_template_defined_twice_is_refused() {
        assert!(
            error("{{define \"a\"}}x{{end}}{{define \"a\"}}y{{end}}")
                .message
                .contains("multiple definition")
        );
    }
}
