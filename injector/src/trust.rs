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
}

impl Trust {
    /// Runs for ever: checks on start, then at the interval, sooner after a failure.
    pub async fn keep(self) {
        let mut kept = Kept::default();
        let interval = Duration::from_secs(self.settings.check_seconds.max(1));
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.check(&mut kept).await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    self.trusted.set(Ok(()));
                    interval
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the API server may not trust this webhook; trying again");
                    self.trusted.set(Err(chain(error)));
                    let wait = retry.min(interval);
                    retry = (retry * 2).min(interval);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn check(&self, kept: &mut Kept) -> Result<(), Error> {
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
        let name = names.first().map_or("localhost", String::as_str);
        tls::dial(self.listening, authority.certificate(), name).await?;
        Ok(())
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
