//! Audit devices.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An audit device (`sys/audit/<path>`): exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.stdout) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.socket) ? 1 : 0) + (has(self.syslog) ? 1 : 0) == 1").message("an audit device must name exactly one known kind: stdout, file, socket or syslog"))]
pub struct AuditDevice {
    /// Path of the device in Vault, for example `stdout`.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$')").message("path must consist of lower-case letters, digits, - and _"))]
    pub path: String,

    /// What it is for. Shown in Vault.
    #[serde(default)]
    #[schemars(length(max = 512), regex(pattern = r#"^[^"\\$\n]*$"#))]
    pub description: String,

    /// Form of the lines.
    #[serde(default)]
    pub format: AuditFormat,

    /// The server's standard output: the pod's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<StdoutAudit>,

    /// A file in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileAudit>,

    /// A log receiver on the network or in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketAudit>,

    /// The syslog of the machine. It needs that machine's socket in the pod, which Pod Security `restricted` forbids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogAudit>,
}

/// Form of the lines. Values are hashed in both.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// The same as XML.
    Jsonx,
}

/// The server's standard output.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StdoutAudit {}

/// A file.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FileAudit {
    /// Path in the pod. Not on the data volume: nothing rotates the file there, and a full volume stops the storage.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^/[-_./a-zA-Z0-9]+$"))]
    #[x_kube(validation = Rule::new("!(self == '/vault/data' || self.startsWith('/vault/data/')) && self != '/dev/null' && !self.contains('..')").message("file.path must not lie on the data volume, where nothing rotates it and a full volume stops the storage, nor be /dev/null: use stdout, a socket, or a volume of its own"))]
    pub path: String,
}

/// A log receiver. Requests wait for one that is slow: declare a second device that does not fail with it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SocketAudit {
    /// Address, for example 127.0.0.1:9090.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[-_./:\[\]a-zA-Z0-9]+$"))]
    pub address: String,

    /// Kind of socket.
    #[serde(default)]
    #[serde(rename = "type")]
    pub type_: SocketType,
}

/// Kind of socket.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketType {
    /// TCP.
    #[default]
    Tcp,
    /// UDP: nothing waits, and lines may be lost.
    Udp,
    /// A Unix socket in the pod.
    Unix,
}

/// The syslog of the machine.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SyslogAudit {
    /// Facility.
    #[serde(default = "default_facility")]
    #[schemars(length(max = 32), regex(pattern = r"^[A-Z0-9]+$"))]
    pub facility: String,

    /// Name of the program in the lines.
    #[serde(default = "default_tag")]
    #[schemars(length(max = 64), regex(pattern = r"^[-_.a-zA-Z0-9]+$"))]
    pub tag: String,
}

fn default_facility() -> String {
    "AUTH".to_owned()
}

fn default_tag() -> String {
    "vault".to_owned()
}
