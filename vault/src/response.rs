//! What a read, a write or a login answers. Every part that may hold a secret is hidden from `Debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::token::Token;
use crate::wire::{null_default, seconds};

/// The answer of a logical call: the envelope that Vault puts around data, a login or a wrapped answer.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The request's id, as in Vault's audit log.
    pub request_id: String,
    /// Empty where there is no lease.
    pub lease_id: String,
    /// How long the lease lives; zero where there is none.
    pub lease_duration: Duration,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// The data, empty for a login or a wrapped answer.
    pub data: Data,
    /// Hints of the server about the request.
    pub warnings: Vec<String>,
    /// Set by a login and by a renewal of a token.
    pub auth: Option<Auth>,
    /// Set when the answer was wrapped.
    pub wrap_info: Option<WrapInfo>,
}

/// The data of a secret, kept as the JSON text that the server sent: numbers keep their exact form
/// (`1e3`, `10000000000000000000000`), which a template prints as it is. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Data(SecretString);

/// Why data does not fit the wanted type. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the data has another shape than expected: {0}")]
pub struct DataError(String);

impl Data {
    /// The JSON text, an object or `null`. This is the secret itself.
    ///
    /// To read numbers exactly, decode into `BTreeMap<String, Box<serde_json::value::RawValue>>`.
    pub fn json(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is no data at all.
    pub fn is_null(&self) -> bool {
        self.json() == "null"
    }

    /// Decodes into a type, for instance `serde_json::Map<String, Value>`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        serde_json::from_str(self.json()).map_err(|error| DataError(describe(&error)))
    }
}

impl From<&RawValue> for Data {
    fn from(raw: &RawValue) -> Self {
        Self(SecretString::from(raw.get()))
    }
}

impl Default for Data {
    fn default() -> Self {
        Self(SecretString::from("null"))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data(…)")
    }
}

/// A login's or a renewal's result.
#[derive(Debug, Clone, Deserialize)]
pub struct Auth {
    /// The token.
    pub client_token: Token,
    /// Its accessor; empty for a batch token.
    #[serde(default)]
    pub accessor: String,
    /// All policies of the token.
    #[serde(default, deserialize_with = "null_default")]
    pub policies: Vec<String>,
    /// Its metadata, from the login method.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: BTreeMap<String, String>,
    /// How long the token lives from now. One that shrinks from renewal to renewal says that the maximum is near.
    #[serde(default, with = "seconds")]
    pub lease_duration: Duration,
    /// Whether the token can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// `service` or `batch`.
    #[serde(default)]
    pub token_type: String,
    /// Whether it has no parent that could take it along when it ends.
    #[serde(default)]
    pub orphan: bool,
    /// How often the token may be used; zero for no limit.
    #[serde(default)]
    pub num_uses: i64,
    /// The identity entity that it belongs to; empty for none.
    #[serde(default)]
    pub entity_id: String,
}

/// The wrapping token around an answer.
#[derive(Debug, Clone, Deserialize)]
pub struct WrapInfo {
    /// The wrapping token: good for one unwrap.
    pub token: Token,
    /// The wrapping token's accessor.
    #[serde(default)]
    pub accessor: String,
    /// How long it can be unwrapped.
    #[serde(default, with = "seconds")]
    pub ttl: Duration,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub creation_time: String,
    /// The path whose answer is inside; to be checked by the one who unwraps.
    #[serde(default)]
    pub creation_path: String,
    /// The accessor of what is inside (a token, a secret-id), where there is one.
    #[serde(default)]
    pub wrapped_accessor: String,
}

/// The envelope as it is on the wire.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    lease_id: String,
    #[serde(default, with = "seconds")]
    lease_duration: Duration,
    #[serde(default)]
    renewable: bool,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "null_default")]
    warnings: Vec<String>,
    #[serde(default)]
    auth: Option<Auth>,
    #[serde(default)]
    wrap_info: Option<WrapInfo>,
}

impl Secret {
    /// Reads the envelope out of a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let Envelope {
            request_id,
            lease_id,
            lease_duration,
            renewable,
            data,
            warnings,
            auth,
            wrap_info,
        } = serde_json::from_slice(body)?;
        Ok(Self {
            request_id,
            lease_id,
            lease_duration,
            renewable,
            data: data.map(Data::from).unwrap_or_default(),
            warnings,
            auth,
            wrap_info,
        })
    }
}

/// What is wrong with a JSON text, without any part of its content: serde's own words may quote a secret.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = match error.classify() {
        serde_json::error::Category::Data if text.starts_with("missing field") => text
            .split(" at line")
            .next()
            .unwrap_or("missing field")
            .to_owned(),
        serde_json::error::Category::Data => "a value of another type".to_owned(),
        serde_json::error::Category::Eof => "the text ends early".to_owned(),
        serde_json::error::Category::Syntax => "not JSON".to_owned(),
        serde_json::error::Category::Io => "unreadable".to_owned(),
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbers_stay_as_the_server_wrote_them() {
        let body = br#"{"data":{"a":10000000000000000000000,"b":1e3,"c":1.50}}"#;
        let data = Secret::parse(body).unwrap().data;
        let exact: BTreeMap<String, Box<RawValue>> = data.decode().unwrap();
        let texts: Vec<&str> = exact.values().map(|raw| raw.get()).collect();
        assert_eq!(
            texts,
            ["10000000000000000000000", "1e3", "1.50"],
            "no digit may change"
        );
    }

    #[test]
    fn debug_of_a_secret_shows_no_data_and_no_token() {
        let body = br#"{"request_id":"r","lease_id":"l","lease_duration":60,"renewable":true,
            "data":{"password":"s3cret"},"warnings":null,
            "auth":{"client_token":"hvs.abc","accessor":"acc","lease_duration":5,"metadata":null},
            "wrap_info":{"token":"hvs.wrap","ttl":60}}"#;
        let text = format!("{:?}", Secret::parse(body).unwrap());
        for hidden in ["s3cret", "password", "hvs.abc", "hvs.wrap"] {
            assert!(!text.contains(hidden), "{hidden} must not appear in {text}");
        }
        assert!(text.contains("acc"), "an accessor is no secret and helps: {text}");
    }

    #[test]
    fn an_error_about_data_quotes_no_value() {
        let data = Secret::parse(br#"{"data":{"ttl":"s3cret"}}"#).unwrap().data;
        let error = data.decode::<BTreeMap<String, u64>>().unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "the value must not be quoted: {error}");
        assert!(error.contains("line 1"), "the place must be said: {error}");
    }

    #[test]
    fn a_missing_field_is_named() {
        #[derive(Debug, Deserialize)]
        struct Wanted {
            #[allow(dead_code)]
            role_id: String,
        }
        let data = Secret::parse(br#"{"data":{"x":"s3cret"}}"#).unwrap().data;
        let error = data.decode::<Wanted>().unwrap_err().to_string();
        assert!(error.contains("role_id"), "the field is ours to name: {error}");
    }

    #[test]
    fn no_data_is_null() {
        assert!(
            Secret::parse(br#"{"data":null}"#).unwrap().data.is_null(),
            "null stays null"
        );
        assert!(
            Secret::parse(b"{}").unwrap().data.is_null(),
            "an absent field counts as null"
        );
    }
}
