//! Makes the client, and makes it anew when a certificate file changes (a CA may be rolled over while the pod runs). Does file I/O.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use secrecy::SecretString;
use vaultkeeper_vault::{BuildError, Client};

use crate::config::Vault;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("cannot read {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the client key {} is not text", path.display())]
    Key { path: PathBuf },
    #[error("cannot set up the connection to Vault")]
    Build(#[source] BuildError),
}

/// What the client was made from.
#[derive(PartialEq, Eq, Default)]
struct Material {
    ca: Vec<u8>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

/// A client that follows its files.
pub(crate) struct Connection {
    vault: Vault,
    current: Mutex<Option<(Material, Client)>>,
}

impl Connection {
    pub(crate) fn new(vault: Vault) -> Self {
        Self {
            vault,
            current: Mutex::new(None),
        }
    }

    /// A connection without files that goes over this client.
    #[cfg(test)]
    pub(crate) fn over(client: Client) -> Self {
        let vault = Vault {
            address: client.node().to_owned(),
            ca_cert: None,
            ca_path: None,
            ca_pem: None,
            client_cert: None,
            client_key: None,
            tls_server_name: None,
            namespace: None,
        };
        Self {
            vault,
            current: Mutex::new(Some((Material::default(), client))),
        }
    }

    /// The namespace of all calls.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.vault.namespace.as_deref()
    }

    /// Whether the files hold something else than the present client was made from.
    pub(crate) fn is_outdated(&self) -> bool {
        let current = self.lock();
        let Some((known, _)) = &*current else { return false };
        read(&self.vault).is_ok_and(|material| material != *known)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Material, Client)>> {
        self.current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The client for the files as they are now. While the files cannot be read, an earlier client goes on serving.
    pub(crate) fn client(&self) -> Result<Client, ConnectionError> {
        let mut current = self.lock();
        let made = read(&self.vault).and_then(|material| match &*current {
            Some((known, client)) if *known == material => Ok((None, client.clone())),
            known => {
                if known.is_some() {
                    tracing::info!("a certificate file changed: connecting anew");
                }
                let client = build(&self.vault, &material)?;
                Ok((Some(material), client))
            }
        });
        match (made, &*current) {
            (Ok((None, client)), _) => Ok(client),
            (Ok((Some(material), client)), _) => {
                *current = Some((material, client.clone()));
                Ok(client)
            }
            (Err(error), Some((_, client))) => {
                tracing::warn!(error = %crate::logging::Chain(&error), "keeping the certificates read before");
                Ok(client.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn file(what: &'static str, path: &Path) -> Result<Vec<u8>, ConnectionError> {
    std::fs::read(path).map_err(|source| ConnectionError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

fn read(vault: &Vault) -> Result<Material, ConnectionError> {
    let mut ca = Vec::new();
    if let Some(path) = &vault.ca_cert {
        ca.extend(file("the CA file", path)?);
    }
    if let Some(folder) = &vault.ca_path {
        let what = "the CA folder";
        let fault = |source| ConnectionError::File {
            what,
            path: folder.clone(),
            source,
        };
        let entries = std::fs::read_dir(folder).map_err(fault)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        // A projected volume holds its folders (..data) beside the files.
        paths.retain(|path| path.is_file());
        paths.sort();
        for path in paths {
            ca.push(b'\n');
            ca.extend(file(what, &path)?);
        }
    }
    if let Some(pem) = &vault.ca_pem {
        ca.push(b'\n');
        ca.extend(pem.as_bytes());
    }
    Ok(Material {
        ca,
        certificate: vault
            .client_cert
            .as_deref()
            .map(|path| file("the client certificate", path))
            .transpose()?,
        key: vault
            .client_key
            .as_deref()
            .map(|path| file("the client key", path))
            .transpose()?,
    })
}

fn build(vault: &Vault, material: &Material) -> Result<Client, ConnectionError> {
    let Material { ca, certificate, key } = material;
    let mut builder = Client::builder(vault.address.trim_end_matches('/')).timeout(Duration::from_secs(30));
    if !ca.is_empty() {
        builder = builder.ca_pem(ca);
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        let path = vault.client_key.clone().unwrap_or_default();
        let key = String::from_utf8(key.clone()).map_err(|_| ConnectionError::Key { path })?;
        builder = builder.client_certificate(certificate, SecretString::from(key));
    }
    if let Some(name) = &vault.tls_server_name {
        builder = builder.tls_server_name(name.as_str());
    }
    if let Some(namespace) = &vault.namespace {
        builder = builder.namespace(namespace.as_str());
    }
    builder.build().map_err(ConnectionError::Build)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vaultkeeper_vault::transport::{Answer, Exchange, Request, Transport};

    use super::*;

    fn vault(ca: &Path) -> Vault {
        Vault {
            address: "https://localhost:1".to_owned(),
            ca_cert: Some(ca.to_owned()),
            ca_path: None,
            ca_pem: None,
            client_cert: None,
            client_key: None,
            tls_server_name: None,
            namespace: None,
        }
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let connection = Connection::new(vault(Path::new("/nonexistent/ca.crt")));
        let error = connection.client().expect_err("there is no CA").to_string();
        assert!(
            error.contains("/nonexistent/ca.crt"),
            "the file is not named: {error}"
        );
    }

    /// Answers every request with the namespace that it names.
    struct Namespaces;

    impl Transport for Namespaces {
        fn exchange(&self, request: Request) -> Exchange<'_> {
            let named = request.headers().get("X-Vault-Namespace");
            let named = named.map(|value| value.to_str().unwrap_or_default().to_owned());
            let body = serde_json::json!({"data": {"namespace": named}}).to_string();
            Box::pin(async move {
                Ok(Answer {
                    status: 200,
                    body: body.into_bytes().into(),
                    location: None,
                    retry_after: None,
                })
            })
        }
    }

    #[tokio::test]
    async fn every_call_names_the_namespace() {
        let ca = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ca.pem"));
        for namespace in [None, Some("team-a/app")] {
            let vault = Vault {
                namespace: namespace.map(str::to_owned),
                ..vault(ca)
            };
            let client = Connection::new(vault).client().unwrap();
            let client = client.with_transport(|_| Arc::new(Namespaces));
            let answer: serde_json::Value = client.read("secret/x").await.unwrap().data.decode().unwrap();
            assert_eq!(answer["namespace"].as_str(), namespace, "the header of a call");
        }
    }

    #[test]
    fn a_broken_ca_file_does_not_replace_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        std::fs::write(&path, include_str!("../tests/data/ca.pem")).unwrap();
        let connection = Connection::new(vault(&path));
        assert!(connection.client().is_ok(), "the CA is good");
        std::fs::write(&path, "half a ").unwrap();
        assert!(
            connection.client().is_ok(),
            "a file half written must not end the agent"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(
            connection.client().is_ok(),
            "a file that is away for a moment must not end the agent"
        );
    }
}
