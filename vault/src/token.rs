//! A Vault token: it can be sent and compared with nothing, and printed only on purpose.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

/// A token, as sent in the header `X-Vault-Token`. `Debug` prints `Token(…)`; there is no `Display`.
#[derive(Clone)]
pub struct Token(SecretString);

/// Why a text cannot be a token. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// Something that no HTTP header can carry.
    #[error("the token holds a character that is not visible ASCII")]
    NotVisibleAscii,
}

impl Token {
    /// Takes a token; white space around it, as files often have, is dropped.
    pub fn new(text: impl Into<SecretString>) -> std::result::Result<Self, TokenError> {
        let text: SecretString = text.into();
        let trimmed = text.expose_secret().trim();
        if trimmed.is_empty() {
            return Err(TokenError::Empty);
        }
        if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotVisibleAscii);
        }
        Ok(Self(SecretString::from(trimmed)))
    }

    /// The token's text. Only for writing it to where a user asked for it; never for a log or an error.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The header's value, marked so that the HTTP stack does not print it either.
    pub(crate) fn header(&self) -> std::result::Result<HeaderValue, TokenError> {
        let mut value = HeaderValue::from_str(self.expose()).map_err(|_| TokenError::NotVisibleAscii)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_token() {
        let token = Token::new("hvs.abcdef").unwrap();
        assert_eq!(
            format!("{token:?}"),
            "Token(…)",
            "no part of the token may be printed"
        );
        let header = token.header().unwrap();
        assert_eq!(
            format!("{header:?}"),
            "Sensitive",
            "the header must be marked sensitive"
        );
    }

    #[test]
    fn white_space_around_a_token_is_dropped() {
        assert_eq!(
            Token::new("  hvs.abc\n").unwrap().expose(),
            "hvs.abc",
            "a file ends with a newline"
        );
    }

    #[test]
    fn what_no_header_can_carry_is_refused_without_repeating_it() {
        assert_eq!(
            Token::new(" \n").unwrap_err(),
            TokenError::Empty,
            "only white space"
        );
        let error = Token::new("hvs.a\nb").unwrap_err();
        assert_eq!(
            error,
            TokenError::NotVisibleAscii,
            "a newline inside would split the header"
        );
        assert!(
            !error.to_string().contains("hvs"),
            "the text must not be repeated: {error}"
        );
    }
}
