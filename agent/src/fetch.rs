//! Asks Vault one question of a template.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use vaultkeeper_template::json::{Numbers, parse};
use vaultkeeper_template::{Answer, Auth, Query, Secret, Value, WrapInfo};
use vaultkeeper_vault::kv::Mount;
use vaultkeeper_vault::{Client, Error};

use crate::kv::{Purpose, api_path};
use crate::refresh::Facts;

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
    #[error("cannot {query}: certificates are not issued yet")]
    Certificate { query: Query },
    #[error("cannot {query}: the answer's data is not JSON")]
    Data { query: Query },
}

impl FetchError {
    /// 403: a missing policy or a dead token.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Vault { source, .. } if source.is_denied())
    }
}

/// An answer with what its next fetch depends on.
pub(crate) struct Fetched {
    pub(crate) answer: Answer,
    pub(crate) facts: Facts,
    /// Empty without a lease.
    pub(crate) lease_id: String,
}

/// Asks questions; remembers which mounts are KV version 2.
pub(crate) struct Fetcher {
    namespace: Option<String>,
    mounts: BTreeMap<String, Mount>,
}

impl Fetcher {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            mounts: BTreeMap::new(),
        }
    }

    /// Asks once.
    pub(crate) async fn fetch(&mut self, client: &Client, query: &Query) -> Result<Fetched, FetchError> {
        let result = self.ask(client, query).await;
        if result.is_err() {
            // The mount may be another one by now.
            self.mounts.clear();
        }
        result
    }

    async fn ask(&mut self, client: &Client, query: &Query) -> Result<Fetched, FetchError> {
        let purpose = if let Query::List { .. } = query {
            Purpose::List
        } else {
            Purpose::Secret
        };
        let fault = |source| match source {
            Error::NotFound { ref errors, .. } if errors.0.is_empty() => {
                FetchError::Nothing { query: query.clone() }
            }
            source => FetchError::Vault {
                query: query.clone(),
                source: Box::new(source),
            },
        };
        let mount = self.mount(client, query.path()).await.map_err(fault)?;
        let path = match &mount {
            Some(mount) => api_path(mount, query.path(), purpose, self.namespace.as_deref()),
            None => query.path().to_owned(),
        };
        let is_kv2 = mount.as_ref().is_some_and(Mount::is_kv2);
        let secret = match query {
            Query::List { .. } => {
                let mut names = client.list(&path).await.map_err(fault)?;
                names.sort();
                return Ok(Fetched {
                    answer: Answer::List(names),
                    facts: no_lease(),
                    lease_id: String::new(),
                });
            }
            Query::Read { parameters, .. } => {
                let pairs: Vec<(&str, &str)> =
                    parameters.iter().map(|(key, value)| (&**key, &**value)).collect();
                Some(client.read_with(&path, &pairs).await.map_err(fault)?)
            }
            Query::Write { data, .. } if is_kv2 => {
                client.write(&path, &json!({"data": data})).await.map_err(fault)?
            }
            Query::Write { data, .. } => client.write(&path, data).await.map_err(fault)?,
            Query::Certificate { .. } => return Err(FetchError::Certificate { query: query.clone() }),
        };
        let Some(secret) = secret else {
            // A write that answers nothing, as KV version 1 does.
            let answer = Answer::Secret(Arc::new(empty()));
            return Ok(Fetched {
                answer,
                facts: no_lease(),
                lease_id: String::new(),
            });
        };
        answer(query, secret, is_kv2)
    }

    /// The mount of a path; `None` where the token may not ask, and the path is then taken as it is.
    async fn mount(&mut self, client: &Client, path: &str) -> Result<Option<Mount>, Error> {
        let known = self
            .mounts
            .iter()
            .find(|(prefix, _)| format!("{path}/").starts_with(prefix.as_str()));
        if let Some((_, mount)) = known {
            return Ok(Some(mount.clone()));
        }
        match client.mount_of(path).await {
            Ok(mount) => {
                self.mounts.insert(mount.path.clone(), mount.clone());
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

fn no_lease() -> Facts {
    Facts::of(false, false, std::time::Duration::ZERO, &Value::Null, 0)
}

fn empty() -> Secret {
    Secret {
        request_id: String::new(),
        lease_id: String::new(),
        lease_duration: 0,
        renewable: false,
        data: Value::map([]),
        warnings: Vec::new(),
        auth: None,
        wrap_info: None,
    }
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
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let facts = Facts::of(!lease_id.is_empty(), renewable, lease_duration, &data, now);
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
