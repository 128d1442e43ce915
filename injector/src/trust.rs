//! The loop that keeps the certificate alive and the API server's trust in it: CA, leaf, caBundle, a dial to ourselves.

mod change;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::time::Instant;

use crate::certificates::{self, Authority};
use crate::health::Trusted;
use crate::http::Injector;
use crate::settings::Settings;
use crate::tls::{self, CurrentCertificate};
use crate::{registration, stored_ca};
use change::Shown;

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
    /// caBundle holds the CA of the certificate that we show; what else it should hold can wait.
    #[error("the change from one CA to another is not complete")]
    Change(#[source] registration::Error),
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
    /// The stored CA.
    authority: Option<Authority>,
    shown: Option<Shown>,
    /// The CA, as PEM, that caBundle held after the last check.
    announced: Option<String>,
    others: change::Others,
    /// Whether all was in order with this CA when last looked at.
    proven: bool,
}

/// Whether trust that was there is still there when the API server was not heard: what it knows of us, nobody else
/// changes, and an outage of its own must not take the webhook out of service.
fn still_trusted(error: &Error, proven: bool, leaf_ends: Option<Timestamp>, now: Timestamp) -> bool {
    let is_harmless = match error {
        Error::Ca(_)
        | Error::Certificate(_)
        | Error::Change(_)
        | Error::Registration(registration::Error::Read { .. }) => true,
        // caBundle is another, and stays so.
        Error::Registration(registration::Error::Patch { .. }) | Error::Tls(_) | Error::NotYet => false,
    };
    is_harmless && proven && leaf_ends.is_some_and(|end| now < end)
}

impl Trust {
    /// Runs for ever: checks on start, then at the interval, sooner after a failure.
    pub async fn keep(self) {
        let mut kept = Kept::default();
        let interval = self.interval();
        let mut retry = FIRST_RETRY;
        loop {
            let failure = match self.agree(&mut kept).await {
                Ok(()) => self.dial(&kept).await.err().map(|error| (error, false)),
                Err(error) => {
                    let ends = kept.shown.as_ref().map(|shown| shown.leaf.expires);
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
        let is_new = kept
            .authority
            .as_ref()
            .is_none_or(|old| old.certificate() != authority.certificate());
        let authority = kept.authority.insert(authority).clone();
        if is_new {
            self.note_ca(&authority);
        }
        let registration = registration::read(&self.client, webhook_configuration).await?;
        let ca = authority.certificate();
        let trusts_shown = |kept: &Kept| {
            kept.shown
                .as_ref()
                .is_some_and(|shown| registration.trusts(&shown.ca))
        };
        let trust = change::Trust {
            stored: kept.announced.as_deref() == Some(ca) && registration.trusts(ca),
            shown: trusts_shown(kept),
        };
        self.show(kept, &authority, trust)?;
        let is_over = kept
            .others
            .are_over(registration.others(ca), Instant::now(), self.interval());
        let is_settled = kept.shown.as_ref().is_some_and(|shown| shown.ca == ca);
        let others = if is_over && is_settled {
            registration::Others::Go
        } else {
            registration::Others::Stay
        };
        match registration.keep_trusted(&self.client, ca, others).await {
            Ok(true) => tracing::info!(configuration = %webhook_configuration, "set caBundle"),
            Ok(false) => {}
            Err(error) if trusts_shown(kept) => return Err(Error::Change(error)),
            Err(error) => return Err(error.into()),
        }
        kept.announced = Some(ca.to_owned());
        Ok(())
    }

    /// Shows a new certificate if it is time for one.
    fn show(&self, kept: &mut Kept, authority: &Authority, trust: change::Trust) -> Result<(), Error> {
        let (ca, now) = (authority.certificate(), Timestamp::now());
        if !change::is_due(kept.shown.as_ref(), ca, trust, now) {
            return Ok(());
        }
        let leaf = authority.issue(&self.settings.tls_names(), now)?;
        self.certificate.set(Arc::clone(&leaf.certified));
        self.injector.metrics.expires("leaf", leaf.expires);
        tracing::info!(expires = %leaf.expires, "issued a certificate");
        let is_of_same_ca = kept.shown.as_ref().is_some_and(|shown| shown.ca == ca);
        kept.proven &= is_of_same_ca;
        kept.shown = Some(Shown {
            leaf,
            ca: ca.to_owned(),
        });
        Ok(())
    }

    fn note_ca(&self, authority: &Authority) {
        self.injector.metrics.expires("ca", authority.expires());
        if authority.expires().duration_since(Timestamp::now()) < CA_WARNING {
            tracing::warn!(expires = %authority.expires(), secret = %self.settings.tls_secret,
                "the CA ends within a year: scale the injector to 0, delete this Secret and scale it up again to get a new \
                 one; a running injector stores its own again");
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.settings.check_seconds.max(1))
    }

    /// Connects to ourselves as the API server would.
    async fn dial(&self, kept: &Kept) -> Result<(), Error> {
        let shown = kept.shown.as_ref().ok_or(Error::NotYet)?;
        let names = self.settings.tls_names();
        let name = names.first().map_or("localhost", String::as_str);
        Ok(tls::dial(self.listening, &shown.ca, name).await?)
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
