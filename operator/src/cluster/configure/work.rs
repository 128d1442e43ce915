//! Reads declared objects from Vault, and writes what the plan says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vaultkeeper_crds::cluster::configuration::TotpMethod;
use vaultkeeper_vault::{Client, Error as VaultError};

use super::mfa;
use super::mode::Mode;
use super::mounts::{self, Mount, MountChange};
use super::object::{self, Change, Difference, Found, Wanted};
use crate::cluster::error::Error;
use crate::sessions;

/// One look at everything that is declared. What is wrong with one object does not keep the others from theirs; what
/// is wrong with the session ends the look.
pub(crate) struct Work<'a> {
    client: &'a Client,
    mode: Mode,
    differences: Vec<Difference>,
    errors: Vec<Error>,
}

impl<'a> Work<'a> {
    /// Begins.
    pub(crate) fn new(client: &'a Client, mode: Mode) -> Self {
        Self {
            client,
            mode,
            differences: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// What differed, and what went wrong, in order.
    pub(crate) fn end(self) -> (Vec<Difference>, Vec<Error>) {
        (self.differences, self.errors)
    }

    /// Whether anything is looked at.
    pub(crate) fn looks(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Whether what differs is written.
    pub(crate) fn writes(&self) -> bool {
        self.mode.writes()
    }

    /// The client of the active member.
    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    /// Notes what differs.
    pub(crate) fn note(&mut self, difference: Difference) {
        self.differences.push(difference);
    }

    /// Keeps an error for the end, unless it is the session's.
    pub(crate) fn fail(&mut self, error: Error) -> Result<(), Error> {
        if error.vault_cause().is_some_and(is_of_the_session) {
            return Err(error);
        }
        if !self.errors.is_empty() {
            // The first one is told in the status.
            tracing::warn!(error = %error.chain(), "another declared object could not be applied");
        }
        self.errors.push(error);
        Ok(())
    }

    /// One object that could perhaps not be made out of the spec.
    pub(crate) async fn object_or_error(&mut self, wanted: Result<Wanted, Error>) -> Result<(), Error> {
        match wanted {
            Ok(wanted) => self.object(&wanted).await,
            Err(error) => self.fail(error),
        }
    }

    /// Brings one object to what is declared.
    pub(crate) async fn object(&mut self, wanted: &Wanted) -> Result<(), Error> {
        let found = match self.read(&wanted.path, &[]).await {
            Ok(found) => found,
            Err(source) => return self.fail(declared(wanted, source)),
        };
        self.compared(wanted, found.as_ref()).await
    }

    async fn compared(&mut self, wanted: &Wanted, found: Option<&Found>) -> Result<(), Error> {
        let change = object::plan(wanted, found, self.mode.renews_secrets());
        if change == Change::None {
            return Ok(());
        }
        for difference in change.differences() {
            self.note(difference.clone());
        }
        if !self.writes() {
            return Ok(());
        }
        let body = object::body(wanted, found, self.mode.renews_secrets());
        match self.client.write(&wanted.path, &body).await {
            Ok(_) => Ok(()),
            Err(source) => self.fail(declared(wanted, source)),
        }
    }

    /// Mounts and tunes engines or auth methods.
    pub(crate) async fn mounts(&mut self, family: &'static str, wanted: &[Mount]) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let listed = self.read(family, &[]).await;
        let listed = listed.map_err(|e| Error::vault("read the mounts", self.client.node(), e))?;
        let listed = listed.unwrap_or_default();
        for mount in wanted {
            let (path, body) = match mounts::plan(mount, &listed) {
                Ok(MountChange::None) => continue,
                Ok(MountChange::Mount(body)) => {
                    self.note(mounts::absent(mount));
                    (format!("{family}/{}", mount.path), body)
                }
                Ok(MountChange::Tune(body, differing)) => {
                    self.differences.extend(differing);
                    (format!("{family}/{}/tune", mount.path), body)
                }
                Err(error) => {
                    self.fail(error)?;
                    continue;
                }
            };
            if self.writes()
                && let Err(source) = self.client.write(&path, &body).await
            {
                self.fail(Error::Mount {
                    field: mount.field.clone(),
                    path: mount.path.clone(),
                    kind: mount.kind.clone(),
                    source: Box::new(source),
                })?;
            }
        }
        Ok(())
    }

    /// Accessors of all auth methods by their path.
    pub(crate) async fn accessors(&self) -> Result<BTreeMap<String, String>, Error> {
        let methods = self.client.auth_methods().await;
        let methods = methods.map_err(|e| Error::vault("read the auth methods", self.client.node(), e))?;
        let methods = methods.into_iter();
        Ok(methods
            .map(|(path, info)| (path.trim_matches('/').to_owned(), info.accessor))
            .collect())
    }

    /// Brings the TOTP methods to what is declared. Returns the ids of all that are there by name.
    pub(crate) async fn totp(&mut self, wanted: &[TotpMethod]) -> Result<BTreeMap<String, String>, Error> {
        let listed = self.totp_methods().await?;
        for (n, method) in wanted.iter().enumerate() {
            let found = mfa::by_name(&listed, &method.name).map(|(_, info)| info);
            self.compared(&mfa::totp(n, method), found).await?;
        }
        let listed = if self.writes() && !wanted.is_empty() {
            self.totp_methods().await?
        } else {
            listed
        };
        Ok(mfa::ids(&listed))
    }

    async fn totp_methods(&self) -> Result<Found, Error> {
        let listed = self.read(mfa::TOTP, &[("list", "true")]).await;
        let listed = listed.map_err(|e| Error::vault("read the MFA methods", self.client.node(), e))?;
        let info = listed.and_then(|mut listed| listed.remove("key_info"));
        Ok(match info {
            Some(Value::Object(info)) => info,
            _ => Map::new(),
        })
    }

    /// The data at a path; none where nothing is there.
    async fn read(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<Found>, VaultError> {
        let secret = match self.client.read_with(path, query).await {
            Ok(secret) => secret,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let data: Option<Found> = secret.data.decode().map_err(|error| VaultError::Decode {
            call: vaultkeeper_vault::Call {
                operation: format!("GET {path}"),
                node: self.client.node().to_owned(),
            },
            reason: error.to_string(),
        })?;
        Ok(Some(data.unwrap_or_default()))
    }
}

/// A server error can be about the one object: Vault answers 500 to some that it does not understand.
fn is_of_the_session(error: &VaultError) -> bool {
    sessions::is_spoilt_by(error) && !matches!(error, VaultError::Server { .. })
}

fn declared(wanted: &Wanted, source: VaultError) -> Error {
    Error::Declared {
        field: wanted.field.clone(),
        what: wanted.what.clone(),
        source: Box::new(source),
    }
}
