//! Keeps the Secret with AppRole credentials: makes a secret-id, stores it, and only then destroys others.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use vaultkeeper_crds::names::APPROLE_AUTH_PATH;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::approle::{AppRole, SecretIdRequest};

use super::Identity;
use super::error::Error;
use super::secret::{Plan, intact_accessor, is_ours, others, plan, with_credentials};
use crate::context::Context;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// A secret-id was made and stored.
    pub issued: bool,
    /// How many others were destroyed.
    pub destroyed: usize,
}

fn secrets(ctx: &Context, identity: &Identity) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &identity.namespace)
}

/// Makes sure that the Secret `secret_name` holds working credentials of the AppRole role `vault_name`, which is
/// there already. Every point at which the process may die is healed by the next call.
pub async fn ensure(
    ctx: &Context,
    vault: &Client,
    identity: &Identity,
    vault_name: &str,
    secret_name: &str,
) -> Result<Done, Error> {
    let api = secrets(ctx, identity);
    let existing = api
        .get_opt(secret_name)
        .await
        .map_err(|e| Error::kubernetes("read the Secret for credentials", e))?;
    if existing
        .as_ref()
        .is_some_and(|secret| !is_ours(&secret.metadata, identity))
    {
        return Err(Error::NameTaken {
            kind: "Secret",
            name: secret_name.to_owned(),
            remedy: "delete it, or choose another spec.appRole.secretName",
        });
    }
    let method = vault.approle(APPROLE_AUTH_PATH);
    let role_id = method
        .role_id(vault_name)
        .await
        .map_err(|e| Error::vault("read the role-id", e))?;
    let known = accessors(&method, vault_name).await?;
    let stored = existing
        .as_ref()
        .and_then(|secret| intact_accessor(secret, &role_id));
    match plan(stored, &known) {
        Plan::Keep { destroy } => {
            let destroyed = destroy_all(&method, vault_name, &destroy).await?;
            Ok(Done {
                issued: false,
                destroyed,
            })
        }
        Plan::Issue => {
            let request = SecretIdRequest {
                metadata: metadata(identity),
                ..SecretIdRequest::default()
            };
            let issued = method
                .create_secret_id(vault_name, &request)
                .await
                .map_err(|e| Error::vault("make a secret-id", e))?;
            let fresh = existing.is_none();
            let secret = with_credentials(existing, identity, secret_name, &role_id, &issued);
            let plain = PostParams::default();
            let written = if fresh {
                api.create(&plain, &secret).await
            } else {
                api.replace(secret_name, &plain, &secret).await
            };
            if let Err(kube::Error::Api(status)) = &written
                && (400..500).contains(&status.code)
            {
                // Refused, so surely not stored: nobody holds this secret-id, and the next pass makes another one.
                destroy_all(
                    &method,
                    vault_name,
                    std::slice::from_ref(&issued.secret_id_accessor),
                )
                .await?;
            }
            // Where the answer was lost, the next pass finds the Secret as it is and destroys what is not in it.
            written.map_err(|e| Error::kubernetes("store the credentials", e))?;
            // Listed anew: what came between must not be left over.
            let known = accessors(&method, vault_name).await?;
            let destroyed =
                destroy_all(&method, vault_name, &others(&issued.secret_id_accessor, &known)).await?;
            Ok(Done {
                issued: true,
                destroyed,
            })
        }
    }
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

fn metadata(identity: &Identity) -> BTreeMap<String, String> {
    let Identity {
        namespace,
        name,
        uid,
        generation,
        cluster: _,
    } = identity;
    [
        ("namespace", namespace.clone()),
        ("name", name.clone()),
        ("uid", uid.clone()),
        ("generation", generation.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
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
