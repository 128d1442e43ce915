//! What is refused before the first step of the parser. How deep blocks and parentheses go, the parser counts itself: an
//! overflow of the stack would end the whole program.

use crate::parse::{Delims, ParseError};

/// How large a template may be, in bytes: as large as all annotations of a pod together.
const MAX_TEXT: usize = 256 << 10;
/// Refuses a text that is too large, and delimiters that are none.
pub(crate) fn refuse(text: &str, delims: &Delims) -> Result<(), ParseError> {
    let Delims { left, right } = delims;
    if left.trim().is_empty() || right.trim().is_empty() {
        return Err(whole("a delimiter is empty".to_owned()));
    }
    if text.len() > MAX_TEXT {
        return Err(whole(format!(
            "the template has {} bytes, and may have {MAX_TEXT}: split it into several",
            text.len()
        )));
    }
    Ok(())
}

fn whole(message: String) -> ParseError {
    ParseError {
        line: 0,
        column: None,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use crate::secrets::{Answer, Query, Secrets};
    use crate::{Delims, Host, Options, Template};

    struct Nothing;

    impl Host for Nothing {
        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(None)
        }
    }

    impl Secrets for Nothing {
        fn answer(&self, _: &Query) -> Option<Answer> {
            None
        }
    }

    /// Parses and renders on a stack as small as that of a runtime's worker; an overflow ends the test program.
    fn run(text: String, delims: Delims) -> Result<Result<(), String>, String> {
        let work = move || {
            let template = Template::parse(&text, &delims).map_err(|error| error.to_string())?;
            let options = Options {
                error_on_missing_key: false,
                denied: &[],
                destination: "",
                host: &Nothing,
                now: SystemTime::UNIX_EPOCH,
            };
            let rendered = template.render(&Nothing, &options);
            Ok(rendered.map(|_| ()).map_err(|error| error.to_string()))
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread
            .spawn(work)
            .expect("a thread")
            .join()
            .expect("neither step panics")
    }

    fn nested(open: &str, inner: &str, close: &str, count: usize) -> String {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    }

    #[test]
    fn a_long_chain_of_else_if_is_refused_with_its_line() {
        for link in ["{{else if 1}}", "{{- else if 1 -}}", "{{\n\nelse\nif 1}}"] {
            let text = format!("{{{{if 0}}}}a{}{{{{end}}}}", link.repeat(4000));
            let error = run(text, Delims::default()).expect_err("the chain is too long");
            assert!(
                error.starts_with("line ") && error.contains("more than 1000 else if"),
                "the place and the reason: {error}"
            );
        }
        let delims = Delims {
            left: "<".to_owned(),
            right: ">".to_owned(),
        };
        let text = format!("<if 0>\n{}<end>", "< else if 1>\n".repeat(4000));
        let error = run(text, delims).expect_err("with other delimiters too");
        assert!(error.starts_with("line 1002,"), "the first one too many: {error}");
    }

    #[test]
    fn a_chain_of_ordinary_length_is_rendered() {
        let text = format!(
            "{{{{if 0}}}}{}{{{{else}}}}b{{{{end}}}}",
            "{{else if 0}}a".repeat(100)
        );
        assert_eq!(
            run(text, Delims::default()),
            Ok(Ok(())),
            "a hundred links are taken"
        );
        let text = "else if {{else if".to_owned();
        assert!(
            run(text, Delims::default()).is_err(),
            "a fragment is an error as ever"
        );
        assert_eq!(
            run("else if ".repeat(4000), Delims::default()),
            Ok(Ok(())),
            "outside an action they are words"
        );
    }

    #[test]
    fn nothing_nested_overflows_the_stack() {
        let chain = format!("{{{{if 0}}}}{}", "{{else if 1}}".repeat(100));
        for count in [10, 45, 90, 97, 98, 99, 100, 101, 20_000] {
            for (open, inner, close) in [
                ("{{if 1}}", "x", "{{end}}"),
                ("{{if 0}}{{else}}", "x", "{{end}}"),
                ("{{with 1}}", "x", "{{end}}"),
                ("{{range 1}}", "x", "{{end}}"),
                ("{{define \"a\"}}", "x", "{{end}}"),
                ("{{block \"a\" 1}}", "x", "{{end}}"),
                ("{{if 1}}", "", ""),
                ("(", "1", ")"),
                ("(1 | print ", "1", ")"),
                ("(not ", "1", ").a"),
            ] {
                let text = nested(open, inner, close, count);
                let text = if open.starts_with('(') {
                    format!("{{{{ {text} }}}}")
                } else {
                    text
                };
                // Whether it is taken depends on the count; that it comes back is what is tested.
                drop(run(text.clone(), Delims::default()));
                drop(run(format!("{chain}{text}{{{{end}}}}"), Delims::default()));
            }
        }
        let long = ".a".repeat(50_000);
        drop(run(
            format!("{{{{ {long} }}}}{{{{ $ {long} }}}}"),
            Delims::default(),
        ));
        drop(run(
            format!("{{{{ 1 {} }}}}", "| print ".repeat(20_000)),
            Delims::default(),
        ));
    }

    #[test]
    fn a_template_that_calls_itself_is_an_error() {
        let parenthesised = nested("(print ", "(executeTemplate \"a\")", ")", 90);
        let blocks = nested("{{if 1}}", "{{template \"a\"}}", "{{end}}", 90);
        let chain = format!(
            "{{{{if 0}}}}{}{{{{template \"a\"}}}}{{{{end}}}}",
            "{{else if 0}}".repeat(99) + "{{else if 1}}"
        );
        for body in [
            "{{template \"a\"}}".to_owned(),
            "{{executeTemplate \"a\"}}".to_owned(),
            "{{template \"b\"}}{{end}}{{define \"b\"}}{{template \"a\"}}".to_owned(),
            format!("{{{{ {parenthesised} }}}}"),
            format!("{{{{template \"a\" {parenthesised} }}}}"),
            blocks,
            chain,
        ] {
            let text = format!("{{{{define \"a\"}}}}{body}{{{{end}}}}{{{{template \"a\"}}}}");
            let error = run(text, Delims::default())
                .expect("it parses")
                .expect_err("it calls itself for ever");
            assert!(error.contains("nested too deeply"), "the reason: {error}");
        }
    }

    #[test]
    fn a_text_that_is_too_large_is_refused() {
        assert_eq!(run("x".repeat(256 << 10), Delims::default()), Ok(Ok(())));
        let error = run("x".repeat((256 << 10) + 1), Delims::default()).expect_err("one byte too many");
        assert!(error.contains("may have 262144"), "the limit is named: {error}");
    }

    #[test]
    fn an_empty_delimiter_is_refused() {
        for (left, right) in [("", "}}"), ("{{", ""), (" ", "}}")] {
            let delims = Delims {
                left: left.to_owned(),
                right: right.to_owned(),
            };
            assert!(run("a b".to_owned(), delims).is_err(), "{left:?} {right:?}");
        }
    }
}
