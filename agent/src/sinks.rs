//! Writes the token to the files that the user asked for, wrapped where that is asked for. Does I/O.

use serde_json::json;
use vaultkeeper_vault::{Client, Token};

use crate::config::{self, Sink};
use crate::logging::Chain;
use crate::seen::{self, Trouble};
use crate::write::{self, Owner, Target, WriteError};

/// Why a token is not in its file.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the token for {} cannot be wrapped", path.display())]
    Wrap {
        path: std::path::PathBuf,
        #[source]
        source: vaultkeeper_vault::Error,
    },
}

/// What is left to write.
pub(crate) struct Pending<'a>(Vec<&'a Sink>);

impl<'a> Pending<'a> {
    /// A new token goes to all of them.
    pub(crate) fn new(sinks: &'a [Sink]) -> Self {
        Self(sinks.iter().collect())
    }

    /// Writes what is left. Returns whether all is written.
    pub(crate) async fn write(&mut self, client: Option<&Client>, token: &Token) -> bool {
        let mut left = Vec::new();
        for sink in std::mem::take(&mut self.0) {
            match one(sink, client, token).await {
                Ok(true) => {}
                Ok(false) => left.push(sink),
                Err(error) => {
                    seen::now().trouble(Trouble::Write);
                    tracing::error!(error = %Chain(&error), "the token is not written");
                    left.push(sink);
                }
            }
        }
        self.0 = left;
        self.0.is_empty()
    }
}

/// Writes one. False where there is no connection to wrap the token with, which is said elsewhere.
async fn one(sink: &Sink, client: Option<&Client>, token: &Token) -> Result<bool, SinkError> {
    let Sink {
        path,
        mode,
        owner,
        group,
        wrap_ttl,
    } = sink;
    let (owner, group) = (owner.map(config::Owner::Id), group.map(config::Owner::Id));
    let target = Target {
        owner: Owner {
            user: owner.as_ref(),
            group: group.as_ref(),
        },
        ..Target::plain(path, Some(*mode))
    };
    let Some(ttl) = wrap_ttl else {
        write::atomically(&target, token.expose().as_bytes())?;
        return Ok(true);
    };
    let Some(client) = client else { return Ok(false) };
    let body = json!({"token": token.expose()});
    let wrapped = client
        .with_token(token)
        .write_wrapped("sys/wrapping/wrap", &body, *ttl)
        .await;
    let wrapped = wrapped.map_err(|source| SinkError::Wrap {
        path: path.clone(),
        source,
    })?;
    // As Vault Agent writes it.
    let text = json!({
        "token": wrapped.token.expose(),
        "accessor": wrapped.accessor,
        "ttl": wrapped.ttl.as_secs(),
        "creation_time": wrapped.creation_time,
        "creation_path": wrapped.creation_path,
        "wrapped_accessor": wrapped.wrapped_accessor,
    })
    .to_string();
    write::atomically(&target, text.as_bytes())?;
    Ok(true)
}
