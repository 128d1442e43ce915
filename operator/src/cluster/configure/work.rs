//! Reads declared objects from Vault, and writes what the plan says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vaultkeeper_crds::cluster::configuration::TotpMethod;
use vaultkeeper_vault::{Client, Error as VaultError};

use super::ledger::{Applied, Ledger};
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
    store: &'a str,
    ledger: Ledger,
    differences: Vec<(Mode, Difference)>,
    errors: Vec<Error>,
}

/// What a look has come to.
pub(crate) struct Done {
    /// What is applied now.
    pub applied: Applied,
    /// What differed, and what was done about it, in order.
    pub differences: Vec<(Mode, Difference)>,
    /// What went wrong, in order.
    pub errors: Vec<Error>,
}

impl<'a> Work<'a> {
    /// Begins. `store` tells one initialisation of Vault from the next.
    pub(crate) fn new(client: &'a Client, store: &'a str, ledger: Ledger) -> Self {
        Self {
            client,
            store,
            ledger,
            differences: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Ends.
    pub(crate) fn end(self) -> Done {
        Done {
            applied: self.ledger.end(),
            differences: self.differences,
            errors: self.errors,
        }
    }

    /// Whether anything of a section is looked at.
    pub(crate) fn looks_at(&self, section: &str) -> bool {
        self.ledger.looks_at(section)
    }

    /// What is done about the object of a field.
    pub(crate) fn mode(&self, field: &str) -> Mode {
        self.ledger.mode(field)
    }

    /// All objects of a section were looked at.
    pub(crate) fn finished(&mut self, section: &'static str) {
        self.ledger.finished(section);
    }

    /// The client of the active member.
    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    /// Notes what differed, after it was written or left.
    pub(crate) fn note(&mut self, mode: Mode, difference: Difference) {
        self.differences.push((mode, difference));
    }

    /// Keeps the error of an object for the end, unless it is the session's.
    pub(crate) fn fail(&mut self, field: &str, error: Error) -> Result<(), Error> {
        if error.vault_cause().is_some_and(is_of_the_session) {
            return Err(error);
        }
        // The first one is told in the status.
        tracing::warn!(error = %error.chain(), "a declared object could not be applied");
        self.ledger.failed(field);
        self.errors.push(error);
        Ok(())
    }

    /// One object that could perhaps not be made out of the spec.
    pub(crate) async fn object_or_error(
        &mut self,
        field: &str,
        wanted: Result<Wanted, Error>,
    ) -> Result<(), Error> {
        match wanted {
            Ok(wanted) => self.object(&wanted).await,
            Err(_) if self.mode(field) == Mode::Off => Ok(()),
            Err(error) => self.fail(field, error),
        }
    }

    /// Brings one object to what is declared.
    pub(crate) async fn object(&mut self, wanted: &Wanted) -> Result<(), Error> {
        if self.mode(&wanted.field) == Mode::Off {
            let print = wanted.print_of_secrets(self.store);
            self.ledger.declares(print.as_deref());
            return Ok(());
        }
        let found = match self.read(&wanted.path, &[]).await {
            Ok(found) => found,
            Err(source) => {
                let print = wanted.print_of_secrets(self.store);
                self.ledger.declares(print.as_deref());
                return self.fail(&wanted.field, declared(wanted, source));
            }
        };
        self.compared(wanted, found.as_ref()).await
    }

    async fn compared(&mut self, wanted: &Wanted, found: Option<&Found>) -> Result<(), Error> {
        let mode = self.mode(&wanted.field);
        let print = wanted.print_of_secrets(self.store);
        let renew = mode == Mode::Apply && self.ledger.is_new(print.as_deref());
        self.ledger.declares(print.as_deref());
        let change = object::plan(wanted, found, renew);
        if change == Change::None {
            return Ok(());
        }
        if mode.writes() {
            let body = object::body(wanted, found, renew);
            if let Err(source) = self.client.write(&wanted.path, &body).await {
                return self.fail(&wanted.field, declared(wanted, source));
            }
            if object::sends_secrets(wanted, found, renew) {
                self.ledger.wrote(print.as_deref());
            }
        }
        for difference in change.differences() {
            self.note(mode, difference.clone());
        }
        Ok(())
    }

    /// Mounts and tunes engines or auth methods.
    pub(crate) async fn mounts(&mut self, family: &'static str, wanted: &[Mount]) -> Result<(), Error> {
        let wanted: Vec<(Mode, &Mount)> = wanted
            .iter()
            .map(|mount| (self.mode(&mount.field), mount))
            .filter(|(mode, _)| *mode != Mode::Off)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let listed = self.read(family, &[]).await;
        let listed = listed.map_err(|e| Error::vault("read the mounts", self.client.node(), e))?;
        let listed = listed.unwrap_or_default();
        for (mode, mount) in wanted {
            let (path, body, differing) = match mounts::plan(mount, &listed) {
                Ok(MountChange::None) => continue,
                Ok(MountChange::Mount(body)) => (
                    format!("{family}/{}", mount.path),
                    body,
                    vec![mounts::absent(mount)],
                ),
                Ok(MountChange::Tune(body, differing)) => {
                    (format!("{family}/{}/tune", mount.path), body, differing)
                }
                Err(error) => {
                    self.fail(&mount.field, error)?;
                    continue;
                }
            };
            if mode.writes()
                && let Err(source) = self.client.write(&path, &body).await
            {
                let error = Error::Mount {
                    field: mount.field.clone(),
                    path: mount.path.clone(),
                    kind: mount.kind.clone(),
                    source: Box::new(source),
                };
                self.fail(&mount.field, error)?;
                continue;
            }
            for difference in differing {
                self.note(mode, difference);
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
        let mut written = false;
        for (n, method) in wanted.iter().enumerate() {
            let wanted = mfa::totp(n, method);
            let mode = self.mode(&wanted.field);
            if mode == Mode::Off {
                continue;
            }
            written |= mode.writes();
            let found = mfa::by_name(&listed, &method.name).map(|(_, info)| info);
            self.compared(&wanted, found).await?;
        }
        let listed = if written {
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
