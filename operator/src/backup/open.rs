//! Reads what the spec of a backup refers to, and the operator's own key, which is made where there is none.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use ring::rand::SystemRandom;
use vaultkeeper_crds::cluster::{Backup, S3Credentials, S3Target, SecretKey};
use vaultkeeper_crds::names;
use vaultkeeper_vault::{ExposeSecret as _, SecretString};

use super::age::{Identity, Recipient};
use super::error::Error;
use super::plan::Calendar;
use super::s3::{Place, S3};
use super::schedule::Schedule;
use crate::cluster::apply;
use crate::cluster::external;
use crate::context::Context;
use crate::controllers::chain;
use crate::own_secret;

/// Key of the operator's own key in its Secret.
const IDENTITY: &str = "identity";

/// Everything that backups of a cluster need.
pub(super) struct Opened {
    pub s3: S3,
    /// Those of the spec, and the operator's own.
    pub recipients: Vec<Recipient>,
    pub identity: Identity,
}

/// Service, bucket and prefix in one text.
pub(crate) fn place(s3: &S3Target) -> String {
    format!("{}/{}/{}", s3.endpoint, s3.bucket, s3.prefix)
}

/// When things are due. Pure.
pub(crate) fn calendar(backup: &Backup) -> Result<Calendar, Error> {
    let parse = |field: &str, text: &str| {
        Schedule::parse(text).map_err(|problem| Error::Spec {
            field: field.to_owned(),
            problem: format!("is no schedule of cron ({problem})"),
        })
    };
    Ok(Calendar {
        backups: parse("spec.backup.schedule", &backup.schedule)?,
        rehearsals: parse("spec.backup.rehearsalSchedule", &backup.rehearsal_schedule)?,
        place: place(&backup.s3),
    })
}

/// Reads the public keys. Pure.
pub(super) fn recipients(backup: &Backup) -> Result<Vec<Recipient>, Error> {
    let keys = backup.recipients.iter().enumerate();
    keys.map(|(at, text)| {
        text.parse().map_err(|error: super::age::Error| Error::Spec {
            field: format!("spec.backup.recipients[{at}]"),
            problem: error.to_string(),
        })
    })
    .collect()
}

/// Reads all of it.
pub(super) async fn open(
    ctx: &Context,
    namespace: &str,
    name: &str,
    backup: &Backup,
) -> Result<Opened, Error> {
    let mut recipients = recipients(backup)?;
    let S3Target {
        endpoint,
        bucket,
        prefix: _,
        region,
        virtual_hosts,
        credentials,
        ca,
    } = &backup.s3;
    let S3Credentials {
        access_key_id,
        secret_access_key,
        session_token,
    } = credentials;
    let read = async |field, at| secret(ctx, namespace, field, at).await;
    let key = "spec.backup.s3.credentials.accessKeyId";
    let access_key_id = read(key, access_key_id).await?.expose_secret().to_owned();
    let secret_access_key = read("spec.backup.s3.credentials.secretAccessKey", secret_access_key).await?;
    let session_token = match session_token {
        Some(at) => Some(read("spec.backup.s3.credentials.sessionToken", at).await?),
        None => None,
    };
    let ca = match ca {
        Some(ca) => Some(
            external::ca::read(ctx, namespace, ca)
                .await
                .map_err(|error| match error {
                    external::Error::Ca { object, problem } => Error::Reference {
                        field: "spec.backup.s3.ca",
                        object,
                        problem,
                    },
                    external::Error::Kubernetes { step, source } => Error::Kubernetes { step, source },
                    other => Error::Spec {
                        field: "spec.backup.s3.ca".to_owned(),
                        problem: chain(&other),
                    },
                })?,
        ),
        None => None,
    };
    let s3 = S3::new(Place {
        endpoint: endpoint.clone(),
        bucket: bucket.clone(),
        region: region.clone(),
        virtual_hosts: *virtual_hosts,
        ca,
        access_key_id,
        secret_access_key,
        session_token,
    })?;
    let identity = own_identity(ctx, namespace, name).await?;
    recipients.push(identity.recipient());
    Ok(Opened {
        s3,
        recipients,
        identity,
    })
}

/// One value of the cluster's own namespace.
async fn secret(
    ctx: &Context,
    namespace: &str,
    field: &'static str,
    at: &SecretKey,
) -> Result<SecretString, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&at.name).await;
    let found = found.map_err(|e| Error::kubernetes("read a Secret of spec.backup", e))?;
    let refused = |problem| Error::Reference {
        field,
        object: format!("Secret {}", at.name),
        problem,
    };
    let found = found.ok_or_else(|| refused("does not exist: create it"))?;
    // In the operator's own namespace it could be one with the unseal shares.
    if apply::is_managed(&found) || names::is_reserved_secret(&at.name) {
        return Err(refused(
            "is kept by the operator itself: refer to one of your own",
        ));
    }
    let value = found.data.as_ref().and_then(|data| data.get(&at.key));
    let value = value.ok_or_else(|| refused("lacks the key that is referred to: add it"))?;
    let text = std::str::from_utf8(&value.0).map_err(|_| refused("holds a value that is not text"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused("holds an empty value: fill it in")),
        text => Ok(SecretString::from(text)),
    }
}

/// The operator's own key for this cluster, which never leaves its namespace.
async fn own_identity(ctx: &Context, namespace: &str, name: &str) -> Result<Identity, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let secret_name = names::backup_secret(namespace, name);
    let step = |e| Error::kubernetes("read the operator's own key for backups", e);
    if let Some(found) = api.get_opt(&secret_name).await.map_err(step)? {
        return read_identity(&found);
    }
    let identity = Identity::generate(&SystemRandom::new()).map_err(Error::Encrypt)?;
    let text = identity.to_text();
    let data = BTreeMap::from([(
        IDENTITY.to_owned(),
        ByteString(text.expose_secret().as_bytes().to_vec()),
    )]);
    let cluster = format!("{namespace}.{name}");
    let secret = own_secret::of_cluster(&ctx.namespace, secret_name.clone(), cluster, data);
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(identity),
        // Another operator was first: its key counts.
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
            read_identity(&api.get(&secret_name).await.map_err(step)?)
        }
        Err(error) => Err(Error::kubernetes(
            "store the operator's own key for backups",
            error,
        )),
    }
}

fn read_identity(secret: &Secret) -> Result<Identity, Error> {
    let damaged = || Error::Identity {
        secret: secret.metadata.name.clone().unwrap_or_default(),
        key: IDENTITY,
    };
    let value = secret.data.as_ref().and_then(|data| data.get(IDENTITY));
    let text = std::str::from_utf8(&value.ok_or_else(damaged)?.0).map_err(|_| damaged())?;
    Identity::parse(&SecretString::from(text)).map_err(|_| damaged())
}
