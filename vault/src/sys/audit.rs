//! Audit devices (`sys/audit`). OpenBao takes them only from its server configuration and answers 400 here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::wire::null_default;

/// An audit device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditDevice {
    /// `file`, `syslog` or `socket`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its description.
    pub description: String,
    /// Its options; `file_path` may be `stdout`.
    #[serde(deserialize_with = "null_default")]
    pub options: BTreeMap<String, String>,
    /// Not replicated.
    pub local: bool,
}

fn at(path: &str) -> String {
    format!("sys/audit/{}", path.trim_matches('/'))
}

impl Client {
    /// All audit devices by path, each with a slash at its end: `GET sys/audit`, needs sudo.
    pub async fn audit_devices(&self) -> Result<BTreeMap<String, AuditDevice>> {
        self.data(Request::get("sys/audit").root_namespace()).await
    }

    /// Enables an audit device: `PUT sys/audit/<path>`, needs sudo. A device that cannot write is refused here; one that
    /// stops writing later, being the only one, stops every request.
    pub async fn enable_audit_device(&self, path: &str, device: &AuditDevice) -> Result<()> {
        self.done(Request::put(at(path), device).root_namespace()).await
    }

    /// Disables an audit device: `DELETE sys/audit/<path>`, needs sudo.
    pub async fn disable_audit_device(&self, path: &str) -> Result<()> {
        self.done(Request::delete(at(path)).root_namespace()).await
    }
}
