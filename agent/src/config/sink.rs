//! `auto_auth.sink {}`: files that the token itself is written to.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Object;

/// A file that the token is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The file.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// The user who owns it; the agent's own without one.
    pub owner: Option<u32>,
    /// Its group; the agent's own without one.
    pub group: Option<u32>,
    /// The file holds the token wrapped for this long, and how to unwrap it, as JSON.
    pub wrap_ttl: Option<Duration>,
}

/// Reads one block.
pub(super) fn read(mut sink: Object<'_>) -> Option<Sink> {
    let kind = sink.kind();
    if kind != "file" {
        if !kind.is_empty() {
            sink.wrong("type", format!("is {kind:?}; only file sinks exist"));
        }
        return None;
    }
    let wrap_ttl = sink.duration("wrap_ttl").filter(|ttl| !ttl.is_zero());
    for key in ["dh_type", "dh_path", "derive_key", "aad", "aad_env_var"] {
        if sink.has(key) {
            sink.wrong(
                key,
                "is not offered: the agent does not encrypt the token; give the sink a wrap_ttl",
            );
        }
        sink.known(key);
    }
    let Some(mut config) = sink.object("config") else {
        sink.missing("config");
        return None;
    };
    let read = Sink {
        path: config.required("path").into(),
        mode: config.mode("mode").unwrap_or(0o640),
        owner: config.id("owner"),
        group: config.id("group"),
        wrap_ttl,
    };
    config.finish();
    sink.finish();
    Some(read)
}
