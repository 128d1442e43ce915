//! A template's text becomes a checked tree, or an error with line and column.

use std::collections::BTreeMap;

use gotmpl::parse::{ListNode, Node, Parser, Pos};

use crate::check;
use crate::limits;

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
        Self {
            line: pos.line,
            column: Some(column(source, pos.offset)),
            message,
        }
    }
}

impl From<gotmpl::TemplateError> for ParseError {
    fn from(error: gotmpl::TemplateError) -> Self {
        use gotmpl::TemplateError as E;
        match error {
            E::Parse {
                name: _,
                line,
                col,
                message,
            }
            | E::Lex {
                name: _,
                line,
                col,
                message,
            } => Self {
                line,
                column: (col > 0).then_some(col),
                message,
            },
            other => Self {
                line: 0,
                column: None,
                message: other.to_string(),
            },
        }
    }
}

/// The column, in characters from 1, of a byte offset.
pub(crate) fn column(source: &str, offset: usize) -> usize {
    let before = source.get(..offset.min(source.len())).unwrap_or(source);
    before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1
}

/// A template that parsed, whose functions and variables all exist.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) source: String,
    pub(crate) tree: ListNode,
    pub(crate) defines: BTreeMap<String, ListNode>,
}

impl Template {
    /// Parses a template and checks, without rendering it, that every function and variable exists.
    ///
    /// # Errors
    /// A syntax error, a function that does not exist or is refused (with the reason), an undeclared variable, a text that
    /// is too large or nested too deeply.
    pub fn parse(text: &str, delims: &Delims) -> Result<Self, ParseError> {
        limits::refuse(text, delims)?;
        let (tree, found) = Parser::new(text, &delims.left, &delims.right)?.parse()?;
        blocks_are_closed(text, delims)?;
        let mut defines: BTreeMap<String, ListNode> = BTreeMap::new();
        for define in found {
            let empty = define.body.is_empty_tree();
            match defines.get(define.name.as_str()) {
                // Go lets an empty definition stand beside a real one, and refuses two real ones.
                Some(_) if empty => continue,
                Some(earlier) if !earlier.is_empty_tree() => {
                    let message = format!("template {:?} is defined twice", define.name.as_str());
                    return Err(ParseError::at(text, define.pos, message));
                }
                _ => {}
            }
            defines.insert(define.name.to_string(), define.body);
        }
        check::tree(text, &tree)?;
        for body in defines.values() {
            check::tree(text, body)?;
        }
        Ok(Self {
            source: text.to_owned(),
            tree,
            defines,
        })
    }
}

/// The parser takes the end of the text for the end of every open block, and drops what follows an `end` too many.
/// So an action is put behind the text: it must come out as the last thing at the top.
fn blocks_are_closed(text: &str, delims: &Delims) -> Result<(), ParseError> {
    let Delims { left, right } = delims;
    let longer = format!("{text}\n{left} 0 {right}");
    let (tree, defines) = Parser::new(&longer, left, right)?.parse()?;
    let is_behind = |node: &Node| matches!(node, Node::Action(action) if action.pos.offset > text.len());
    if tree.nodes.last().is_some_and(is_behind) {
        return Ok(());
    }
    // The last thing inside the last thing, down to the action: then the outermost block is open.
    let mut last = tree.nodes.last();
    while let Some(Node::If(block) | Node::With(block) | Node::Range(block)) = last {
        let body = block.else_body.as_ref().unwrap_or(&block.body);
        if body.nodes.last().is_some_and(is_behind) || body.nodes.is_empty() {
            return Err(ParseError::at(
                text,
                block.pos,
                "this block has no end".to_owned(),
            ));
        }
        last = body.nodes.last();
    }
    for define in defines {
        if define.body.nodes.last().is_some_and(is_behind) {
            return Err(ParseError::at(
                text,
                define.pos,
                format!("{:?} has no end", define.name.as_str()),
            ));
        }
    }
    Err(ParseError {
        line: text.lines().count(),
        column: None,
        message: "an end or else too many, or too few".to_owned(),
    })
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
                error(text).message.contains("outside of a range"),
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
                .contains("twice")
        );
    }
}
