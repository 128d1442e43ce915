//! Counts the uses of a token that has a limit of them, so that the last one is never spent: with it the token would end,
//! and with the token every lease that was made with it. Requests beyond that wait for the next token.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::timeout;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::transport::{Exchange, Fault, Request, Transport};

use crate::session::Identity;

/// How long a request waits for the next token.
const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: &str = "X-Vault-Token";

/// The uses that are left of one token.
#[derive(Debug)]
pub(crate) struct Uses(watch::Sender<u64>);

impl Uses {
    /// Of `granted` uses all but one can be spent; a token with a single one can be used once. `None` for no limit.
    pub(crate) fn of(granted: i64) -> Option<Self> {
        // -1 is what a look-up says that spends the last one.
        let left = match granted {
            0 => return None,
            ..0 => 0,
            1 => 1,
            granted => u64::try_from(granted - 1).unwrap_or(0),
        };
        Some(Self(watch::Sender::new(left)))
    }

    /// Spends one. False where none is left to spend.
    pub(crate) fn spend(&self) -> bool {
        self.0.send_if_modified(|left| match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        })
    }

    /// Waits until none is left to spend.
    pub(crate) async fn end(&self) {
        // The sender lives as long as this call.
        let _ = self.0.subscribe().wait_for(|left| *left == 0).await;
    }
}

/// A client with this token, whose uses are counted where it has a limit. `next` brings the tokens after it.
pub(crate) fn client(
    client: &Client,
    identity: &Identity,
    next: watch::Receiver<Option<Identity>>,
) -> Client {
    let with_token = client.with_token(&identity.token);
    if identity.uses.is_none() {
        return with_token;
    }
    with_token.with_transport(|inner| {
        Arc::new(Counting {
            inner,
            identity: identity.clone(),
            next,
        })
    })
}

struct Counting {
    inner: Arc<dyn Transport>,
    identity: Identity,
    next: watch::Receiver<Option<Identity>>,
}

impl Transport for Counting {
    fn exchange(&self, mut request: Request) -> Exchange<'_> {
        Box::pin(async move {
            if !request.headers().contains_key(HEADER) || is_free(request.url().path()) {
                return self.inner.exchange(request).await;
            }
            let mut identity = self.identity.clone();
            while !identity.uses.as_deref().is_none_or(Uses::spend) {
                identity = self.after(identity.generation).await?;
                let header = HeaderValue::from_str(identity.token.expose());
                let mut header = header.map_err(|_| Fault::Invalid {
                    reason: "the token is no header".to_owned(),
                })?;
                header.set_sensitive(true);
                request.headers_mut().insert(HEADER, header);
            }
            self.inner.exchange(request).await
        })
    }
}

/// Whether a request spends no use although it has a token: Vault counts this one among those without.
fn is_free(path: &str) -> bool {
    path.starts_with("/v1/sys/internal/ui/mounts/")
}

impl Counting {
    /// The first token after that of this generation.
    async fn after(&self, generation: u64) -> Result<Identity, Fault> {
        let mut next = self.next.clone();
        let is_next = |identity: &Option<Identity>| {
            identity
                .as_ref()
                .is_some_and(|identity| identity.generation > generation)
        };
        let found = timeout(PATIENCE, next.wait_for(is_next)).await;
        let identity = found.ok().and_then(|found| found.ok()?.clone());
        identity.ok_or_else(|| Fault::Unreachable {
            reason: "the token's uses are spent and there is no other yet".to_owned(),
            tls: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_use_of_a_token_is_never_spent() {
        let uses = Uses::of(3).unwrap();
        assert!(uses.spend() && uses.spend(), "two of three");
        uses.end().await;
        assert!(!uses.spend(), "the third would end the token and its leases");
    }

    #[test]
    fn a_token_with_a_single_use_can_be_used() {
        let uses = Uses::of(1).unwrap();
        assert!(uses.spend() && !uses.spend(), "once");
        assert!(
            !Uses::of(-1).unwrap().spend(),
            "a look-up that spent the last one says -1"
        );
        assert!(Uses::of(0).is_none(), "no limit");
    }
}
