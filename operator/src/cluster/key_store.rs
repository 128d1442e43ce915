//! Reads and writes the key Secret. Every write tests what it relies on, in the same request.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PostParams, Preconditions};
use ring::rand::SecureRandom;
use serde_json::{Value, json};
use vaultkeeper_crds::names;

use super::custody::{Attempt, Custody, Encrypted};
use super::error::Error;
use super::keys::{self, KeyRecord, SealRecord, State};
use super::migration::SealNote;
use super::validate::Validated;
use crate::context::Context;
use crate::own_secret;
use vaultkeeper_vault::ExposeSecret as _;

fn api(ctx: &Context) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

fn encoded(text: &str) -> Value {
    Value::String(STANDARD.encode(text))
}

/// Reads the key Secret of a cluster, past every cache.
pub async fn get(ctx: &Context, namespace: &str, name: &str) -> Result<Option<KeyRecord>, Error> {
    let secret = api(ctx)
        .get_opt(&names::key_secret(namespace, name))
        .await
        .map_err(|e| Error::kubernetes("read the key Secret", e))?;
    Ok(secret.as_ref().map(keys::read).transpose()?)
}

/// Creates the key Secret with the marker. One that exists is left as it is.
pub async fn create_marker(ctx: &Context, cluster: &Validated) -> Result<(), Error> {
    let secret = marker(ctx, cluster, &random_id()?);
    match api(ctx).create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(Error::kubernetes("create the key Secret", error)),
    }
}

/// The key Secret as it is before `sys/init`.
fn marker(ctx: &Context, cluster: &Validated, attempt: &str) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        (keys::STATE.to_owned(), bytes(State::Initializing.as_str())),
        (keys::ATTEMPT.to_owned(), bytes(attempt)),
        (keys::IDENTITY.to_owned(), bytes(&cluster.uid)),
    ]);
    let name = names::key_secret(&cluster.namespace, &cluster.name);
    let of = format!("{}.{}", cluster.namespace, cluster.name);
    let mut secret = own_secret::of_cluster(&ctx.namespace, name, of, data);
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(keys::SEAL_RECORD.to_owned(), "{}".to_owned());
    secret
}

/// What became of an attempt to store the shares.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// They are in the Secret.
    Yes,
    /// The attempt was given up by another operator: these shares open a store that is being thrown away.
    Abandoned,
}

/// What follows when the write of the shares found another Secret than it relied on.
#[derive(Debug, PartialEq, Eq)]
enum Outdated {
    /// An earlier try was stored though its answer was lost.
    Stored,
    /// The attempt stands: somebody wrote at the same moment.
    TryAgain,
    /// The Secret was deleted. The shares exist nowhere else.
    Recreate,
    /// Another operator gave the attempt up.
    Abandoned,
}

fn judge(record: Option<&KeyRecord>, attempt: &str) -> Outdated {
    match record {
        None => Outdated::Recreate,
        Some(record) if record.attempt != attempt => Outdated::Abandoned,
        Some(record) => match record.state {
            State::Initialized => Outdated::Stored,
            State::Initializing => Outdated::TryAgain,
            State::Wiping => Outdated::Abandoned,
        },
    }
}

/// Stores shares and root token in one write, if this attempt still stands. Safe to repeat.
pub async fn store_initialized(
    ctx: &Context,
    cluster: &Validated,
    attempt: &str,
    data: &BTreeMap<String, ByteString>,
) -> Result<Stored, Error> {
    let mut operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initializing.as_str())}),
    ];
    operations.extend(data.iter().map(|(key, value)| {
        json!({"op": "add", "path": format!("/data/{key}"), "value": STANDARD.encode(&value.0)})
    }));
    let outdated = match patch(ctx, cluster, operations, "store the unseal shares").await {
        Ok(()) => return Ok(Stored::Yes),
        Err(error @ Error::Outdated { .. }) => error,
        Err(error) => return Err(error),
    };
    let record = get(ctx, &cluster.namespace, &cluster.name).await?;
    match judge(record.as_ref(), attempt) {
        Outdated::Stored => Ok(Stored::Yes),
        Outdated::Abandoned => Ok(Stored::Abandoned),
        Outdated::TryAgain => Err(outdated),
        Outdated::Recreate => {
            let mut secret = marker(ctx, cluster, attempt);
            secret.data.get_or_insert_default().extend(data.clone());
            let created = api(ctx).create(&PostParams::default(), &secret).await;
            created.map_err(|e| Error::kubernetes("store the unseal shares", e))?;
            Ok(Stored::Yes)
        }
    }
}

/// Condemns the volume of an initialisation whose reply was lost. From here on its shares are not stored any more.
pub async fn begin_wipe(
    ctx: &Context,
    cluster: &Validated,
    attempt: &str,
    volume: &str,
) -> Result<(), Error> {
    let operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initializing.as_str())}),
        json!({"op": "replace", "path": "/data/state", "value": encoded(State::Wiping.as_str())}),
        json!({"op": "add", "path": format!("/data/{}", keys::WIPING_VOLUME), "value": encoded(volume)}),
    ];
    patch(ctx, cluster, operations, "note that a store is being thrown away").await
}

/// Back to the marker, as a new attempt.
pub async fn end_wipe(ctx: &Context, cluster: &Validated, attempt: &str) -> Result<(), Error> {
    let operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Wiping.as_str())}),
        json!({"op": "replace", "path": "/data/state", "value": encoded(State::Initializing.as_str())}),
        json!({"op": "replace", "path": "/data/attempt", "value": encoded(&random_id()?)}),
        json!({"op": "remove", "path": format!("/data/{}", keys::WIPING_VOLUME)}),
    ];
    patch(ctx, cluster, operations, "start a new attempt to initialise").await
}

/// Forgets the keys of a memory that is gone: they open nothing any more. Only the very Secret that was read goes.
pub async fn start_over(ctx: &Context, cluster: &Validated, record: &KeyRecord) -> Result<(), Error> {
    let this = DeleteParams::default().preconditions(Preconditions {
        uid: None,
        resource_version: Some(record.resource_version.clone()),
    });
    let step = "forget the keys of a lost memory";
    let name = names::key_secret(&cluster.namespace, &cluster.name);
    match api(ctx).delete(&name, &this).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Err(Error::Outdated { step }),
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

/// Writes the memory of unsealed containers and latched members.
pub async fn record_seals(
    ctx: &Context,
    cluster: &Validated,
    record: &KeyRecord,
    seals: &SealRecord,
) -> Result<(), Error> {
    let text = serde_json::to_string(seals).map_err(Error::Encode)?;
    // A merge, not a JSON patch: a Secret restored from a backup may have no annotations at all.
    let body = json!({"metadata": {
        "resourceVersion": record.resource_version,
        "annotations": {keys::SEAL_RECORD: text},
    }});
    send(
        ctx,
        cluster,
        &Patch::Merge(body),
        "record which members are unsealed",
    )
    .await
}

/// Removes the root token, which is dead by now.
pub async fn remove_root_token(ctx: &Context, cluster: &Validated) -> Result<(), Error> {
    let operations = vec![
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initialized.as_str())}),
        json!({"op": "remove", "path": format!("/data/{}", keys::ROOT_TOKEN)}),
    ];
    patch(ctx, cluster, operations, "remove the revoked root token").await
}

/// Writes what is known of the seal, with the keys under the name that they have by it. Until a migration is over they
/// keep the name of before as well: nobody has to know which of the two holds at that moment.
pub async fn record_seal(
    ctx: &Context,
    cluster: &Validated,
    record: &KeyRecord,
    note: &SealNote,
) -> Result<(), Error> {
    let operations = seal_operations(record, note).map_err(Error::Encode)?;
    patch(ctx, cluster, operations, "note what the seal is").await
}

fn seal_operations(record: &KeyRecord, note: &SealNote) -> Result<Vec<Value>, serde_json::Error> {
    let mut operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(&record.attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initialized.as_str())}),
    ];
    let path = format!("/data/{}", keys::SEAL);
    if let Some(before) = &record.seal_text {
        operations.push(json!({"op": "test", "path": path, "value": encoded(before)}));
    }
    operations.push(json!({"op": "add", "path": path, "value": encoded(&serde_json::to_string(note)?)}));
    let (kind, other) = (note.in_force.keys(), note.in_force.keys().other());
    let named = |kind: keys::KeyKind, n: usize| format!("/data/{}{n}", kind.prefix());
    if kind != record.kind {
        operations.extend(record.shares.iter().zip(1..).map(|(share, n)| {
            json!({"op": "add", "path": named(kind, n), "value": encoded(share.expose_secret())})
        }));
    }
    if note.target.is_none() {
        let old = if kind == record.kind {
            record.also_named
        } else {
            record.shares.len()
        };
        operations.extend((1..=old).map(|n| json!({"op": "remove", "path": named(other, n)})));
    }
    Ok(operations)
}

/// Notes an attempt to hand the shares over, before a share is given to it.
pub async fn note_attempts(
    ctx: &Context,
    cluster: &Validated,
    record: &KeyRecord,
    attempts: &[Attempt],
) -> Result<(), Error> {
    let text = serde_json::to_string(attempts).map_err(Error::Encode)?;
    let operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(&record.attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initialized.as_str())}),
        json!({"op": "add", "path": format!("/data/{}", keys::HAND_OVER), "value": encoded(&text)}),
    ];
    patch(
        ctx,
        cluster,
        operations,
        "note an attempt to hand the shares over",
    )
    .await
}

/// The encrypted shares and who holds them, and the old shares out, in one write. The new ones must be in force.
pub async fn store_custody(
    ctx: &Context,
    cluster: &Validated,
    record: &KeyRecord,
    custody: &Custody,
    encrypted: &Encrypted,
) -> Result<(), Error> {
    let text = serde_json::to_string(custody).map_err(Error::Encode)?;
    let mut operations = vec![
        json!({"op": "test", "path": "/data/attempt", "value": encoded(&record.attempt)}),
        json!({"op": "test", "path": "/data/state", "value": encoded(State::Initialized.as_str())}),
        json!({"op": "add", "path": format!("/data/{}", keys::CUSTODY), "value": encoded(&text)}),
    ];
    // Vault answers them in base64, as a Secret wants its values.
    operations.extend(encrypted.iter().map(|(name, message)| {
        json!({"op": "add", "path": format!("/data/{}{name}", keys::ENCRYPTED_PREFIX), "value": message})
    }));
    let old = (1..=record.shares.len()).map(|n| format!("{}{n}", record.kind.prefix()));
    let gone = old.chain([keys::THRESHOLD.to_owned(), keys::HAND_OVER.to_owned()]);
    operations.extend(gone.map(|key| json!({"op": "remove", "path": format!("/data/{key}")})));
    patch(ctx, cluster, operations, "store the shares of the custodians").await
}

/// Moves the keys of a deleted store aside, so that a new cluster of that name can start. They are never deleted.
pub async fn retire(ctx: &Context, namespace: &str, name: &str) -> Result<Option<String>, Error> {
    let current = names::key_secret(namespace, name);
    let step = |e| Error::kubernetes("keep the keys of the deleted cluster", e);
    let Some(secret) = api(ctx).get_opt(&current).await.map_err(step)? else {
        return Ok(None);
    };
    let suffix = secret.metadata.uid.clone().unwrap_or_default();
    let retired = format!("{current}.retired-{suffix}");
    let copy = Secret {
        metadata: ObjectMeta {
            name: Some(retired.clone()),
            namespace: secret.metadata.namespace.clone(),
            labels: secret.metadata.labels.clone(),
            annotations: secret.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        ..secret
    };
    match api(ctx).create(&PostParams::default(), &copy).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        Err(error) => return Err(step(error)),
    }
    match api(ctx).delete(&current, &DeleteParams::default()).await {
        Ok(_) => Ok(Some(retired)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(retired)),
        Err(error) => Err(step(error)),
    }
}

async fn patch(
    ctx: &Context,
    cluster: &Validated,
    operations: Vec<Value>,
    step: &'static str,
) -> Result<(), Error> {
    let operations = serde_json::from_value(Value::Array(operations)).map_err(Error::Encode)?;
    send(ctx, cluster, &Patch::<Value>::Json(operations), step).await
}

async fn send(
    ctx: &Context,
    cluster: &Validated,
    change: &Patch<Value>,
    step: &'static str,
) -> Result<(), Error> {
    let name = names::key_secret(&cluster.namespace, &cluster.name);
    match api(ctx).patch(&name, &super::patch_params(), change).await {
        Ok(_) => Ok(()),
        // 422: a test of the patch failed; 409: somebody wrote at the same moment; 404: it was deleted.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
            Err(Error::Outdated { step })
        }
        Err(error) => Err(Error::kubernetes(step, error)),
    }
}

fn random_id() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::Random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State, attempt: &str) -> KeyRecord {
        KeyRecord {
            attempt: attempt.to_owned(),
            shares: Vec::new(),
            threshold: 0,
            ..keys::tests::record(state)
        }
    }

    #[test]
    fn keys_have_both_names_from_the_migration_until_it_is_proven() {
        use crate::cluster::keys::KeyKind;
        use crate::cluster::migration::Side;
        use vaultkeeper_vault::SecretString;

        let shares = ["a", "b"].map(SecretString::from);
        let stored = |kind, also_named| KeyRecord {
            kind,
            shares: shares.to_vec(),
            threshold: 2,
            also_named,
            seal_text: Some("before".to_owned()),
            ..record(State::Initialized, "mine")
        };
        let changed = |record: &KeyRecord, in_force, target| {
            let note = SealNote {
                in_force,
                target,
                auto: None,
                migrations: 1,
            };
            let operations = seal_operations(record, &note).unwrap();
            let tests = operations.iter().filter(|o| o["op"] == "test").count();
            assert_eq!(tests, 3, "it tests what it relies on: {operations:?}");
            let text = |o: &Value| {
                let path = o["path"].as_str().unwrap_or_default().replace("/data/", "");
                format!("{} {path}", o["op"].as_str().unwrap_or_default())
            };
            operations[3..].iter().map(text).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            changed(&stored(KeyKind::Unseal, 0), Side::Shamir, Some(Side::Auto)),
            "add seal",
            "they are shares still"
        );
        assert_eq!(
            changed(&stored(KeyKind::Unseal, 0), Side::Auto, Some(Side::Auto)),
            "add seal, add recovery-key-1, add recovery-key-2"
        );
        assert_eq!(
            changed(&stored(KeyKind::Recovery, 2), Side::Auto, None),
            "add seal, remove share-1, remove share-2"
        );
        assert_eq!(
            changed(&stored(KeyKind::Recovery, 0), Side::Auto, None),
            "add seal"
        );
    }

    #[test]
    fn shares_are_given_up_only_when_their_attempt_was_given_up() {
        let judged = |state, attempt| judge(Some(&record(state, attempt)), "mine");
        assert_eq!(judged(State::Initializing, "mine"), Outdated::TryAgain);
        assert_eq!(judged(State::Initialized, "mine"), Outdated::Stored);
        assert_eq!(judged(State::Wiping, "mine"), Outdated::Abandoned);
        assert_eq!(judged(State::Initializing, "theirs"), Outdated::Abandoned);
        assert_eq!(judge(None, "mine"), Outdated::Recreate, "the Secret was deleted");
    }
}
