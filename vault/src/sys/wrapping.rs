//! Wrapped answers (`sys/wrapping/…`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::Secret;
use crate::token::Token;
use crate::wire::seconds;

/// What a look-up shows of a wrapping token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WrappingInfo {
    /// The path whose answer is inside. One who was handed the token checks it: a forged one says
    /// `sys/wrapping/wrap`.
    pub creation_path: String,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub creation_time: String,
    /// How long it was made for.
    #[serde(default, with = "seconds")]
    pub creation_ttl: Duration,
}

impl Client {
    /// Looks a wrapping token up without using it: `PUT sys/wrapping/lookup`. [`crate::Error::BadRequest`] where it was
    /// unwrapped or has expired.
    pub async fn lookup_wrapping(&self, token: &Token) -> Result<WrappingInfo> {
        let request = Request::put("sys/wrapping/lookup", &json!({"token": token.expose()}));
        self.without_token().data(request).await
    }

    /// Unwraps: `PUT sys/wrapping/unwrap`, with the wrapping token in the header and nowhere else (given in both places
    /// the server spends it twice and fails).
    pub async fn unwrap_wrapped(&self, token: &Token) -> Result<Secret> {
        self.with_token(token)
            .secret(Request::put_empty("sys/wrapping/unwrap"))
            .await
    }
}
