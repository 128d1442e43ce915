//! Which engine serves a path, and where KV version 2 keeps its data.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::null_default;

/// The mount that serves a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mount {
    /// Where it is mounted, with a slash at its end.
    pub path: String,
    /// The engine, for instance `kv`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options; `version` is `2` for KV version 2.
    #[serde(default, deserialize_with = "null_default")]
    pub options: BTreeMap<String, String>,
}

impl Mount {
    /// Whether this is KV version 2.
    pub fn is_kv2(&self) -> bool {
        matches!(self.kind.as_str(), "kv" | "generic")
            && self.options.get("version").is_some_and(|version| version == "2")
    }

    /// The path to read a secret at: with `data/` put after the mount for KV version 2, unless it is there already;
    /// unchanged for every other engine.
    pub fn data_path(&self, path: &str) -> String {
        let path = path.trim_start_matches('/');
        if !self.is_kv2() {
            return path.to_owned();
        }
        // A path equal to the mount is written without its slash.
        let inside = if path == self.path.trim_end_matches('/') {
            Some("")
        } else {
            path.strip_prefix(&self.path)
        };
        match inside {
            Some(inside) if inside == "data" || inside.starts_with("data/") => path.to_owned(),
            Some(inside) => format!("{}data/{inside}", self.path),
            None => path.to_owned(),
        }
    }
}

impl Client {
    /// The mount that serves a path: `GET sys/internal/ui/mounts/<path>`. Every token that may do anything under the
    /// mount may ask. A mount that does not exist and one out of reach both answer [`crate::Error::Denied`].
    pub async fn mount_of(&self, path: &str) -> Result<Mount> {
        self.data(Request::get(format!(
            "sys/internal/ui/mounts/{}",
            path.trim_start_matches('/')
        )))
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, version: Option<&str>) -> Mount {
        Mount {
            path: "team/secret/".to_owned(),
            kind: kind.to_owned(),
            options: version
                .map(|v| ("version".to_owned(), v.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn data_is_put_after_the_mount_of_kv_version_2_once() {
        let kv2 = mount("kv", Some("2"));
        for (given, wanted) in [
            ("team/secret/app", "team/secret/data/app"),
            ("/team/secret/app/db", "team/secret/data/app/db"),
            ("team/secret/data/app", "team/secret/data/app"),
            ("team/secret/database", "team/secret/data/database"),
            ("team/secret", "team/secret/data/"),
            ("other/app", "other/app"),
        ] {
            assert_eq!(kv2.data_path(given), wanted, "for {given:?}");
        }
    }

    #[test]
    fn other_engines_are_read_where_they_are() {
        for engine in [
            mount("kv", None),
            mount("kv", Some("1")),
            mount("database", Some("2")),
        ] {
            assert_eq!(
                engine.data_path("team/secret/app"),
                "team/secret/app",
                "for {engine:?}"
            );
        }
    }

    #[test]
    fn a_mount_without_options_is_read() {
        let mount: Mount =
            serde_json::from_str(r#"{"path":"sys/","type":"system","options":null,"uuid":"x"}"#).unwrap();
        assert!(mount.options.is_empty(), "null options are no options");
    }
}
