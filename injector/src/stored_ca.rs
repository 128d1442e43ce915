//! The Secret that keeps the CA for all replicas. Whoever comes first makes it; there is no leader.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use secrecy::{ExposeSecret as _, SecretString};
use vaultkeeper_crds::annotations::FIELD_MANAGER;

use crate::certificates::{self, Authority};

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not give it, or refused to.
    #[error("failed to read Secret {name}")]
    Read {
        /// The Secret.
        name: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not take it.
    #[error("failed to create Secret {name}")]
    Create {
        /// The Secret.
        name: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something else is in it.
    #[error(
        "Secret {name} holds no usable CA: delete it, and a running injector stores its own again, or a new one is made"
    )]
    Unusable {
        /// The Secret.
        name: String,
        /// The cause.
        #[source]
        source: certificates::Error,
    },
    /// A new CA could not be made.
    #[error("failed to make a CA")]
    Make(#[source] certificates::Error),
}

/// Reads the CA, or stores one if there is none: `current` when there is one, so that a deleted Secret changes nothing.
///
/// # Errors
/// The API server or the randomness failed, or somebody put something else into the Secret.
pub async fn obtain(
    client: &Client,
    namespace: &str,
    name: &str,
    current: Option<&Authority>,
) -> Result<Authority, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = read(&api, name).await? {
        return Ok(found);
    }
    let authority = match current {
        Some(current) => current.clone(),
        None => Authority::generate(name, Timestamp::now()).map_err(Error::Make)?,
    };
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        dry_run: false,
    };
    match api.create(&parameters, &secret(name, &authority)).await {
        Ok(_) => Ok(authority),
        // Another replica was first; its CA is the one.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            read(&api, name).await.map(|found| found.unwrap_or(authority))
        }
        Err(error) => Err(Error::Create {
            name: name.to_owned(),
            source: Box::new(error),
        }),
    }
}

async fn read(api: &Api<Secret>, name: &str) -> Result<Option<Authority>, Error> {
    let found = api.get_opt(name).await.map_err(|error| Error::Read {
        name: name.to_owned(),
        source: Box::new(error),
    })?;
    let Some(mut data) = found.map(|secret| secret.data.unwrap_or_default()) else {
        return Ok(None);
    };
    let mut text = |key| String::from_utf8(data.remove(key).unwrap_or_default().0).unwrap_or_default();
    let (certificate, key) = (text(CERTIFICATE), SecretString::from(text(KEY)));
    Authority::from_pem(certificate, key)
        .map(Some)
        .map_err(|source| Error::Unusable {
            name: name.to_owned(),
            source,
        })
}

fn secret(name: &str, authority: &Authority) -> Secret {
    let labels = [
        ("app.kubernetes.io/name", "vaultkeeper-injector"),
        ("app.kubernetes.io/part-of", "vaultkeeper"),
    ];
    let mut secret = Secret {
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([
            (
                CERTIFICATE.to_owned(),
                ByteString(authority.certificate().as_bytes().to_vec()),
            ),
            (
                KEY.to_owned(),
                ByteString(authority.key().expose_secret().as_bytes().to_vec()),
            ),
        ])),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.labels = Some(
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    );
    secret
}
