//! Why a backup or its rehearsal fails.

use std::time::Duration;

use super::{age, archive, s3};
use crate::sessions::SessionError;

/// Why a backup or its rehearsal fails. Each says what to do, where a person can do anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field cannot work.
    #[error("{field} {problem}")]
    Spec {
        /// Path of the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// A Secret or ConfigMap that the spec refers to.
    #[error("{field}: {object} {problem}")]
    Reference {
        /// Path of the field.
        field: &'static str,
        /// Kind and name.
        object: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The bucket cannot be called.
    #[error(transparent)]
    Setup(#[from] s3::SetupError),
    /// A Kubernetes call failed.
    #[error("failed to {step}")]
    Kubernetes {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// Nobody to take a snapshot from.
    #[error("failed to log in at the active member")]
    Session(#[source] Box<SessionError>),
    /// Vault refused or broke off.
    #[error("failed to {step}")]
    Vault {
        /// What was to be done.
        step: &'static str,
        /// The cause.
        #[source]
        source: Box<vaultkeeper_vault::Error>,
    },
    /// What came is not a whole snapshot.
    #[error(transparent)]
    Snapshot(#[from] archive::Broken),
    /// The bucket refused or did not answer.
    #[error(transparent)]
    Storage(#[from] s3::Error),
    /// There is no such object.
    #[error(
        "{object} is not in the bucket any more: somebody deleted it. See who may, and consider a lock on objects"
    )]
    Gone {
        /// The object.
        object: String,
    },
    /// Another object than the one that was stored.
    #[error("{object} is not what was stored ({what}): do not trust this bucket. See who may write to it")]
    Differs {
        /// The object.
        object: String,
        /// What differs.
        what: String,
    },
    /// Encrypting failed.
    #[error("failed to encrypt the snapshot: {0}")]
    Encrypt(#[source] age::Error),
    /// Decrypting failed.
    #[error(
        "{object}: {source}. If the operator's own key was lost, the next backup is made for its new one; older ones are read with the keys of spec.backup.recipients"
    )]
    Decrypt {
        /// The object.
        object: String,
        /// What is wrong.
        source: age::Error,
    },
    /// The operator's own key cannot be read.
    #[error(
        "Secret {secret} does not hold a usable key under `{key}`: restore it from a backup, or delete it, so that a new one is made"
    )]
    Identity {
        /// The Secret.
        secret: String,
        /// The key in it.
        key: &'static str,
    },
    /// Larger than can be uploaded.
    #[error("the snapshot is larger than {0} bytes")]
    TooLarge(u64),
    /// A task ended by a defect, or at a shutdown.
    #[error("it was interrupted and is begun anew")]
    Interrupted,
    /// It took longer than anything should.
    #[error("it was not done within {} minutes", .0.as_secs() / 60)]
    TooSlow(Duration),
}

impl Error {
    /// A word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec { .. } | Self::Setup(_) => "InvalidBackup",
            Self::Reference { .. } => "SecretUnusable",
            Self::Kubernetes { .. } => "KubernetesError",
            Self::Session(error) => error.reason(),
            Self::Vault { source, step: _ } => source.reason(),
            Self::Snapshot(_) => "SnapshotBroken",
            Self::Storage(error) => error.problem.reason(),
            Self::Gone { .. } => "BackupGone",
            Self::Differs { .. } => "BackupDiffers",
            Self::Encrypt(_) | Self::Decrypt { .. } => "EncryptionFailed",
            Self::Identity { .. } => "BackupKeyUnreadable",
            Self::TooLarge(_) => "SnapshotTooLarge",
            Self::Interrupted => "Interrupted",
            Self::TooSlow(_) => "TooSlow",
        }
    }

    pub(super) fn kubernetes(step: &'static str, source: kube::Error) -> Self {
        Self::Kubernetes {
            step,
            source: Box::new(source),
        }
    }
}
