//! Initialisation, the one call whose answer can never be had again (`sys/init`).

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::token::Token;
use crate::wire::null_default;

/// How long `sys/init` may take: 5 to 9 s were seen on an idle machine.
pub const INIT_TIMEOUT: Duration = Duration::from_secs(150);

/// How the keys are split. For a Shamir seal, the shares of the unseal key; for any other, of the recovery key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitRequest {
    /// The seal is Shamir.
    Shamir(Split),
    /// The server unseals itself.
    AutoUnseal(Split),
}

/// Shares, and how many of them are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// How many shares.
    pub shares: u8,
    /// How many of them are needed; 1 only with one share.
    pub threshold: u8,
    /// Public PGP keys (base64 of the binary key), none or one per share: the shares are answered encrypted.
    pub pgp_keys: Vec<String>,
}

/// All that `sys/init` answers. Shown once by the server: store it before anything else.
#[derive(Debug, Deserialize)]
pub struct InitResponse {
    /// Shares of the unseal key, base64; empty with auto-unseal.
    #[serde(default, rename = "keys_base64", deserialize_with = "null_default")]
    pub keys: Vec<SecretString>,
    /// Shares of the recovery key, base64; empty with Shamir.
    #[serde(default, rename = "recovery_keys_base64", deserialize_with = "null_default")]
    pub recovery_keys: Vec<SecretString>,
    /// The first root token.
    pub root_token: Token,
}

impl Client {
    /// Whether the node holds keys: `GET sys/init`. False also on a member that has not joined its cluster yet:
    /// never a reason to initialise any but the first. Blocks while an initialisation runs.
    pub async fn is_initialized(&self) -> Result<bool> {
        #[derive(Deserialize)]
        struct Status {
            initialized: bool,
        }
        let status: Status = self.body(Request::get("sys/init").root_namespace()).await?;
        Ok(status.initialized)
    }

    /// Initialises the node: `PUT sys/init`, with a time limit of at least 150 s. Where the error's
    /// [`may_have_taken_effect`](crate::Error::may_have_taken_effect) is true, ask [`Client::is_initialized`]: if it
    /// says yes the keys exist and are lost.
    pub async fn init(&self, request: &InitRequest) -> Result<InitResponse> {
        self.body(
            Request::put("sys/init", &request.body())
                .root_namespace()
                .timeout(INIT_TIMEOUT),
        )
        .await
    }
}

/// The two families of fields; the server refuses a mixture.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Shamir {
        secret_shares: u8,
        secret_threshold: u8,
        pgp_keys: Option<&'a [String]>,
    },
    AutoUnseal {
        recovery_shares: u8,
        recovery_threshold: u8,
        recovery_pgp_keys: Option<&'a [String]>,
    },
}

impl InitRequest {
    fn body(&self) -> Body<'_> {
        let given = |keys: &'_ Vec<String>| !keys.is_empty();
        match self {
            Self::Shamir(Split {
                shares,
                threshold,
                pgp_keys,
            }) => Body::Shamir {
                secret_shares: *shares,
                secret_threshold: *threshold,
                pgp_keys: given(pgp_keys).then_some(pgp_keys),
            },
            Self::AutoUnseal(Split {
                shares,
                threshold,
                pgp_keys,
            }) => Body::AutoUnseal {
                recovery_shares: *shares,
                recovery_threshold: *threshold,
                recovery_pgp_keys: given(pgp_keys).then_some(pgp_keys),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_two_families_of_fields_are_never_mixed() {
        let split = Split {
            shares: 5,
            threshold: 3,
            pgp_keys: Vec::new(),
        };
        assert_eq!(
            serde_json::to_value(InitRequest::Shamir(split.clone()).body()).unwrap(),
            json!({"secret_shares": 5, "secret_threshold": 3, "pgp_keys": null}),
            "for Shamir"
        );
        assert_eq!(
            serde_json::to_value(InitRequest::AutoUnseal(split).body()).unwrap(),
            json!({"recovery_shares": 5, "recovery_threshold": 3, "recovery_pgp_keys": null}),
            "for auto-unseal"
        );
    }

    #[test]
    fn the_answer_is_read_and_its_debug_shows_no_key() {
        let answer: InitResponse = serde_json::from_str(
            r#"{"keys":["00ff"],"keys_base64":["c2hhcmU="],"recovery_keys":null,
                "recovery_keys_base64":null,"root_token":"hvs.root"}"#,
        )
        .unwrap();
        assert_eq!(
            answer.keys[0].expose_secret(),
            "c2hhcmU=",
            "the base64 form is kept"
        );
        let text = format!("{answer:?}");
        assert!(
            !text.contains("c2hhcmU") && !text.contains("hvs."),
            "no key may be printed: {text}"
        );
    }
}
