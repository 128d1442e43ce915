//! Keeps the Secret with AppRole credentials: makes a secret-id, proves it, stores it, and only then destroys others.

mod make;

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use vaultkeeper_crds::names::APPROLE_AUTH_PATH;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::approle::AppRole;

use super::Identity;
use super::error::Error;
use super::rotation::plan::{Cause, Seen, Token, period, plan, strays};
use super::rotation::restart::restart;
use super::rotation::state::{Held, State};
use super::secret::{Facts, intact_secret_id, is_ours};
use super::validate::AppRoleWish;
use crate::context::Context;
use make::{At, look, take_back};

/// So many secret-ids may lie about that nobody is known to hold: more than a role can have had by intention.
const MOST_UNSTORED: usize = 50;

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
    let wrapped = state.as_ref().filter(|state| state.wrapping.is_some());
    let token = match intact.as_ref().filter(|_| wrapped.is_some()) {
        Some(token) => look(vault, token).await?,
        None => Token::None,
    };
    let seen = Seen {
        state: state.clone(),
        intact: intact.is_some(),
        token,
        known,
        request: task.request.clone(),
        now: Timestamp::now().as_second(),
    };
    let planned = plan(&seen, wish, &identity.uid);
    let has_targets = !wish.rotation.targets.is_empty();
    let (issued, secret, mut state, secret_id) = match (planned.issue, intact, state) {
        (None, Some(secret_id), Some(mut state)) => {
            state.previous.clone_from(&planned.previous);
            state.unwrapped.clone_from(&planned.unwrapped);
            state.restart_pending |= planned.rotates && has_targets;
            (None, existing, state, secret_id)
        }
        (cause, old, before) => {
            let cause = cause.filter(|_| moved.is_none()).unwrap_or(Cause::Moved);
            // Those that earlier passes could not store must not pile up where the API server refuses for days.
            let unstored = before
                .as_ref()
                .map_or_else(|| seen.known.clone(), |before| strays(&seen.known, before));
            if unstored.len() > MOST_UNSTORED {
                destroy_all(&method, task.vault_name, &unstored).await?;
            }
            let (mut state, secret_id) = at.issue(existing.as_ref(), &seen).await?;
            state.previous.clone_from(&planned.previous);
            state.unwrapped.clone_from(&planned.unwrapped);
            let is_pending = before.as_ref().is_some_and(|before| before.restart_pending);
            state.restart_pending = has_targets && (planned.rotates || is_pending);
            let stored = at.store(existing, &state, &secret_id).await;
            if stored.as_ref().is_err_and(is_surely_not_stored) {
                // Nobody holds this secret-id, and the next pass makes another one.
                let made: Vec<String> = state.accessor.iter().cloned().collect();
                destroy_all(&method, task.vault_name, &made).await?;
            }
            // Where the answer was lost, the next pass finds the Secret as it is and destroys what is not in it.
            let stored = stored?;
            if let (Some(accessor), Some(old)) = (&planned.take_back, old) {
                let was_taken = take_back(vault, old).await?;
                let of_it = before.as_ref().and_then(Held::of);
                let period = of_it.and_then(|held| period(&held, wish));
                let overlap = i64::try_from(wish.rotation.overlap(period).as_secs());
                let ends = seen.now.saturating_add(overlap.unwrap_or(i64::MAX));
                state = planned.taken_back(&state, accessor, was_taken, ends);
            }
            (Some(cause), Some(stored), state, secret_id)
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
pub(super) fn is_surely_not_stored(error: &Error) -> bool {
    matches!(error, Error::Kubernetes { source, .. }
        if matches!(&**source, kube::Error::Api(status) if (400..500).contains(&status.code)))
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
