//! How secrets reach the server: as variables and files that the kubelet takes from Secrets of the cluster's
//! namespace. The operator reads none of them, and none is in the configuration file. Pure.

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, ProjectedVolumeSource, SecretKeySelector, SecretProjection, Volume,
    VolumeProjection,
};
use vaultkeeper_crds::cluster::SecretKey;

use crate::cluster::validate::Validated;

/// Folder of the files in the container.
pub const FOLDER: &str = "/vault/credentials";
/// Name of their volume.
pub(crate) const VOLUME: &str = "credentials";

/// One thing that the server needs beside its configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A variable with a secret value.
    Variable {
        /// Name of the variable.
        name: &'static str,
        /// Where its value is.
        from: SecretKey,
        /// Whether the server starts without it.
        optional: bool,
    },
    /// A variable that is no secret.
    Plain {
        /// Name of the variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A file in [`FOLDER`].
    File {
        /// Its name.
        name: &'static str,
        /// Where its content is.
        from: SecretKey,
    },
}

impl Credential {
    pub(crate) fn variable(name: &'static str, from: &SecretKey) -> Self {
        Self::Variable {
            name,
            from: from.clone(),
            optional: false,
        }
    }

    pub(crate) fn file(name: &'static str, from: &SecretKey) -> Self {
        Self::File {
            name,
            from: from.clone(),
        }
    }

    /// The two files of a Secret of type kubernetes.io/tls.
    pub(crate) fn pair(certificate: &'static str, key: &'static str, secret: &str) -> [Self; 2] {
        [(certificate, "tls.crt"), (key, "tls.key")].map(|(name, entry)| Self::File {
            name,
            from: entry_of(secret, entry),
        })
    }
}

/// One key of a Secret.
pub(crate) fn entry_of(secret: &str, key: &str) -> SecretKey {
    SecretKey {
        name: secret.to_owned(),
        key: key.to_owned(),
    }
}

/// Where a file of this name is in the container.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// All that seal and storage need.
pub(crate) fn of(cluster: &Validated) -> Vec<Credential> {
    let mut all = super::storage::credentials(&cluster.storage);
    all.extend(super::seal::credentials(cluster));
    all
}

/// The variables among them.
pub(crate) fn environment(credentials: &[Credential]) -> Vec<EnvVar> {
    let variables = credentials.iter().filter_map(|credential| match credential {
        Credential::Variable { name, from, optional } => Some(EnvVar {
            name: (*name).to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: from.name.clone(),
                    key: from.key.clone(),
                    optional: optional.then_some(true),
                }),
                ..EnvVarSource::default()
            }),
        }),
        Credential::Plain { name, value } => Some(EnvVar {
            name: (*name).to_owned(),
            value: Some(value.clone()),
            value_from: None,
        }),
        Credential::File { .. } => None,
    });
    variables.collect()
}

/// The volume of the files among them, if there are any.
pub(crate) fn volume(credentials: &[Credential]) -> Option<Volume> {
    let files = credentials.iter().filter_map(|credential| match credential {
        Credential::File { name, from } => Some(VolumeProjection {
            secret: Some(SecretProjection {
                name: from.name.clone(),
                items: Some(vec![KeyToPath {
                    key: from.key.clone(),
                    path: (*name).to_owned(),
                    mode: None,
                }]),
                optional: None,
            }),
            ..VolumeProjection::default()
        }),
        Credential::Variable { .. } | Credential::Plain { .. } => None,
    });
    let sources: Vec<VolumeProjection> = files.collect();
    (!sources.is_empty()).then(|| Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            // Readable by the server's group, which owns the volume, and by nobody else.
            default_mode: Some(0o440),
        }),
        ..Volume::default()
    })
}
