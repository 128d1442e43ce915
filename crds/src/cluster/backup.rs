//! Encrypted snapshots outside of the Kubernetes cluster, and what became of them.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::external::ExternalCa;
use super::secret::SecretKey;

/// Encrypted snapshots outside of this Kubernetes cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// When a backup is made: five fields of cron in UTC, for example `0 * * * *` for every hour. The first one is made at
    /// once.
    #[schemars(length(min = 9, max = 100))]
    pub schedule: String,

    /// Where to.
    pub s3: S3Target,

    /// Who can read a backup without this Kubernetes cluster: public keys of the program age, `age1...`. Keep the secret
    /// halves in other places than the backups. The operator adds a key of its own, with which it rehearses.
    #[schemars(
        length(min = 1, max = 20),
        inner(length(max = 62), regex(pattern = r"^age1[02-9ac-hj-np-z]{58}$"))
    )]
    pub recipients: Vec<String>,

    /// How many backups are kept.
    #[serde(default)]
    pub retention: BackupRetention,

    /// When a restore is rehearsed, in five fields of cron in UTC. Default: on Sundays at 4.
    #[serde(default = "default_rehearsal")]
    #[schemars(length(min = 9, max = 100))]
    pub rehearsal_schedule: String,
}

fn default_rehearsal() -> String {
    "0 4 * * 0".to_owned()
}

/// A bucket that speaks the protocol of S3.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct S3Target {
    /// Address of the service, for example `https://s3.eu-central-1.amazonaws.com`.
    #[schemars(
        length(min = 1, max = 300),
        regex(pattern = r"^https?://[-.:\[\]a-zA-Z0-9]+$")
    )]
    pub endpoint: String,

    /// The bucket. It must exist. It is named in the path, not in the host name, unless `virtualHosts` is set.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9A-Z][-._a-zA-Z0-9]*$"))]
    pub bucket: String,

    /// What names of objects begin with, for example `vault/eu/`. Default: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200), regex(pattern = r"^([-_.=a-zA-Z0-9]*[-_=a-zA-Z0-9]/)*$"))]
    pub prefix: String,

    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[-a-zA-Z0-9]+$"))]
    pub region: String,

    /// True names the bucket in the host name.
    #[serde(default)]
    pub virtual_hosts: bool,

    /// What signs the requests.
    pub credentials: S3Credentials,

    /// CA certificates, one of which must have signed the service's certificate. Those of the system are not trusted. Needed
    /// for https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ExternalCa>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// An access key, in Secrets of the VaultCluster's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct S3Credentials {
    /// The id of the access key.
    pub access_key_id: SecretKey,

    /// Its secret.
    pub secret_access_key: SecretKey,

    /// The session token of a temporary access key, which somebody else renews in that Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretKey>,
}

/// How many backups are kept. The newest good one is never deleted, nor anything that this VaultCluster did not make.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupRetention {
    /// At most so many.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep: i32,

    /// Those that are older than so many days go. Default: no limit of age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<i32>,
}

impl Default for BackupRetention {
    fn default() -> Self {
        Self {
            keep: default_keep(),
            days: None,
        }
    }
}

fn default_keep() -> i32 {
    48
}

/// What became of the backups.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The newest good backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<BackupRecord>,

    /// What keeps a backup from being made, while something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<BackupFailure>,

    /// The newest rehearsal that ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rehearsal: Option<RehearsalRecord>,

    /// What a rehearsal failed of, until one ends well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal_failure: Option<BackupFailure>,

    /// When the next backup is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,

    /// When the next rehearsal is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rehearsal: Option<Time>,

    /// An upload that was begun. One that is left over is broken off before another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<PendingUpload>,

    /// Finished backups of this VaultCluster in the bucket, at the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<i32>,

    /// When the bucket was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Time>,

    /// The operator's own public key, to which backups are encrypted as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_recipient: Option<String>,
}

/// A backup.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecord {
    /// Service, bucket and prefix that it is in.
    pub place: String,
    /// Its name in the bucket.
    pub object: String,
    /// When it was begun.
    pub time: Time,
    /// Bytes of the object.
    pub size: i64,
    /// SHA-256 of the object, in hexadecimal.
    pub sha256: String,
    /// Version of Vault that it was made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Why something does not succeed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupFailure {
    /// A word for it.
    pub reason: String,
    /// What happened, and what to do.
    pub message: String,
    /// Since when it fails.
    pub since: Time,
    /// When it was last tried.
    pub last: Time,
    /// How often it was tried.
    pub attempts: i32,
}

/// How far a rehearsal went.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RehearsalDepth {
    /// The object was fetched, compared, decrypted, and every sum in it was checked.
    Archive,
    /// It was also restored into a Vault of its own, and the keys that the operator holds opened it.
    Opened,
}

/// A rehearsal that ended well.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalRecord {
    /// When it was begun.
    pub time: Time,
    /// Service, bucket and prefix of the backup.
    pub place: String,
    /// The backup that was restored.
    pub object: String,
    /// How far it went.
    pub depth: RehearsalDepth,
    /// What was proven, and what was not and why.
    pub message: String,
}

/// An upload in parts that was begun.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PendingUpload {
    /// Service, bucket and prefix.
    pub place: String,
    /// The name that the object is to have.
    pub object: String,
    /// What the service calls the upload.
    pub id: String,
}
