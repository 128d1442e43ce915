//! New unseal shares in the place of the old ones (`sys/rekey/…`; OpenBao ≥ 2.5: `sys/rotate/root/…`).
//!
//! Vault ≥ 2.0 and OpenBao want a token for it; older servers take these calls from anybody, so that what an answer
//! says of the attempt must be looked at before a share is given to it.

use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::wire::null_default;

/// Which paths the server has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekeyPaths {
    /// Vault: `sys/rekey/…`.
    Rekey,
    /// OpenBao ≥ 2.4: `sys/rotate/root/…`, with a token.
    RotateRoot,
}

impl RekeyPaths {
    /// What they begin with, for a policy.
    pub fn root(self) -> &'static str {
        match self {
            Self::Rekey => "sys/rekey",
            Self::RotateRoot => "sys/rotate/root",
        }
    }
}

/// What the new shares are to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RekeyRequest {
    /// How many shares.
    pub shares: u8,
    /// How many of them unseal; 1 only with one share.
    pub threshold: u8,
    /// Public PGP keys (base64 of the binary key), none or one per share: the shares are answered encrypted.
    pub pgp_keys: Vec<String>,
    /// Whether the server keeps the encrypted shares until they are deleted. Only with PGP keys.
    pub backup: bool,
}

/// An attempt to rekey.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RekeyStatus {
    /// Identifies the attempt; every share is given with it.
    pub nonce: String,
    /// Whether one is under way.
    pub started: bool,
    /// How many of the new shares unseal.
    #[serde(rename = "t")]
    pub threshold: u32,
    /// How many new shares there are to be.
    #[serde(rename = "n")]
    pub shares: u32,
    /// Old shares given so far.
    pub progress: u32,
    /// Old shares needed.
    pub required: u32,
    /// Fingerprints of the keys that the new shares are encrypted to, in hex.
    #[serde(deserialize_with = "null_default")]
    pub pgp_fingerprints: Vec<String>,
    /// Whether the server keeps the encrypted shares.
    pub backup: bool,
}

/// The answer to an old share.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RekeyProgress {
    /// Identifies the attempt.
    pub nonce: String,
    /// Whether the new shares are in force.
    pub complete: bool,
    /// The new shares, base64: of the share itself, or of the PGP message that holds it. Only in the last answer.
    #[serde(rename = "keys_base64", deserialize_with = "null_default")]
    pub keys: Vec<SecretString>,
    /// Fingerprints of the keys that the shares are encrypted to, in the order of the shares.
    #[serde(deserialize_with = "null_default")]
    pub pgp_fingerprints: Vec<String>,
}

/// The encrypted shares that the server kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RekeyBackup {
    /// The attempt that they are of. They were kept **before** that attempt came into force.
    pub nonce: String,
    /// Fingerprint in hex → PGP messages, base64.
    #[serde(rename = "keys_base64", deserialize_with = "null_default")]
    pub keys: BTreeMap<String, Vec<String>>,
}

/// The calls of a rekey of the unseal shares.
#[derive(Debug)]
pub struct Rekey<'a> {
    client: &'a Client,
    paths: RekeyPaths,
}

impl Client {
    /// The calls of a rekey of the unseal shares. Only the active member takes them.
    pub fn rekey(&self, paths: RekeyPaths) -> Rekey<'_> {
        Rekey { client: self, paths }
    }
}

impl Rekey<'_> {
    fn path(&self, call: &str) -> String {
        format!("{}/{call}", self.paths.root())
    }

    async fn answer<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let request = request.root_namespace();
        match self.paths {
            RekeyPaths::Rekey => self.client.body(request).await,
            RekeyPaths::RotateRoot => self.client.data(request).await,
        }
    }

    /// The attempt under way, or none: `GET sys/rekey/init`.
    pub async fn status(&self) -> Result<RekeyStatus> {
        self.answer(Request::get(self.path("init"))).await
    }

    /// Starts an attempt: `PUT sys/rekey/init`. [`Error::BadRequest`] where one is under way.
    ///
    /// The answer is the attempt that is under way *then*. Where the server asks for no token, somebody else may have
    /// put another one in its place: compare before a share is given.
    pub async fn start(&self, wanted: &RekeyRequest) -> Result<RekeyStatus> {
        let RekeyRequest {
            shares,
            threshold,
            pgp_keys,
            backup,
        } = wanted;
        let mut body = json!({"secret_shares": shares, "secret_threshold": threshold, "backup": backup});
        if !pgp_keys.is_empty() {
            body["pgp_keys"] = json!(pgp_keys);
        }
        self.answer(Request::put(self.path("init"), &body)).await
    }

    /// Gives one of the old shares: `PUT sys/rekey/update`. The last one makes the new shares, and brings them into
    /// force before it is answered. A wrong set is answered with 400 or 500.
    pub async fn give(&self, nonce: &str, share: &SecretString) -> Result<RekeyProgress> {
        let body = json!({"nonce": nonce, "key": share.expose_secret()});
        self.answer(Request::put(self.path("update"), &body)).await
    }

    /// Ends the attempt under way: `DELETE sys/rekey/init`. Vault ≥ 1.19.6 wants its nonce.
    pub async fn cancel(&self, nonce: &str) -> Result<()> {
        let mut request = Request::put(self.path("init"), &json!({"nonce": nonce}));
        request.method = Method::DELETE;
        self.client.done(request.root_namespace()).await
    }

    /// The encrypted shares that the server kept, if there are any: `GET sys/rekey/backup`, with a token.
    pub async fn backup(&self) -> Result<Option<RekeyBackup>> {
        let request = Request::get(self.path("backup")).root_namespace();
        match self.client.data(request).await {
            Ok(backup) => Ok(Some(backup)),
            Err(error) => match error.absent_when("no backed-up keys found") {
                Error::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Deletes them: `DELETE sys/rekey/backup`, with a token.
    pub async fn delete_backup(&self) -> Result<()> {
        let request = Request::delete(self.path("backup"));
        self.client.done(request.root_namespace()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_an_early_share_and_to_the_last_one_are_both_read() {
        // A server answers an early share with the status of the attempt.
        let early: RekeyProgress = serde_json::from_str(
            r#"{"nonce":"n","started":true,"t":2,"n":3,"progress":1,"required":2,"pgp_fingerprints":null,"backup":false,"verification_required":false}"#,
        )
        .unwrap();
        assert!(!early.complete && early.keys.is_empty(), "{early:?}");
        let last: RekeyProgress = serde_json::from_str(
            r#"{"nonce":"n","complete":true,"keys":["00"],"keys_base64":["c2hhcmU="],"pgp_fingerprints":["ab"],"backup":true}"#,
        )
        .unwrap();
        assert!(last.complete, "{last:?}");
        assert_eq!(last.keys[0].expose_secret(), "c2hhcmU=");
        let text = format!("{last:?}");
        assert!(!text.contains("c2hhcmU"), "no share may be printed: {text}");
    }

    #[test]
    fn openbao_has_other_paths_for_it() {
        assert_eq!(RekeyPaths::Rekey.root(), "sys/rekey");
        assert_eq!(RekeyPaths::RotateRoot.root(), "sys/rotate/root");
    }
}
