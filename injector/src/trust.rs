//! The loop that keeps the certificate alive and the API server's trust in it: CA, leaf, caBundle, a dial to ourselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use crate::certificates::{self, Authority, Leaf};
use crate::health::Trusted;
use crate::http::Injector;
use crate::settings::Settings;
use crate::tls::{self, CurrentCertificate};
use crate::{registration, stored_ca};

/// Before this the CA should be replaced by hand; a log line and the metric say so.
const CA_WARNING: SignedDuration = SignedDuration::from_hours(365 * 24);
const FIRST_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ca(#[from] stored_ca::Error),
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error(transparent)]
    Registration(#[from] registration::Error),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("the certificate is not there yet")]
    NotYet,
}

/// The loop and what it keeps.
pub struct Trust {
    /// Talks to the API server.
    pub client: Client,
    /// Names and intervals.
    pub settings: Settings,
    /// Where we listen for reviews.
    pub listening: SocketAddr,
    /// The certificate that connections get.
    pub certificate: Arc<CurrentCertificate>,
    /// Read by `/readyz`.
    pub trusted: Arc<Trusted>,
    /// For the metrics of expiry.
    pub injector: Arc<Injector>,
}

#[derive(Default)]
struct Kept {
    authority: Option<Authority>,
    leaf: Option<Leaf>,
    /// Whether all was in order with this CA when last looked at.
    proven: bool,
}

/// Whether trust that was there is still there when the API server was not heard: what it knows of us, nobody else
/// changes, and an outage of its own must not take the webhook out of service.
fn still_trusted(error: &Error, proven: bool, leaf_ends: Option<Timestamp>, now: Timestamp) -> bool {
    let is_harmless = match error {
        Error::Ca(_) | Error::Certificate(_) | Error::Registration(registration::Error::Read { .. }) => true,
        // caBundle is another, and stays so.
        Error::Registration(registration::Error::Patch { .. }) | Error::Tls(_) | Error::NotYet => false,
    };
    is_harmless && proven && leaf_ends.is_some_and(|end| now < end)
}

impl Trust {
    /// Runs for ever: checks on start, then at the interval, sooner after a failure.
    pub async fn keep(self) {
        let mut kept = Kept::default();
        let interval = Duration::from_secs(self.settings.check_seconds.max(1));
        let mut retry = FIRST_RETRY;
        loop {
            let failure = match self.agree(&mut kept).await {
                Ok(()) => self.dial(&kept).await.err().map(|error| (error, false)),
                Err(error) => {
                    let ends = kept.leaf.as_ref().map(|leaf| leaf.expires);
                    if still_trusted(&error, kept.proven, ends, Timestamp::now()) {
                        Some(
                            self.dial(&kept)
                                .await
                                .map_or_else(|lost| (lost, false), |()| (error, true)),
                        )
                    } else {
                        Some((error, false))
                    }
                }
            };
            let Some((error, trusted)) = failure else {
                retry = FIRST_RETRY;
                kept.proven = true;
                self.trusted.set(Ok(()));
                tokio::time::sleep(interval).await;
                continue;
            };
            kept.proven &= trusted;
            self.note(&error, trusted);
            tokio::time::sleep(retry.min(interval)).await;
            retry = (retry * 2).min(interval);
        }
    }

    fn note(&self, error: &Error, trusted: bool) {
        let error: &dyn std::error::Error = error;
        if trusted {
            tracing::warn!(
                error,
                "failed to check that the API server trusts this webhook; trying again"
            );
        } else {
            tracing::warn!(error, "the API server may not trust this webhook; trying again");
            self.trusted.set(Err(chain(error)));
        }
    }

    /// Makes the CA of the cluster, the certificate we show and caBundle agree.
    async fn agree(&self, kept: &mut Kept) -> Result<(), Error> {
        let Settings {
            namespace,
            tls_secret,
            webhook_configuration,
            ..
        } = &self.settings;
        let authority =
            stored_ca::obtain(&self.client, namespace, tls_secret, kept.authority.as_ref()).await?;
        let now = Timestamp::now();
        let is_new = kept
            .authority
            .as_ref()
            .is_none_or(|old| old.certificate() != authority.certificate());
        let names = self.settings.tls_names();
        if is_new || kept.leaf.as_ref().is_none_or(|leaf| leaf.renew_at <= now) {
            let leaf = authority.issue(&names, now)?;
            self.certificate.set(Arc::clone(&leaf.certified));
            self.injector.metrics.expires("leaf", leaf.expires);
            tracing::info!(expires = %leaf.expires, "issued a certificate");
            kept.leaf = Some(leaf);
            kept.proven &= !is_new;
        }
        if is_new {
            self.injector.metrics.expires("ca", authority.expires());
            if authority.expires().duration_since(now) < CA_WARNING {
                tracing::warn!(expires = %authority.expires(), secret = %tls_secret,
                    "the CA ends within a year: delete its Secret and restart the injector to get a new one");
            }
        }
        let authority = kept.authority.insert(authority);
        if registration::keep_trusted(&self.client, webhook_configuration, authority.certificate()).await? {
            tracing::info!(configuration = %webhook_configuration, "set caBundle");
        }
        Ok(())
    }

    /// Connects to ourselves as the API server would.
    async fn dial(&self, kept: &Kept) -> Result<(), Error> {
        let authority = kept.authority.as_ref().ok_or(Error::NotYet)?;
        let names = self.settings.tls_names();
        let name = names.first().map_or("localhost", String::as_str);
        Ok(tls::dial(self.listening, authority.certificate(), name).await?)
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
