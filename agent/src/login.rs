//! Logs in: reads the method's files and calls Vault.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use vaultkeeper_vault::{Auth, Client, Token};

use crate::away;
use crate::config::{Login, Method, Removal, Vault};
use crate::connection::{Connection, ConnectionError};
use crate::credentials::{Credential, CredentialError};

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("the login with {method} at auth/{mount} failed")]
    Refused {
        method: &'static str,
        mount: String,
        #[source]
        source: vaultkeeper_vault::Error,
    },
    #[error("{} does not hold a token", path.display())]
    NoToken { path: PathBuf },
    #[error(
        "SECURITY: the wrapping token in {} was made at {found:?} and not at {wanted:?}: somebody exchanged it",
        path.display()
    )]
    Forged {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error(
        "SECURITY: the wrapping token in {} is not valid: it has expired, or somebody unwrapped the secret-id before; find out which and give a new one",
        path.display()
    )]
    Unwrapped {
        path: PathBuf,
        #[source]
        source: vaultkeeper_vault::Error,
    },
    #[error("the secret-id in {} cannot be unwrapped", path.display())]
    Wrapping {
        path: PathBuf,
        #[source]
        source: vaultkeeper_vault::Error,
    },
    #[error("what the wrapping token in {} holds is no secret-id", path.display())]
    NoSecretId { path: PathBuf },
    #[error("the token in {} has no use to spare: write another one there", path.display())]
    Worn { path: PathBuf },
    #[error("the token in {} is at its end: write another one there", path.display())]
    Ended { path: PathBuf },
}

impl LoginError {
    /// Whether Vault is away and not this login at fault, and no token was made.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Refused { source, .. } | Self::Unwrapped { source, .. } | Self::Wrapping { source, .. } => {
                away::was_no_login(source)
            }
            Self::Connection(_)
            | Self::Credential(_)
            | Self::NoToken { .. }
            | Self::Forged { .. }
            | Self::NoSecretId { .. }
            | Self::Worn { .. }
            | Self::Ended { .. } => false,
        }
    }
}

/// Logs in as configured, again and again.
pub(crate) struct Logins {
    method: Method,
    mount: String,
    /// What the method proves itself with.
    credential: Option<Credential>,
    /// The second file of AppRole.
    role_id: Option<Credential>,
    /// For a method with certificates of its own.
    connection: Option<Connection>,
    /// The wrapping token that was unwrapped last, with the secret-id that was in it.
    unwrapped: Option<(SecretString, SecretString)>,
    /// A token from a file that has no use to spare.
    worn: Option<SecretString>,
}

impl Logins {
    pub(crate) fn new(login: &Login, vault: &Vault) -> Self {
        let mut role_id = None;
        let mut connection = None;
        let credential = match &login.method {
            Method::Kubernetes { token_path, .. } => Some(Credential::new(
                "the ServiceAccount's token",
                token_path,
                Removal::Keep,
            )),
            Method::AppRole {
                role_id_path,
                secret_id_path,
                remove_secret_id,
                ..
            } => {
                role_id = Some(Credential::new("the role-id", role_id_path, Removal::Keep));
                let removal = if *remove_secret_id {
                    Removal::Remove
                } else {
                    Removal::Keep
                };
                let path = secret_id_path.as_deref();
                path.map(|path| Credential::new("the secret-id", path, removal))
            }
            Method::Jwt { path, removal, .. } => Some(Credential::new("the JWT", path, *removal)),
            Method::Cert {
                client_cert,
                client_key,
                ca_cert,
                ..
            } => {
                let mut vault = vault.clone();
                vault.client_cert = client_cert.clone().or(vault.client_cert);
                vault.client_key = client_key.clone().or(vault.client_key);
                vault.ca_cert = ca_cert.clone().or(vault.ca_cert);
                connection = Some(Connection::new(vault));
                None
            }
            Method::Password {
                password_path,
                removal,
                ..
            } => Some(Credential::new("the password", password_path, *removal)),
            Method::TokenFile { path } => Some(Credential::new("the token", path, Removal::Keep)),
        };
        Self {
            method: login.method.clone(),
            mount: login.mount.clone(),
            credential,
            role_id,
            connection,
            unwrapped: None,
            worn: None,
        }
    }

    /// Whether the files hold something else than at the last login.
    pub(crate) fn has_news(&self) -> bool {
        // The kubelet replaces a ServiceAccount's token long before its end: that is no reason to log in.
        match self.method {
            Method::Kubernetes { .. } | Method::AppRole { .. } => false,
            Method::Cert { .. } => self.connection.as_ref().is_some_and(Connection::is_outdated),
            Method::Jwt { .. } | Method::Password { .. } | Method::TokenFile { .. } => {
                self.credential.as_ref().is_some_and(Credential::is_new)
            }
        }
    }

    /// The token of the last login has no use to spare. One from a file is not taken a second time: looking it up would
    /// spend its last use, and it would end with what was made with it.
    pub(crate) fn is_worn(&mut self) {
        if let (Method::TokenFile { .. }, Some(credential)) = (&self.method, &self.credential) {
            self.worn = credential.held().cloned();
        }
    }

    /// Reads the files as they are now and logs in.
    pub(crate) async fn log_in(&mut self, client: &Client) -> Result<Auth, LoginError> {
        let secret = match &mut self.credential {
            Some(credential) => Some(credential.read()?),
            None => None,
        };
        let role_id = match &mut self.role_id {
            Some(role_id) => Some(role_id.read()?),
            None => None,
        };
        let secret = match (&self.method, secret) {
            (
                Method::AppRole {
                    wrapping_path: Some(wanted),
                    ..
                },
                Some(wrapping),
            ) => Some(self.unwrap(client, wrapping, &wanted.clone()).await?),
            (_, secret) => secret,
        };
        let secret = secret.unwrap_or_default();
        let mount = &self.mount;
        let login = match &self.method {
            Method::Kubernetes { role, .. } => client.kubernetes(mount).login(role, &secret).await,
            Method::AppRole { .. } => {
                let role_id = role_id.unwrap_or_default();
                let approle = client.approle(mount);
                approle.login(role_id.expose_secret(), &secret).await
            }
            Method::Jwt { role, .. } => client.jwt(mount).login(role, &secret).await,
            Method::Cert { name, .. } => {
                let own = self.connection.as_ref().map(Connection::client).transpose()?;
                let cert = own.as_ref().unwrap_or(client).cert(mount);
                cert.login(name.as_deref()).await
            }
            Method::Password { username, .. } => client.login_with_password(mount, username, &secret).await,
            Method::TokenFile { path } => {
                let is_worn = |worn: &SecretString| worn.expose_secret() == secret.expose_secret();
                if self.worn.as_ref().is_some_and(is_worn) {
                    return Err(LoginError::Worn { path: path.clone() });
                }
                look_up(client, path, secret).await?
            }
        };
        let auth = login.map_err(|source| LoginError::Refused {
            method: self.method.name(),
            mount: mount.clone(),
            source,
        })?;
        if let Some(credential) = &self.credential {
            credential.used();
        }
        Ok(auth)
    }

    /// The secret-id in a wrapping token, which must have been made where secret-ids of the role are.
    async fn unwrap(
        &mut self,
        client: &Client,
        wrapping: SecretString,
        wanted: &str,
    ) -> Result<SecretString, LoginError> {
        #[derive(serde::Deserialize)]
        struct Held {
            secret_id: SecretString,
        }
        // A token is good for one unwrap; the secret-id in it for many logins.
        if let Some((known, secret_id)) = &self.unwrapped
            && known.expose_secret() == wrapping.expose_secret()
        {
            return Ok(secret_id.clone());
        }
        let path = self.credential.as_ref().map(Credential::path);
        let path = path.unwrap_or(Path::new("")).to_owned();
        let token = Token::new(wrapping.clone()).map_err(|_| LoginError::NoToken { path: path.clone() })?;
        let fault = |source: vaultkeeper_vault::Error| {
            let path = path.clone();
            if source.is_retryable() {
                LoginError::Wrapping { path, source }
            } else {
                LoginError::Unwrapped { path, source }
            }
        };
        let info = client.lookup_wrapping(&token).await.map_err(fault)?;
        let found = info.creation_path.trim_matches('/');
        if found != wanted {
            let (found, wanted) = (found.to_owned(), wanted.to_owned());
            return Err(LoginError::Forged { path, found, wanted });
        }
        let held = client.unwrap_wrapped(&token).await.map_err(fault)?;
        let held: Held = held.data.decode().map_err(|_| LoginError::NoSecretId { path })?;
        self.unwrapped = Some((wrapping, held.secret_id.clone()));
        Ok(held.secret_id)
    }
}

/// What a login would have said of a token that somebody else made.
async fn look_up(
    client: &Client,
    path: &Path,
    token: SecretString,
) -> Result<Result<Auth, vaultkeeper_vault::Error>, LoginError> {
    let token = Token::new(token).map_err(|_| LoginError::NoToken {
        path: path.to_owned(),
    })?;
    let info = match client.with_token(&token).lookup_self().await {
        Ok(info) => info,
        Err(error) => return Ok(Err(error)),
    };
    // Zero would stand for no end.
    if info.ttl.is_zero() && info.expire_time.is_some() {
        return Err(LoginError::Ended {
            path: path.to_owned(),
        });
    }
    Ok(Ok(Auth {
        client_token: token,
        accessor: info.accessor,
        policies: info.policies,
        metadata: info.meta,
        lease_duration: info.ttl,
        renewable: info.renewable,
        token_type: info.kind,
        orphan: info.orphan,
        num_uses: info.num_uses,
        entity_id: String::new(),
    }))
}
