//! What a bucket answers instead of what was asked for. Its words are left out but for its own code of the error.

use std::error::Error as _;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step}: {problem}")]
pub struct Error {
    /// What was to be done.
    pub step: &'static str,
    /// What happened.
    pub problem: Problem,
}

/// What happened to a call.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// Not connected, or the connection broke.
    #[error("{0}")]
    Network(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Another status than 2xx.
    #[error("the service answers {status}{}", code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's word for it, such as `AccessDenied`.
        code: Option<String>,
    },
    /// An answer that cannot be read.
    #[error("the answer is not one of S3")]
    NotUnderstood,
    /// Longer than expected.
    #[error("the answer is too long")]
    TooLong,
}

impl Problem {
    /// Whether the same call may succeed in a moment.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Network(_) | Self::TimedOut => true,
            Self::Refused { status, code: _ } => *status >= 500 || matches!(status, 408 | 429),
            Self::NotUnderstood | Self::TooLong => false,
        }
    }

    /// A word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Network(_) | Self::TimedOut => "StorageUnreachable",
            Self::Refused { .. } => "StorageRefused",
            Self::NotUnderstood | Self::TooLong => "StorageNotUnderstood",
        }
    }
}

/// Without the URL, which holds the signature.
pub(super) fn network(error: reqwest::Error) -> Problem {
    if error.is_timeout() {
        return Problem::TimedOut;
    }
    let error = error.without_url();
    let mut innermost = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    Problem::Network(innermost.map_or_else(|| error.to_string(), ToString::to_string))
}

/// The code in the answer of a service: `<Code>NoSuchBucket</Code>`. Nothing but a word is taken from it.
pub(super) fn code(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_word_of_the_error_is_repeated() {
        let body =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>key AKIA123</Message></Error>";
        assert_eq!(code(body).as_deref(), Some("SlowDown"));
        for hostile in [
            "<Code>a b</Code>",
            "<Code></Code>",
            "<Code>x",
            &format!("<Code>{}</Code>", "x".repeat(65)),
        ] {
            assert_eq!(code(hostile), None, "{hostile}");
        }
        let refused = |status| Problem::Refused {
            status,
            code: code(body),
        };
        assert_eq!(refused(503).to_string(), "the service answers 503 SlowDown");
        assert!(refused(503).may_pass() && !refused(403).may_pass());
    }
}
