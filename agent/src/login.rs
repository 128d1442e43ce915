//! Logs in: reads the method's files and calls Vault.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use vaultkeeper_vault::{Auth, Client};

use crate::config::{Login, Method};
use crate::connection::ConnectionError;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("cannot read {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} {} is empty", path.display())]
    Empty { what: &'static str, path: PathBuf },
    #[error("the login with {method} at auth/{mount} failed")]
    Refused {
        method: &'static str,
        mount: String,
        #[source]
        source: vaultkeeper_vault::Error,
    },
}

/// Logs in as configured, again and again.
pub(crate) struct Logins {
    login: Login,
    /// The secret-id read last: its file may be gone after the first login.
    secret_id: Option<SecretString>,
}

impl Logins {
    pub(crate) fn new(login: Login) -> Self {
        Self {
            login,
            secret_id: None,
        }
    }

    /// Reads the files as they are now and logs in.
    pub(crate) async fn log_in(&mut self, client: &Client) -> Result<Auth, LoginError> {
        let mount = self.login.mount.clone();
        match &self.login.method {
            Method::Kubernetes { role, token_path } => {
                let jwt = text("the ServiceAccount's token", token_path)?;
                let refused = |source| LoginError::Refused {
                    method: "kubernetes",
                    mount: mount.clone(),
                    source,
                };
                client.kubernetes(&mount).login(role, &jwt).await.map_err(refused)
            }
            Method::AppRole {
                role_id_path,
                secret_id_path,
                remove_secret_id,
            } => {
                let role_id = text("the role-id", role_id_path)?;
                if let Some(path) = secret_id_path {
                    match (text("the secret-id", path), &self.secret_id) {
                        (Ok(secret_id), _) => self.secret_id = Some(secret_id),
                        (Err(_), Some(_)) => {}
                        (Err(error), None) => return Err(error),
                    }
                }
                let none = SecretString::from("");
                let secret_id = self.secret_id.as_ref().unwrap_or(&none);
                let login = client
                    .approle(&mount)
                    .login(role_id.expose_secret(), secret_id)
                    .await;
                let auth = login.map_err(|source| LoginError::Refused {
                    method: "approle",
                    mount,
                    source,
                })?;
                if let Some(path) = secret_id_path.as_deref().filter(|_| *remove_secret_id) {
                    remove(path);
                }
                Ok(auth)
            }
        }
    }
}

/// Removes a secret-id's file after it did its work. A read-only volume keeps it: said once, and no error.
fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::debug!(file = %path.display(), %error, "the secret-id's file stays");
        }
    }
}

fn text(what: &'static str, path: &Path) -> Result<SecretString, LoginError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoginError::File {
        what,
        path: path.to_owned(),
        source,
    })?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(LoginError::Empty {
            what,
            path: path.to_owned(),
        });
    }
    Ok(SecretString::from(trimmed))
}
