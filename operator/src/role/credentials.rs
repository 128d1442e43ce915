//! Keeps the Secret with AppRole credentials: makes a secret-id, proves it, stores it, and only then destroys others.

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use vaultkeeper_crds::names::APPROLE_AUTH_PATH;
use vaultkeeper_vault::auth::approle::{AppRole, SecretIdInfo, SecretIdRequest};
use vaultkeeper_vault::{Client, ExposeSecret, SecretString};

use super::Identity;
use super::error::Error;
use super::rotation::plan::{Cause, Plan, Seen, made_with, plan, strays};
use super::rotation::restart::restart;
use super::rotation::state::{Dress, State, remembered};
use super::secret::{Facts, checksum, dressed, intact_secret_id, is_ours};
use super::validate::AppRoleWish;
use crate::context::Context;

/// For whom, and what.
pub struct Task<'a> {
    /// The VaultRole.
    pub identity: &'a Identity,
    /// The same, for events.
    pub object: &'a ObjectReference,
    /// Its role in Vault, which is there already.
    pub vault_name: &'a str,
    /// What it is to have.
    pub wish: &'a AppRoleWish,
    /// The request on it to rotate.
    pub request: Option<String>,
    /// The Secret that it had under another name.
    pub former: Option<&'a str>,
    /// Vault's address.
    pub address: &'a str,
    /// The CA bundle.
    pub ca: &'a str,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// A secret-id was made and stored, and why.
    pub issued: Option<Cause>,
    /// How many others were destroyed.
    pub destroyed: usize,
    /// What is stored now.
    pub state: State,
}

fn secrets(ctx: &Context, identity: &Identity) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &identity.namespace)
}

/// Makes sure that the Secret holds working credentials. Every point at which the process may die is healed by the next
/// call.
pub async fn ensure(ctx: &Context, vault: &Client, task: &Task<'_>) -> Result<Done, Error> {
    let Task { identity, wish, .. } = task;
    let existing = read(ctx, identity, &wish.secret_name).await?;
    if let Some(secret) = &existing {
        check_usable(secret, identity, wish)?;
    }
    let method = vault.approle(APPROLE_AUTH_PATH);
    let role_id = method.role_id(task.vault_name).await;
    let at = At {
        ctx,
        method: &method,
        task,
        facts: Facts {
            role_id: role_id.map_err(|e| Error::vault("read the role-id", e))?,
            address: task.address.to_owned(),
            ca: task.ca.to_owned(),
        },
    };
    let known = accessors(&method, task.vault_name).await?;
    // What it had under another name is to work on for a while.
    let moved = match (&existing, task.former) {
        (None, Some(former)) => read(ctx, identity, former)
            .await?
            .filter(|secret| is_ours(&secret.metadata, identity)),
        _ => None,
    };
    let state = existing.as_ref().or(moved.as_ref()).and_then(State::of);
    let intact = existing.as_ref().zip(state.as_ref());
    let intact = intact.and_then(|(secret, state)| intact_secret_id(secret, state, &at.facts.role_id));
    let seen = Seen {
        state: state.clone(),
        intact: intact.is_some(),
        known,
        request: task.request.clone(),
        now: Timestamp::now().as_second(),
    };
    let Plan { issue, previous } = plan(&seen, wish, &identity.uid);
    let (issued, secret, mut state, secret_id) = match (issue, intact, state) {
        (None, Some(secret_id), Some(state)) => {
            let state = State { previous, ..state };
            (None, existing, state, secret_id)
        }
        (cause, _, before) => {
            let cause = cause.filter(|_| moved.is_none()).unwrap_or(Cause::Moved);
            let (mut state, secret_id) = at.issue(existing.as_ref(), &seen).await?;
            state.previous = previous;
            // One that the application has used up itself is no reason to restart it: that would go on for ever.
            let is_used_up = cause == Cause::Lost && wish.num_uses > 0;
            state.restart_pending = before.is_some() && !is_used_up && !wish.rotation.targets.is_empty();
            let stored = at.store(existing, &state, &secret_id).await;
            if stored.as_ref().is_err_and(is_surely_not_stored) {
                // Nobody holds this secret-id, and the next pass makes another one.
                let made: Vec<String> = state.accessor.iter().cloned().collect();
                destroy_all(&method, task.vault_name, &made).await?;
            }
            // Where the answer was lost, the next pass finds the Secret as it is and destroys what is not in it.
            (Some(cause), Some(stored?), state, secret_id)
        }
    };
    if let Some(accessor) = state.accessor.as_deref().filter(|_| state.restart_pending) {
        restart(
            ctx,
            &identity.namespace,
            &wish.rotation.targets,
            accessor,
            task.object,
        )
        .await?;
        state.restart_pending = false;
    }
    let known = match issued {
        // Listed anew: what came between must not be left over.
        Some(_) => accessors(&method, task.vault_name).await?,
        None => seen.known,
    };
    let destroyed = destroy_all(&method, task.vault_name, &strays(&known, &state)).await?;
    if secret != Some(at.dress(secret.clone(), &state, &secret_id)?) {
        at.store(secret, &state, &secret_id).await?;
    }
    Ok(Done {
        issued,
        destroyed,
        state,
    })
}

/// Where the work is done.
struct At<'a> {
    ctx: &'a Context,
    method: &'a AppRole,
    task: &'a Task<'a>,
    facts: Facts,
}

impl At<'_> {
    /// Makes a secret-id and has Vault show it: a login would use it up. Nothing is made where a login needs none, nor where
    /// it could not be stored.
    async fn issue(&self, existing: Option<&Secret>, seen: &Seen) -> Result<(State, SecretString), Error> {
        let Task {
            identity,
            vault_name,
            wish,
            ..
        } = self.task;
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
        let made = self.method.create_secret_id(vault_name, &request).await;
        let made = made.map_err(|e| Error::vault("make a secret-id", e))?;
        let shown = self.method.lookup_secret_id(vault_name, &made.secret_id).await;
        let shown = shown.map_err(|e| Error::vault("look up the new secret-id", e))?;
        let shown = shown.ok_or(Error::SecretIdUnknown)?;
        let accessor = made.secret_id_accessor;
        state.checksum = checksum(
            &self.facts.role_id,
            Some(&accessor),
            made.secret_id.expose_secret(),
        );
        state.expires = life(&shown).map(|life| seen.now.saturating_add(life));
        state.accessor = Some(accessor);
        Ok((state, made.secret_id))
    }

    fn dress(
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
    async fn store(
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

async fn read(ctx: &Context, identity: &Identity, name: &str) -> Result<Option<Secret>, Error> {
    let secret = secrets(ctx, identity).get_opt(name).await;
    secret.map_err(|e| Error::kubernetes("read the Secret for credentials", e))
}

/// Whether a Secret that is there can be ours, and of the wished type.
fn check_usable(secret: &Secret, identity: &Identity, wish: &AppRoleWish) -> Result<(), Error> {
    if !is_ours(&secret.metadata, identity) {
        return Err(Error::NameTaken {
            kind: "Secret",
            name: wish.secret_name.clone(),
            remedy: "delete it, or choose another spec.appRole.secretName",
        });
    }
    if secret.type_.as_deref() != Some(wish.secret.type_.as_str()) {
        return Err(Error::SecretFixed {
            name: wish.secret_name.clone(),
            what: "has another type than spec.appRole.secret.type, and Kubernetes keeps the type",
        });
    }
    Ok(())
}

/// Whether the API server has refused a write.
fn is_surely_not_stored(error: &Error) -> bool {
    matches!(error, Error::Kubernetes { source, .. }
        if matches!(&**source, kube::Error::Api(status) if (400..500).contains(&status.code)))
}

/// How long Vault lets a secret-id live, in seconds; none for ever. By Vault's own clock at both ends.
fn life(shown: &SecretIdInfo) -> Option<i64> {
    let time = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let (made, ends) = (time(&shown.creation_time)?, time(&shown.expiration_time)?);
    (ends > made).then(|| ends - made)
}

/// Deletes the Secret if it is this VaultRole's.
pub async fn remove(ctx: &Context, identity: &Identity, secret_name: &str) -> Result<(), Error> {
    let step = "delete the Secret with credentials";
    let api = secrets(ctx, identity);
    let Some(secret) = api
        .get_opt(secret_name)
        .await
        .map_err(|e| Error::kubernetes(step, e))?
    else {
        return Ok(());
    };
    if !is_ours(&secret.metadata, identity) {
        return Ok(());
    }
    // Not one that was made anew by somebody in between.
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: secret.metadata.uid,
        ..Preconditions::default()
    });
    match api.delete(secret_name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

async fn accessors(method: &AppRole, role: &str) -> Result<Vec<String>, Error> {
    match method.list_secret_id_accessors(role).await {
        Ok(accessors) => Ok(accessors),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(Error::vault("list the secret-ids", error)),
    }
}

async fn destroy_all(method: &AppRole, role: &str, accessors: &[String]) -> Result<usize, Error> {
    for accessor in accessors {
        match method.destroy_secret_id_accessor(role, accessor).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Error::vault("destroy a secret-id that nobody holds", error)),
        }
    }
    Ok(accessors.len())
}
