//! What is remembered of a secret-id, in an annotation of the Secret that holds it: one write changes both or neither.

use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, Serialize};
use vaultkeeper_crds::annotations::CREDENTIALS;
use vaultkeeper_crds::role::SecretKeys;

use crate::hex::short_hash;

/// What is remembered of a secret-id. No part of it is secret. Times are Unix seconds by the operator's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The secret-id's accessor; none where a login needs no secret-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accessor: Option<String>,
    /// Shows whether the credentials are those that were stored. The secret-id in it is a random 122-bit number, which a
    /// hash does not give away.
    pub checksum: String,
    /// When it was made.
    pub issued: i64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// The parameters that it was made with.
    pub made_with: String,
    /// The request on the VaultRole that was there when it was made, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Earlier ones that still work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Previous>,
    /// Those that were unwrapped, or may have been. They end when a later one surely was, or when they are rotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwrapped: Vec<Held>,
    /// The wrapping token around it; none where it is delivered plainly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapping: Option<Wrapping>,
    /// Workloads are still to be restarted for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart_pending: bool,
    /// How the Secret was dressed.
    pub dress: Dress,
}

/// An earlier secret-id that still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// Its accessor.
    pub accessor: String,
    /// When it is destroyed.
    pub until: i64,
}

/// A secret-id that the consumer holds, or may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Its accessor.
    pub accessor: String,
    /// When it was made.
    pub issued: i64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// A wrapping token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wrapping {
    /// The path whose answer is inside.
    pub path: String,
    /// How long it can be unwrapped, in seconds.
    pub ttl: i64,
    /// When it was made.
    pub issued: i64,
}

/// What the operator has put on a Secret by the wish of a spec: what is not wished any more is taken off again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dress {
    /// Names of its keys.
    pub keys: SecretKeys,
    /// Labels, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Annotations, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
}

impl State {
    /// Reads it off a Secret; none where there is none, or somebody has spoilt it.
    pub fn of(secret: &Secret) -> Option<Self> {
        let text = secret.metadata.annotations.as_ref()?.get(CREDENTIALS)?;
        serde_json::from_str(text).ok()
    }
}

/// A request to rotate, as it is remembered: of whatever length it is.
pub fn remembered(request: &str) -> String {
    short_hash(request.as_bytes(), 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_was_spoilt_is_none() {
        let mut secret = Secret::default();
        assert_eq!(State::of(&secret), None);
        for text in ["", "{}", "{\"accessor\": 1}"] {
            let annotations = secret.metadata.annotations.get_or_insert_default();
            annotations.insert(CREDENTIALS.to_owned(), text.to_owned());
            assert_eq!(State::of(&secret), None, "{text:?}");
        }
    }

    #[test]
    fn a_request_is_remembered_in_sixteen_letters() {
        assert_eq!(remembered(&"x".repeat(10_000)).len(), 16);
        assert_ne!(remembered("a"), remembered("b"));
    }
}
