//! Auth methods and secrets engines: those that the operator needs, and those that the spec declares.

use std::collections::BTreeMap;

use vaultkeeper_crds::cluster::Configuration;
use vaultkeeper_crds::names;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::mounts::{MountInfo, MountRequest};

use super::error::Error;

/// One mount that is to be there.
struct Wanted<'a> {
    field: String,
    path: &'a str,
    kind: &'a str,
    description: &'a str,
    options: BTreeMap<String, String>,
}

/// Enables the auth methods that the operator and VaultRoles use.
pub(crate) async fn own(client: &Client, member: &str) -> Result<(), Error> {
    let wanted = [
        (
            names::KUBERNETES_AUTH_PATH,
            "kubernetes",
            "ServiceAccounts of this Kubernetes cluster",
        ),
        (names::APPROLE_AUTH_PATH, "approle", "VaultRoles"),
    ]
    .map(|(path, kind, description)| Wanted {
        field: "the operator's own needs".to_owned(),
        path,
        kind,
        description,
        options: BTreeMap::new(),
    });
    auth_methods(client, member, &wanted).await
}

/// Enables what the spec declares. What it does not name is left alone.
pub(crate) async fn declared(spec: &Configuration, client: &Client, member: &str) -> Result<(), Error> {
    let Configuration {
        secrets_engines,
        auth_methods: methods,
    } = spec;
    let methods: Vec<Wanted<'_>> = methods
        .iter()
        .enumerate()
        .map(|(n, method)| Wanted {
            field: format!("spec.configuration.authMethods[{n}]"),
            path: &method.path,
            kind: &method.type_,
            description: &method.description,
            options: BTreeMap::new(),
        })
        .collect();
    auth_methods(client, member, &methods).await?;
    let found = client
        .mounts()
        .await
        .map_err(|e| Error::vault("read the secrets engines", member, e))?;
    for (n, engine) in secrets_engines.iter().enumerate() {
        let wanted = Wanted {
            field: format!("spec.configuration.secretsEngines[{n}]"),
            path: &engine.path,
            kind: &engine.type_,
            description: &engine.description,
            options: engine.options.clone(),
        };
        if is_missing(&found, &wanted)? {
            let mounted = client.enable_mount(wanted.path, &request(&wanted)).await;
            mounted.map_err(|source| refused(&wanted, source))?;
        }
    }
    Ok(())
}

async fn auth_methods(client: &Client, member: &str, wanted: &[Wanted<'_>]) -> Result<(), Error> {
    let found = client
        .auth_methods()
        .await
        .map_err(|e| Error::vault("read the auth methods", member, e))?;
    for wanted in wanted {
        if is_missing(&found, wanted)? {
            let enabled = client.enable_auth_method(wanted.path, &request(wanted)).await;
            enabled.map_err(|source| refused(wanted, source))?;
        }
    }
    Ok(())
}

fn refused(wanted: &Wanted<'_>, source: vaultkeeper_vault::Error) -> Error {
    Error::Mount {
        field: wanted.field.clone(),
        path: wanted.path.to_owned(),
        kind: wanted.kind.to_owned(),
        source: Box::new(source),
    }
}

fn is_missing(found: &BTreeMap<String, MountInfo>, wanted: &Wanted<'_>) -> Result<bool, Error> {
    match found
        .get(&format!("{}/", wanted.path))
        .or_else(|| found.get(wanted.path))
    {
        None => Ok(true),
        Some(mount) if mount.kind == wanted.kind => Ok(false),
        Some(mount) => Err(Error::MountDiffers {
            field: wanted.field.clone(),
            path: wanted.path.to_owned(),
            found: mount.kind.clone(),
            wanted: wanted.kind.to_owned(),
        }),
    }
}

fn request(wanted: &Wanted<'_>) -> MountRequest {
    MountRequest {
        kind: wanted.kind.to_owned(),
        description: wanted.description.to_owned(),
        options: wanted.options.clone(),
        ..MountRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_another_type_is_never_replaced() {
        let mut info = BTreeMap::new();
        info.insert(
            "secret/".to_owned(),
            MountInfo {
                kind: "pki".to_owned(),
                ..MountInfo::default()
            },
        );
        let wanted = |kind| Wanted {
            field: "f".to_owned(),
            path: "secret",
            kind,
            description: "",
            options: BTreeMap::new(),
        };
        assert!(matches!(
            is_missing(&info, &wanted("kv")),
            Err(Error::MountDiffers { .. })
        ));
        assert!(matches!(is_missing(&info, &wanted("pki")), Ok(false)));
        info.clear();
        assert!(matches!(is_missing(&info, &wanted("kv")), Ok(true)));
    }
}
