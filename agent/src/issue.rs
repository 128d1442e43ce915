//! The certificate of `pkiCert`: out of the template's own file while it is good, else a new one. Talks to Vault, reads files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vaultkeeper_template::json::{Numbers, parse};
use vaultkeeper_template::{Answer, Query};
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString};

use crate::certificate::{self, Parts};
use crate::fetch::{FetchError, Fetched, Metadata, discreet, fault, now};
use crate::refresh::Facts;

/// The certificate that the file still holds, or a new one.
pub(crate) async fn certificate(
    client: &Client,
    query: &Query,
    path: &str,
    data: &BTreeMap<String, String>,
    destination: &str,
) -> Result<Fetched, FetchError> {
    let now = now();
    if let Some(held) = read_small(Path::new(destination)) {
        let held = Parts::of([held.expose_secret()]);
        if let Some(left) = held.left_until_due(now) {
            tracing::debug!(file = destination, "the certificate in the file is still good");
            return Ok(issued(held, Some(left)));
        }
    }
    let written = discreet(client, data).write(path, data).await;
    let secret = written.map_err(|source| fault(query, source))?;
    let unusable = || FetchError::Certificate { query: query.clone() };
    let answer = secret.ok_or_else(unusable)?;
    let answer =
        parse(answer.data.json(), Numbers::AsSent).map_err(|_| FetchError::Data { query: query.clone() })?;
    let parts = Parts::of(certificate::texts(&answer));
    if !parts.is_complete() {
        return Err(unusable());
    }
    let left = parts.left_until_due(now);
    Ok(issued(parts, left))
}

/// A certificate as an answer. Without `due` (our clock is past a new certificate's end) the interval keeps it from a storm.
fn issued(parts: Parts, due: Option<Duration>) -> Fetched {
    Fetched {
        answer: Answer::Certificate(Arc::new(parts.into_certificate())),
        facts: Facts { due, ..Facts::none() },
        lease_id: String::new(),
        metadata: Metadata::Absent,
    }
}

/// The largest file that may hold a certificate, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file of PEM and other text; `None` where it cannot be read.
fn read_small(path: &Path) -> Option<SecretString> {
    let there = std::fs::metadata(path).ok()?;
    if !there.is_file() || there.len() > MAX_FILE {
        return None;
    }
    let text = std::fs::read(path).ok()?;
    Some(SecretString::from(String::from_utf8_lossy(&text).into_owned()))
}
