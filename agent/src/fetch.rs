//! Asks Vault one question of a template.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use vaultkeeper_template::json::{Numbers, parse};
use vaultkeeper_template::{Answer, Auth, Query, Secret, Value, WrapInfo};
use vaultkeeper_vault::kv::Mount;
use vaultkeeper_vault::{Client, Error, SecretString};

use crate::escape;
use crate::issue;
use crate::kv::{Purpose, api_path, inside_namespace, metadata_path};
use crate::refresh::Facts;
use crate::version;

/// Fields of writes that are no secrets and that people need to see in the server's words.
const PUBLIC_FIELDS: [&str; 10] = [
    "common_name",
    "alt_names",
    "ip_sans",
    "uri_sans",
    "ttl",
    "format",
    "role",
    "role_name",
    "key_type",
    "valid_principals",
];

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot {query}")]
    Vault {
        query: Query,
        #[source]
        source: Box<Error>,
    },
    #[error("cannot {query}: no secret exists there")]
    Nothing { query: Query },
    #[error("cannot {query}: the answer holds no certificate with its key in PEM")]
    Certificate { query: Query },
    #[error("cannot {query}: the answer's data is not JSON")]
    Data { query: Query },
    #[error("cannot {query}: its password is being rotated right now")]
    Rotating { query: Query },
}

impl FetchError {
    /// What the call to Vault failed with, where it was that.
    pub(crate) fn vault(&self) -> Option<&Error> {
        match self {
            Self::Vault { source, .. } => Some(source),
            Self::Nothing { .. } | Self::Data { .. } | Self::Rotating { .. } | Self::Certificate { .. } => {
                None
            }
        }
    }
}

/// An answer with what its next fetch depends on.
pub(crate) struct Fetched {
    pub(crate) answer: Answer,
    pub(crate) facts: Facts,
    /// Empty without a lease.
    pub(crate) lease_id: String,
    pub(crate) metadata: Metadata,
}

/// Whether the metadata of a secret can tell if an answer is still current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// There is none: only KV version 2 has it.
    Absent,
    /// It may be asked, as far as is known.
    Open,
    /// The policy does not allow to read it.
    Denied,
}

/// What came of a question.
pub(crate) enum Outcome {
    /// An answer.
    New(Box<Fetched>),
    /// The answer that was there is still the current one.
    Current,
}

/// Asks questions; remembers which mounts are KV version 2. Clones share their memory.
#[derive(Clone)]
pub(crate) struct Fetcher {
    namespace: Option<Arc<str>>,
    mounts: Arc<Mutex<BTreeMap<String, Mount>>>,
}

impl Fetcher {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(Arc::from),
            mounts: Arc::default(),
        }
    }

    /// Asks once. With the answer that is `held` only its metadata is asked, where there is such a thing and it did not change.
    pub(crate) async fn fetch(
        &self,
        client: &Client,
        query: &Query,
        held: Option<&Answer>,
    ) -> Result<Outcome, FetchError> {
        let result = self.ask(client, query, held).await;
        if result.is_err() {
            // The mount may be another one by now.
            self.mounts().clear();
        }
        result
    }

    fn mounts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Mount>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        client: &Client,
        query: &Query,
        held: Option<&Answer>,
    ) -> Result<Outcome, FetchError> {
        let fault = |source| fault(query, source);
        let namespace = self.namespace.as_deref();
        // As consul-template: only these two are read as URLs.
        let asked = match query {
            Query::Read { path, .. } | Query::Certificate { path, .. } => escape::path(path),
            Query::Write { path, .. } | Query::List { path } => path.into(),
        };
        let mount = self.mount(client, &asked).await.map_err(fault)?;
        let path = |purpose| match &mount {
            Some(mount) => api_path(mount, &asked, purpose, namespace),
            None => asked.clone().into_owned(),
        };
        let is_kv2 = mount.as_ref().is_some_and(Mount::is_kv2);
        let mut about = Metadata::Absent;
        let secret = match query {
            Query::List { .. } => {
                let mut names = client.list(&path(Purpose::List)).await.map_err(fault)?;
                names.sort();
                return Ok(Outcome::New(Box::new(Fetched {
                    answer: Answer::List(names),
                    facts: Facts::none(),
                    lease_id: String::new(),
                    metadata: Metadata::Absent,
                })));
            }
            Query::Read { parameters, .. } => {
                let metadata = mount.as_ref().filter(|_| parameters.is_empty());
                let metadata = metadata.and_then(|mount| metadata_path(mount, &asked, namespace));
                if metadata.is_some() {
                    about = Metadata::Open;
                }
                if let (Some(metadata), Some(Answer::Secret(held))) = (metadata, held) {
                    match verify(client, &metadata, held).await.map_err(fault)? {
                        Verified::Current => return Ok(Outcome::Current),
                        Verified::Changed => {}
                        Verified::Denied => about = Metadata::Denied,
                    }
                }
                let pairs = parameters
                    .iter()
                    .map(|(key, value)| (escape::query(key), escape::query(value)));
                let pairs: Vec<_> = pairs.collect();
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
                let path = path(Purpose::Secret);
                Some(client.read_with(&path, &pairs).await.map_err(fault)?)
            }
            Query::Write { data, .. } => {
                let client = discreet(client, data);
                let path = path(Purpose::Secret);
                let written = if is_kv2 {
                    client.write(&path, &json!({"data": data})).await
                } else {
                    client.write(&path, data).await
                };
                written.map_err(fault)?
            }
            Query::Certificate {
                data, destination, ..
            } => {
                let path = path(Purpose::Secret);
                let fetched = issue::certificate(client, query, &path, data, destination).await?;
                return Ok(Outcome::New(Box::new(fetched)));
            }
        };
        let Some(secret) = secret else {
            // A write that answers nothing, as KV version 1 does.
            return Ok(Outcome::New(Box::new(Fetched {
                answer: Answer::Secret(Arc::new(empty())),
                facts: Facts::none(),
                lease_id: String::new(),
                metadata: Metadata::Absent,
            })));
        };
        let mut fetched = answer(query, secret, is_kv2)?;
        fetched.metadata = about;
        Ok(Outcome::New(Box::new(fetched)))
    }

    /// The mount of a path; `None` where the token may not ask, and the path is then taken as it is.
    async fn mount(&self, client: &Client, path: &str) -> Result<Option<Mount>, Error> {
        let known = self
            .mounts()
            .iter()
            .find(|(prefix, _)| format!("{path}/").starts_with(prefix.as_str()))
            .map(|(_, mount)| mount.clone());
        if known.is_some() {
            return Ok(known);
        }
        match client.mount_of(path).await {
            Ok(mount) => {
                let path = inside_namespace(&mount.path, self.namespace.as_deref());
                self.mounts().insert(path.to_owned(), mount.clone());
                Ok(Some(mount))
            }
            // No mount, or no right to know: the read itself will tell.
            Err(error) if error.is_denied() || error.is_not_found() => {
                tracing::debug!(path, "the mount is not known: the path is used as it is");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What a question failed with.
pub(crate) fn fault(query: &Query, source: Error) -> FetchError {
    let query = query.clone();
    match source {
        Error::NotFound { errors, .. } if errors.0.is_empty() => FetchError::Nothing { query },
        source => FetchError::Vault {
            query,
            source: Box::new(source),
        },
    }
}

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the metadata of a secret says.
enum Verified {
    Current,
    Changed,
    /// The policy does not allow to read it.
    Denied,
}

async fn verify(client: &Client, metadata: &str, held: &Secret) -> Result<Verified, Error> {
    match client.read(metadata).await {
        Ok(answer) => {
            let answer = parse(answer.data.json(), Numbers::AsSent).unwrap_or(Value::Null);
            Ok(if version::is_current(&held.data, &answer) {
                Verified::Current
            } else {
                Verified::Changed
            })
        }
        Err(error) if error.is_denied() => {
            tracing::debug!(
                path = metadata,
                "the metadata may not be read: the secret is read each time"
            );
            Ok(Verified::Denied)
        }
        // The secret may be gone with all its versions: the read will tell.
        Err(error) if error.is_not_found() => Ok(Verified::Changed),
        Err(error) => Err(error),
    }
}

/// A client whose errors repeat no value of a write that may be secret.
pub(crate) fn discreet(client: &Client, data: &BTreeMap<String, String>) -> Client {
    let secret = data
        .iter()
        .filter(|(key, value)| !PUBLIC_FIELDS.contains(&key.as_str()) && !value.is_empty());
    secret.fold(client.clone(), |client, (_, value)| {
        client.never_repeating(&SecretString::from(value.as_str()))
    })
}

fn empty() -> Secret {
    Secret::of(Value::map([]))
}

fn answer(query: &Query, secret: vaultkeeper_vault::Secret, is_kv2: bool) -> Result<Fetched, FetchError> {
    let vaultkeeper_vault::Secret {
        request_id: _,
        lease_id,
        lease_duration,
        renewable,
        data,
        warnings,
        auth,
        wrap_info,
    } = secret;
    let data = parse(data.json(), Numbers::AsSent).map_err(|_| FetchError::Data { query: query.clone() })?;
    let data = if let Value::Null = data {
        Value::map([])
    } else {
        data
    };
    if is_kv2 && is_deleted(&data) {
        return Err(FetchError::Nothing { query: query.clone() });
    }
    let mut facts = Facts::of(!lease_id.is_empty(), renewable, lease_duration, &data, now());
    if let Some(auth) = auth.as_ref().filter(|auth| !auth.lease_duration.is_zero()) {
        facts.ends_in(auth.lease_duration);
    }
    if facts.rotates.is_some_and(|left| left.is_zero()) {
        return Err(FetchError::Rotating { query: query.clone() });
    }
    let secret = Secret {
        // Left out: it differs in every answer, and would make each one look like a change.
        request_id: String::new(),
        lease_id: lease_id.clone(),
        lease_duration: lease_duration.as_secs(),
        renewable,
        data,
        warnings,
        auth: auth.map(login),
        wrap_info: wrap_info.map(wrapped),
    };
    Ok(Fetched {
        answer: Answer::Secret(Arc::new(secret)),
        facts,
        lease_id,
        metadata: Metadata::Absent,
    })
}

fn login(auth: vaultkeeper_vault::Auth) -> Auth {
    Auth {
        client_token: auth.client_token.expose().to_owned(),
        accessor: auth.accessor,
        policies: auth.policies,
        metadata: auth.metadata,
        lease_duration: auth.lease_duration.as_secs(),
        renewable: auth.renewable,
    }
}

fn wrapped(wrapped: vaultkeeper_vault::WrapInfo) -> WrapInfo {
    WrapInfo {
        token: wrapped.token.expose().to_owned(),
        ttl: wrapped.ttl.as_secs(),
        creation_time: wrapped.creation_time,
        wrapped_accessor: wrapped.wrapped_accessor,
    }
}

/// A deleted version of KV version 2 answers with metadata and no data.
fn is_deleted(data: &Value) -> bool {
    let Value::Map(entries) = data else { return false };
    matches!(entries.get("data"), Some(Value::Null)) && entries.contains_key("metadata")
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
