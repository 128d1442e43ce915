//! An application that knows the name of the active member and nothing else. It writes one secret after the other, all
//! with the client and the token of its start, and looks in the end whether what was acknowledged is there.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use vaultkeeper_crds::names;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, MAIN, log_in_as_writer};
use super::services::client_of;

const PERIOD: Duration = Duration::from_millis(100);
/// For one write or read with all its attempts.
const PATIENCE: Duration = Duration::from_secs(90);

/// The application, while it runs.
pub(crate) struct ActiveClient {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<Written>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

/// What it did.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Writes that were acknowledged; all of them were read again.
    acknowledged: u64,
    /// Attempts that failed.
    failed: u64,
    /// The longest time that one write took with all its attempts.
    longest: Duration,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            failed,
            longest,
        } = self;
        write!(
            f,
            "an application on the active name made {acknowledged} writes, {failed} attempts failed, and the longest \
             wait was {longest:.1?}"
        )
    }
}

impl ActiveClient {
    /// Starts it. It writes below a folder of its own.
    pub(crate) fn start(installed: &Installation, folder: &'static str) -> Self {
        let cluster = installed.cluster;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread =
            std::thread::spawn(move || cluster.run_inside(|kube| write_and_read(kube, folder, theirs)));
        Self { shared, thread }
    }

    /// Waits until so many writes more are acknowledged.
    pub(crate) fn until_more(&self, writes: u64) -> anyhow::Result<()> {
        let before = self.shared.acknowledged.load(Ordering::Relaxed);
        wait::until("further writes through the active name", DEADLINE, || {
            let now = self.shared.acknowledged.load(Ordering::Relaxed);
            // Why it has ended is told by its end.
            ensure!(
                now >= before + writes || self.thread.is_finished(),
                "{before} writes were acknowledged before, {now} now"
            );
            Ok(())
        })
    }

    /// Ends it after it has found all that was acknowledged.
    pub(crate) fn end(self) -> anyhow::Result<Written> {
        let Self { shared, thread } = self;
        shared.stop.store(true, Ordering::Relaxed);
        match thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn write_and_read(
    kube: kube::Client,
    folder: &'static str,
    shared: Arc<Shared>,
) -> anyhow::Result<Written> {
    let client = client_of(&kube, &names::active_service(MAIN)).await?;
    let client = log_in_as_writer(kube, client).await?;
    let path = |number: u64| format!("secret/data/shop/{folder}/{number}");
    let (failed, mut acknowledged, mut longest) = (Cell::new(0), 0, Duration::ZERO);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let (path, body) = (path(acknowledged), json!({"data": {"number": acknowledged}}));
        let begin = Instant::now();
        wait::until_async("a write through the active name", PATIENCE, async || {
            let answer = client.write(&path, &body).await;
            answer.inspect_err(|_| failed.set(failed.get() + 1))?;
            Ok(())
        })
        .await?;
        longest = longest.max(begin.elapsed());
        acknowledged += 1;
        shared.acknowledged.store(acknowledged, Ordering::Relaxed);
    }
    for number in 0..acknowledged {
        let path = path(number);
        let found = wait::until_async("a read through the active name", PATIENCE, async || {
            Ok(client.read(&path).await?)
        });
        let found = found
            .await
            .with_context(|| format!("write {number} was acknowledged and is lost"))?;
        let found: Value = found.data.decode()?;
        ensure!(
            found["data"]["number"] == number,
            "write {number} was acknowledged and another one is there"
        );
    }
    Ok(Written {
        acknowledged,
        failed: failed.get(),
        longest,
    })
}
