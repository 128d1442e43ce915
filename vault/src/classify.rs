//! Judges an answer that is no success: from its status and the server's words to an [`Error`].

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Call, Error, ServerErrors};

/// The most that is kept of the server's error texts, in bytes.
const MAX_TEXT: usize = 2048;

/// An answer that is no success, as far as it matters for judging it.
pub(crate) struct Failure<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// Texts that must not be repeated, should the server quote them.
    pub(crate) secrets: &'a [&'a str],
}

/// Judges an answer by its status and the server's words.
pub(crate) fn classify(call: Call, failure: &Failure<'_>) -> Error {
    let errors = server_errors(failure.body, failure.secrets);
    match failure.status {
        301 | 302 | 307 | 308 => Error::Standby {
            call,
            active: failure.location.and_then(origin),
        },
        400 if errors.mention("Vault is not initialized") || errors.mention("not initialized") => {
            Error::NotInitialized { call }
        }
        400 if errors.mention("already initialized") => Error::AlreadyInitialized { call },
        400 => Error::BadRequest { call, errors },
        403 => Error::Denied {
            call,
            invalid_token: errors.mention("invalid token") || errors.mention("bad token"),
            errors,
        },
        404 => Error::NotFound { call, errors },
        405 => Error::Unsupported { call, errors },
        429 => Error::RateLimited {
            call,
            retry_after: failure
                .retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        },
        500 if errors.mention("active cluster node not found") => Error::NoActive { call },
        503 if errors.mention("has been locked") => Error::Locked { call, errors },
        503 if errors.mention("sealed") => Error::Sealed { call, errors },
        501 => Error::NotInitialized { call },
        status => Error::Server { call, status, errors },
    }
}

/// `https://host:port` of a redirect's target.
fn origin(location: &str) -> Option<String> {
    let url = reqwest::Url::parse(location).ok()?;
    Some(url.origin().ascii_serialization())
}

/// The texts in `{"errors":[…]}` or `{"data":{"error":"…"}}`; the start of a body that is no JSON.
fn server_errors(body: &[u8], secrets: &[&str]) -> ServerErrors {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        errors: Option<Vec<String>>,
        #[serde(default)]
        data: Option<WireData>,
    }
    #[derive(Deserialize)]
    struct WireData {
        #[serde(default)]
        error: Option<String>,
    }
    let texts = match serde_json::from_slice::<Wire>(body) {
        Ok(Wire { errors, data }) => {
            let mut texts = errors.unwrap_or_default();
            texts.extend(data.and_then(|data| data.error));
            texts
        }
        // A proxy's page, or "Client sent an HTTP request to an HTTPS server."
        Err(_) => vec![String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned()],
    };
    let mut left = MAX_TEXT;
    let mut kept = Vec::new();
    for text in texts {
        let mut text = one_line(&text);
        for secret in secrets {
            if !secret.is_empty() {
                text = text.replace(secret, "…");
            }
        }
        truncate(&mut text, left);
        if text.is_empty() {
            continue;
        }
        left -= text.len();
        kept.push(text);
    }
    ServerErrors(kept)
}

/// Vault formats lists over several lines; an error is read in one.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Cuts to at most `max` bytes without splitting a character.
fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let mut end = max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
