//! Audit devices.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An audit device (`sys/audit/<path>`): exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.stdout) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.socket) ? 1 : 0) + (has(self.syslog) ? 1 : 0) == 1")
        .message("an audit device must name exactly one known kind: stdout, file, socket or syslog"),
)]
pub struct AuditDevice {
    /// Path of the device in Vault, for example `stdout`. On OpenBao a short hash of its settings follows, as in
    /// `stdout-1a2b3c4d`: a device there cannot be changed, so that another setting makes another device.
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

    /// A file on the audit volume, or a stream of the server under the name of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileAudit>,

    /// A log receiver on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketAudit>,

    /// The syslog of the machine. Needs `pod.syslogSocket`.
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

/// A file, or a stream under the name of a file.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FileAudit {
    /// A plain name below `/vault/audit/`, for example `/vault/audit/audit.log`; or `/dev/stderr`, `/dev/stdout`.
    #[schemars(length(min = 1, max = 96))]
    #[x_kube(validation = Rule::new("self in ['/dev/stdout', '/dev/stderr'] || self.matches('^/vault/audit/[a-z0-9][-_a-z0-9]*([.][a-z]+)?$')").message("file.path must be a plain name below /vault/audit/, such as /vault/audit/audit.log, or /dev/stderr or /dev/stdout: the data volume is not for files that grow, and the rest is read-only"))]
    pub path: String,

    /// When the file is put aside, and how many are kept. A stream is not rotated.
    #[serde(default)]
    pub rotate: Rotation,
}

/// How a file is rotated: `audit.log` becomes `audit.log.1`, that `audit.log.2`, and so on. Changed without a restart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Size from which on the file is put aside, for example 100Mi. It is looked at every second.
    #[serde(default = "default_max_size")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,4}(Mi|Gi)$')").message("rotate.maxSize must be a size such as 100Mi"))]
    pub max_size: String,

    /// How many are kept beside the one that is written. The oldest goes, sooner where the volume is nearly full.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size: default_max_size(),
            keep: default_keep(),
        }
    }
}

fn default_max_size() -> String {
    "100Mi".to_owned()
}

fn default_keep() -> u32 {
    5
}

/// A log receiver. Requests wait for one that is slow: declare a second device that does not fail with it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type != 'Unix'").message("socket.type Unix cannot work: no other container of the pod could share the socket. Use Tcp or Udp"))]
pub struct SocketAudit {
    /// Address, for example log-collector.logging.svc:9090.
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
    /// A Unix socket in the pod. Refused for now: nothing in the pod could listen there.
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
