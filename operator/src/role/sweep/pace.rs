//! Requests of the sweep, one after the other. I/O: it waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use vaultkeeper_vault::transport::{Exchange, Request, Transport};

use super::lock;

/// Between two requests of the sweep at one Vault: five a second.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// When the next request may go to one Vault.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// The moment of the next request, which is then taken.
    fn next(&self, now: Instant) -> Instant {
        let mut next = lock(&self.0);
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + INTERVAL);
        at
    }
}

/// The requests of one comparison.
pub(super) struct Counted {
    pace: Arc<Pace>,
    requests: Arc<AtomicU32>,
}

impl Counted {
    pub(super) fn new(pace: Arc<Pace>) -> Self {
        Self {
            pace,
            requests: Arc::default(),
        }
    }

    /// How many there were.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn transport(&self, inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Paced {
            pace: Arc::clone(&self.pace),
            requests: Arc::clone(&self.requests),
            inner,
        })
    }
}

struct Paced {
    pace: Arc<Pace>,
    requests: Arc<AtomicU32>,
    inner: Arc<dyn Transport>,
}

impl Transport for Paced {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        Box::pin(async move {
            self.requests.fetch_add(1, Ordering::Relaxed);
            sleep_until(self.pace.next(Instant::now())).await;
            self.inner.exchange(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_that_come_together_go_one_after_the_other() {
        let pace = Arc::new(Pace::default());
        let start = Instant::now();
        let waits = (0..11).map(|_| {
            let pace = Arc::clone(&pace);
            async move { sleep_until(pace.next(Instant::now())).await }
        });
        futures::future::join_all(waits).await;
        assert_eq!(
            start.elapsed(),
            INTERVAL * 10,
            "the eleventh goes after two seconds"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        assert_eq!(pace.next(now), now, "a pause saves nothing up");
        assert_eq!(
            pace.next(now),
            now + INTERVAL,
            "nor lets the next two go together"
        );
    }
}
