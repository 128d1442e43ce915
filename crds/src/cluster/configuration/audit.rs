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
    validation = Rule::new("!has(self.syslog)")
        .message("syslog cannot work: the socket of the machine's syslog is not in the pod, and Pod Security restricted forbids to mount it. Use a socket, over TCP or UDP, of a syslog server or of a log collector"),
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

    /// A stream of the server under the name of a file: its standard error, or its standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileAudit>,

    /// A log receiver on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketAudit>,

    /// The syslog of the machine. Refused for now: its socket is not in the pod, and Pod Security `restricted` forbids
    /// to mount it.
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

/// A stream under the name of a file.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FileAudit {
    /// `/dev/stderr` or `/dev/stdout`. The pod has no volume for audit logs.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self in ['/dev/stdout', '/dev/stderr']").message("file.path must be /dev/stderr or /dev/stdout: the pod's file system is read-only, its data volume would be filled up by a file that nothing rotates, and it has no volume for audit logs. Use these, stdout, or a socket of a log collector"))]
    pub path: String,
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
