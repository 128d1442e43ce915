//! Secrets engines and login methods: what is mounted where (`sys/mounts`, `sys/auth`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::{null_default, seconds};

/// A mount as the server lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MountInfo {
    /// The engine or method, for instance `kv`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its accessor, which templated policies refer to.
    pub accessor: String,
    /// Its description.
    pub description: String,
    /// Its options; `version` for KV.
    #[serde(deserialize_with = "null_default")]
    pub options: BTreeMap<String, String>,
    /// Its tuning.
    pub config: MountConfig,
    /// Not replicated.
    pub local: bool,
    /// Wrapped once more by the seal.
    pub seal_wrap: bool,
    /// Its identity: another one after it was disabled and enabled again.
    pub uuid: String,
}

/// A mount's tuning as the server shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// Zero for the server's own default.
    #[serde(with = "seconds")]
    pub default_lease_ttl: Duration,
    /// Zero for the server's own default.
    #[serde(with = "seconds")]
    pub max_lease_ttl: Duration,
    /// `unauth`, `hidden` or empty.
    pub listing_visibility: String,
    /// Login methods: the kind of token.
    pub token_type: String,
}

/// A mount to enable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MountRequest {
    /// The engine or method.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its description.
    pub description: String,
    /// Its options; `version` for KV.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Its tuning.
    pub config: MountTune,
}

/// What to tune of a mount; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MountTune {
    /// Its description. Not inside [`MountRequest::config`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Zero for the server's own default.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "with_unit")]
    pub default_lease_ttl: Option<Duration>,
    /// Zero for the server's own default.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "with_unit")]
    pub max_lease_ttl: Option<Duration>,
    /// `unauth`, `hidden` or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing_visibility: Option<String>,
    /// Options, for instance `version` to upgrade KV.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Both calls take durations only as text with a unit.
#[allow(clippy::ref_option, reason = "the signature that serde calls")]
fn with_unit<S: Serializer>(value: &Option<Duration>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{}s", value.as_secs())),
        None => serializer.serialize_none(),
    }
}

fn at(family: &str, path: &str, rest: &str) -> String {
    format!("sys/{family}/{}{rest}", path.trim_matches('/'))
}

impl Client {
    /// All secrets engines by path, each with a slash at its end: `GET sys/mounts`.
    pub async fn mounts(&self) -> Result<BTreeMap<String, MountInfo>> {
        self.data(Request::get("sys/mounts")).await
    }

    /// Enables a secrets engine: `PUT sys/mounts/<path>`. [`crate::Error::BadRequest`] ("path is already in use") where
    /// one is there.
    pub async fn enable_mount(&self, path: &str, mount: &MountRequest) -> Result<()> {
        self.done(Request::put(at("mounts", path, ""), mount)).await
    }

    /// Tunes a secrets engine: `PUT sys/mounts/<path>/tune`.
    pub async fn tune_mount(&self, path: &str, tune: &MountTune) -> Result<()> {
        self.done(Request::put(at("mounts", path, "/tune"), tune)).await
    }

    /// Disables a secrets engine **and destroys its data**: `DELETE sys/mounts/<path>`. Succeeds where there is none.
    pub async fn disable_mount(&self, path: &str) -> Result<()> {
        self.done(Request::delete(at("mounts", path, ""))).await
    }

    /// All login methods by path, each with a slash at its end: `GET sys/auth`.
    pub async fn auth_methods(&self) -> Result<BTreeMap<String, MountInfo>> {
        self.data(Request::get("sys/auth")).await
    }

    /// Enables a login method: `PUT sys/auth/<path>`, needs sudo.
    pub async fn enable_auth_method(&self, path: &str, method: &MountRequest) -> Result<()> {
        self.done(Request::put(at("auth", path, ""), method)).await
    }

    /// Tunes a login method: `PUT sys/auth/<path>/tune`, needs sudo.
    pub async fn tune_auth_method(&self, path: &str, tune: &MountTune) -> Result<()> {
        self.done(Request::put(at("auth", path, "/tune"), tune)).await
    }

    /// What a login method allows, the server's own limits taken in: `GET sys/mounts/auth/<path>/tune`. Needs no sudo,
    /// unlike the same below `sys/auth`.
    pub async fn auth_method_limits(&self, path: &str) -> Result<MountConfig> {
        self.data(Request::get(at("mounts/auth", path, "/tune"))).await
    }

    /// Disables a login method and revokes all its tokens: `DELETE sys/auth/<path>`, needs sudo.
    pub async fn disable_auth_method(&self, path: &str) -> Result<()> {
        self.done(Request::delete(at("auth", path, ""))).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_sent_with_their_unit() {
        let tune = MountTune {
            max_lease_ttl: Some(Duration::from_secs(3600)),
            ..MountTune::default()
        };
        assert_eq!(
            serde_json::to_value(&tune).unwrap(),
            json!({"max_lease_ttl": "3600s"}),
            "a number is refused, and what is not set stays as it is"
        );
    }

    #[test]
    fn slashes_around_a_mount_path_do_not_matter() {
        assert_eq!(
            at("mounts", "/team/kv/", "/tune"),
            "sys/mounts/team/kv/tune",
            "one slash between parts"
        );
    }
}
