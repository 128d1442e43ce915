//! Making a root token from the unseal or recovery shares (`sys/generate-root/…`), decoding included.
//! Closed by default on Vault ≥ 2.0 and OpenBao ≥ 2.5.3, which answer [`crate::Error::Unsupported`] or `Denied`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::token::Token;

/// An attempt to generate a root token.
#[derive(Debug, Clone, Deserialize)]
pub struct GenerateRoot {
    /// Identifies the attempt; every share is given with it.
    #[serde(default)]
    pub nonce: String,
    /// Whether one is under way.
    #[serde(default)]
    pub started: bool,
    /// Shares given so far. Zero again after a wrong set.
    #[serde(default)]
    pub progress: u32,
    /// Shares needed.
    #[serde(default)]
    pub required: u32,
    /// Whether the token is there.
    #[serde(default)]
    pub complete: bool,
    /// The one-time pad. Only in the answer that starts the attempt.
    #[serde(default)]
    otp: Option<SecretString>,
    /// The encoded token. Only in the answer to the last share.
    #[serde(default)]
    encoded_token: Option<SecretString>,
}

impl GenerateRoot {
    /// The one-time pad, in the answer that starts the attempt.
    pub fn otp(&self) -> Option<&SecretString> {
        self.otp.as_ref().filter(|otp| !otp.expose_secret().is_empty())
    }

    /// The encoded token, in the answer to the last share.
    pub fn encoded_token(&self) -> Option<&SecretString> {
        self.encoded_token
            .as_ref()
            .filter(|token| !token.expose_secret().is_empty())
    }
}

/// Why an encoded token cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRootError {
    /// Not base64.
    #[error("the encoded token is not base64")]
    NotBase64,
    /// It does not belong to this one-time pad.
    #[error("the encoded token is {encoded} bytes long and the OTP {otp}: they belong to different attempts")]
    Length {
        /// Bytes of the encoded token.
        encoded: usize,
        /// Bytes of the one-time pad.
        otp: usize,
    },
    /// What comes out is no token.
    #[error("the OTP does not fit the encoded token")]
    NotAToken,
}

/// Decodes a generated root token: base64 without padding, then XOR with the one-time pad, byte by byte.
pub fn decode_root_token(
    encoded: &SecretString,
    otp: &SecretString,
) -> std::result::Result<Token, DecodeRootError> {
    let encoded = encoded.expose_secret().trim_end_matches('=');
    let encoded = STANDARD_NO_PAD.decode(encoded).map(Zeroizing::new);
    let encoded = encoded.map_err(|_| DecodeRootError::NotBase64)?;
    let otp = otp.expose_secret().as_bytes();
    if encoded.len() != otp.len() {
        return Err(DecodeRootError::Length {
            encoded: encoded.len(),
            otp: otp.len(),
        });
    }
    let plain: Vec<u8> = encoded.iter().zip(otp).map(|(a, b)| a ^ b).collect();
    let plain = String::from_utf8(plain).map_err(|_| DecodeRootError::NotAToken)?;
    Token::new(plain).map_err(|_| DecodeRootError::NotAToken)
}

impl Client {
    /// The attempt under way, or none: `GET sys/generate-root/attempt`.
    pub async fn generate_root_status(&self) -> Result<GenerateRoot> {
        self.body(Request::get("sys/generate-root/attempt").root_namespace())
            .await
    }

    /// Starts an attempt with a one-time pad of the server's: `PUT sys/generate-root/attempt`.
    /// [`crate::Error::BadRequest`] where one is under way.
    pub async fn start_generate_root(&self) -> Result<GenerateRoot> {
        self.body(Request::put("sys/generate-root/attempt", &json!({})).root_namespace())
            .await
    }

    /// Gives one share: `PUT sys/generate-root/update`. A wrong set answers [`crate::Error::BadRequest`] and the attempt
    /// stays, with no progress.
    pub async fn update_generate_root(&self, nonce: &str, share: &SecretString) -> Result<GenerateRoot> {
        let body = json!({"nonce": nonce, "key": share.expose_secret()});
        self.body(Request::put("sys/generate-root/update", &body).root_namespace())
            .await
    }

    /// Ends the attempt under way: `DELETE sys/generate-root/attempt`.
    pub async fn cancel_generate_root(&self) -> Result<()> {
        self.done(Request::delete("sys/generate-root/attempt").root_namespace())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_root_token_is_decoded_with_its_pad() {
        // As `vault operator generate-root -decode` does: base64(token XOR otp) without padding.
        let otp = "pCBqBXvmHTgqYoY3kZoRyzIqfTBD";
        let token = "hvs.Vg9kKWPEM4A1CrADDJ0PYxZW";
        let bytes: Vec<u8> = token.bytes().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
        let encoded = STANDARD_NO_PAD.encode(bytes);
        let decoded = decode_root_token(&secret(&encoded), &secret(otp)).unwrap();
        assert_eq!(decoded.expose(), token, "the token that went in must come out");
    }

    #[test]
    fn a_known_pair_decodes_to_the_known_token() {
        // 'h'^'0' = 0x58, 'v'^'1' = 0x47, 's'^'2' = 0x41, '.'^'3' = 0x1d: "WEdBHQ" in base64.
        let decoded = decode_root_token(&secret("WEdBHQ"), &secret("0123")).unwrap();
        assert_eq!(decoded.expose(), "hvs.", "worked out by hand");
        assert!(
            decode_root_token(&secret("WEdBHQ=="), &secret("0123")).is_ok(),
            "padding does no harm"
        );
    }

    #[test]
    fn what_does_not_fit_together_is_told_without_repeating_it() {
        assert_eq!(
            decode_root_token(&secret("%%%"), &secret("0123")).unwrap_err(),
            DecodeRootError::NotBase64,
            "no base64"
        );
        assert_eq!(
            decode_root_token(&secret("WEdBHQ"), &secret("01234")).unwrap_err(),
            DecodeRootError::Length { encoded: 4, otp: 5 },
            "a pad of another attempt"
        );
        assert_eq!(
            decode_root_token(&secret("WEdBHQ"), &secret("XGA\u{1d}")).unwrap_err(),
            DecodeRootError::NotAToken,
            "zero bytes are no token"
        );
    }

    #[test]
    fn an_attempt_hides_pad_and_token_and_treats_empty_as_absent() {
        let attempt: GenerateRoot = serde_json::from_str(
            r#"{"nonce":"n","started":true,"progress":0,"required":3,"complete":false,
                "encoded_token":"","encoded_root_token":"","pgp_fingerprint":"","otp":"s3cret",
                "otp_length":28}"#,
        )
        .unwrap();
        assert!(attempt.encoded_token().is_none(), "an empty text is no token");
        assert!(attempt.otp().is_some(), "the pad is there");
        assert!(
            !format!("{attempt:?}").contains("s3cret"),
            "the pad opens the token: it stays hidden"
        );
    }
}
