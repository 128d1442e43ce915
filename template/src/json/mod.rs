//! JSON in and out, with what Go does differently from other writers: numbers kept as they were sent,
//! sorted keys, and `<`, `>`, `&` escaped.

mod read;
mod write;

pub use read::parse;
pub use write::{Style, WriteError, write};

/// How numbers are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// Exactly as written: Vault's own answers.
    AsSent,
    /// As 64-bit floats: the function `parseJSON`.
    Floats,
}

/// A text that is not JSON. Says where, never what: the text is secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not valid JSON at byte {at}: {what}")]
pub struct JsonError {
    at: usize,
    what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        super::write(
            &parse(text, Numbers::AsSent).unwrap(),
            Style {
                escape_html: true,
                pretty: false,
            },
        )
        .unwrap()
    }

    #[test]
    fn numbers_come_out_as_they_were_sent() {
        for number in ["18446744073709551616", "1.50", "-0.0", "1E5", "5432"] {
            assert_eq!(round(number), number, "a number changed on its way through");
        }
    }

    #[test]
    fn escapes_are_read_and_written_as_go_does() {
        assert_eq!(
            round(r#"{"b":"\u00e9\ud83d\ude00\n","a":"<&>"}"#),
            "{\"a\":\"\\u003c\\u0026\\u003e\",\"b\":\"é😀\\n\"}"
        );
    }

    #[test]
    fn what_is_not_json_is_refused_without_showing_it() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "hunter2",
            "\"hunter2",
            "01",
            "1 2",
            "{\"a\":\"\u{1}\"}",
        ] {
            let error = parse(text, Numbers::AsSent)
                .expect_err("this is not JSON")
                .to_string();
            assert!(!error.contains("hunter2"), "the text was shown: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let text = "[".repeat(100_000);
        assert!(parse(&text, Numbers::AsSent).is_err(), "nesting must be limited");
    }
}
