//! Makes secret-ids, plain and wrapped, and writes the Secret. I/O with Vault and Kubernetes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use vaultkeeper_vault::auth::approle::{AppRole, SecretIdInfo, SecretIdRequest};
use vaultkeeper_vault::{
    Client, Error as VaultError, ExposeSecret, SecretString, Token as VaultToken, WrapInfo,
};

use super::{Task, secrets};
use crate::context::Context;
use crate::role::error::Error;
use crate::role::rotation::plan::{Seen, Token, made_with};
use crate::role::rotation::state::{Dress, State, Wrapping, remembered};
use crate::role::secret::{Facts, checksum, dressed};

/// Where the work is done.
pub(super) struct At<'a> {
    pub(super) ctx: &'a Context,
    pub(super) method: &'a AppRole,
    pub(super) task: &'a Task<'a>,
    pub(super) facts: Facts,
}

impl At<'_> {
    /// Makes a secret-id and has Vault show it: a login would use it up. Nothing is made where a login needs none, nor where
    /// it could not be stored.
    pub(super) async fn issue(
        &self,
        existing: Option<&Secret>,
        seen: &Seen,
    ) -> Result<(State, SecretString), Error> {
        let Task { identity, wish, .. } = self.task;
        if existing.is_some_and(|secret| secret.immutable == Some(true)) {
            return Err(Error::SecretFixed {
                name: wish.secret_name.clone(),
                what: "is immutable",
            });
        }
        let mut state = State {
            accessor: None,
            checksum: checksum(&self.facts.role_id, None, ""),
            issued: seen.now,
            expires: None,
            made_with: made_with(wish),
            request: seen.request.as_deref().map(remembered),
            previous: Vec::new(),
            unwrapped: Vec::new(),
            wrapping: None,
            restart_pending: false,
            dress: Dress::default(),
        };
        if !wish.bind_secret_id {
            return Ok((state, SecretString::from("")));
        }
        let request = SecretIdRequest {
            metadata: identity.metadata(),
            ..SecretIdRequest::default()
        };
        let (accessor, text, shown) = match wish.wrap {
            None => self.make(&request).await?,
            Some(ttl) => {
                let (wrapped, shown) = self.make_wrapped(&request, ttl).await?;
                state.wrapping = Some(Wrapping {
                    path: wrapped.creation_path,
                    ttl: i64::try_from(wrapped.ttl.as_secs()).unwrap_or(i64::MAX),
                    issued: seen.now,
                });
                let token = SecretString::from(wrapped.token.expose());
                (wrapped.wrapped_accessor, token, shown)
            }
        };
        state.checksum = checksum(&self.facts.role_id, Some(&accessor), text.expose_secret());
        state.expires = life(&shown).map(|life| seen.now.saturating_add(life));
        state.accessor = Some(accessor);
        Ok((state, text))
    }

    async fn make(&self, request: &SecretIdRequest) -> Result<(String, SecretString, SecretIdInfo), Error> {
        let name = self.task.vault_name;
        let made = self.method.create_secret_id(name, request).await;
        let made = made.map_err(|e| Error::vault("make a secret-id", e))?;
        let shown = self.method.lookup_secret_id(name, &made.secret_id).await;
        let shown = shown.map_err(|e| Error::vault("look up the new secret-id", e))?;
        let shown = shown.ok_or(Error::SecretIdUnknown)?;
        Ok((made.secret_id_accessor, made.secret_id, shown))
    }

    async fn make_wrapped(
        &self,
        request: &SecretIdRequest,
        ttl: Duration,
    ) -> Result<(WrapInfo, SecretIdInfo), Error> {
        let name = self.task.vault_name;
        let made = self.method.create_wrapped_secret_id(name, request, ttl).await;
        let made = made.map_err(|e| Error::vault("make a wrapped secret-id", e))?;
        let shown = self
            .method
            .lookup_secret_id_accessor(name, &made.wrapped_accessor)
            .await;
        let shown = shown.map_err(|e| Error::vault("look up the new secret-id", e))?;
        Ok((made, shown))
    }

    pub(super) fn dress(
        &self,
        existing: Option<Secret>,
        state: &State,
        secret_id: &SecretString,
    ) -> Result<Secret, Error> {
        let Task { identity, wish, .. } = self.task;
        let name = wish.secret_name.as_str();
        let dressed = dressed(
            existing,
            identity,
            (name, &wish.secret),
            &self.facts,
            state,
            secret_id,
        );
        dressed.map_err(Error::State)
    }

    /// Writes the Secret, unless somebody else has written it meanwhile. Returns it as it is stored.
    pub(super) async fn store(
        &self,
        existing: Option<Secret>,
        state: &State,
        secret_id: &SecretString,
    ) -> Result<Secret, Error> {
        let fresh = existing.is_none();
        let secret = self.dress(existing, state, secret_id)?;
        let api = secrets(self.ctx, self.task.identity);
        let plain = PostParams::default();
        let written = if fresh {
            api.create(&plain, &secret).await
        } else {
            api.replace(&self.task.wish.secret_name, &plain, &secret).await
        };
        written.map_err(|e| Error::kubernetes("store the credentials", e))
    }
}

/// What has become of a wrapping token. To look does not use it.
pub(super) async fn look(vault: &Client, token: &SecretString) -> Result<Token, Error> {
    let Ok(token) = VaultToken::new(token.clone()) else {
        return Ok(Token::Gone);
    };
    match vault.lookup_wrapping(&token).await {
        Ok(_) => Ok(Token::Waiting),
        Err(VaultError::BadRequest { .. }) => Ok(Token::Gone),
        Err(error) => Err(Error::vault("look up the wrapping token", error)),
    }
}

/// Uses a wrapping token up, so that nobody else can. Whether somebody had: of two who unwrap Vault lets one win. What is
/// inside is dropped.
pub(super) async fn take_back(vault: &Client, token: SecretString) -> Result<bool, Error> {
    let Ok(token) = VaultToken::new(token) else {
        return Ok(true);
    };
    match vault.unwrap_wrapped(&token).await {
        Ok(_) => Ok(false),
        Err(VaultError::BadRequest { .. } | VaultError::Denied { .. }) => Ok(true),
        Err(error) => Err(Error::vault("take the former wrapping token back", error)),
    }
}

/// How long Vault lets a secret-id live, in seconds; none for ever. By Vault's own clock at both ends.
fn life(shown: &SecretIdInfo) -> Option<i64> {
    let time = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let (made, ends) = (time(&shown.creation_time)?, time(&shown.expiration_time)?);
    (ends > made).then(|| ends - made)
}
