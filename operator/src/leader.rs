//! Leadership by a Lease: of all replicas only its holder acts. Reads and writes the Lease through the API
//! server with resourceVersion, so that two can never both succeed.

pub mod decide;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use decide::{Step, decide};

/// Which Lease, under which name, and how fast.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of this contender; the same after a restart of the same pod's container, never shared by two.
    pub identity: String,
    /// After this long without a renewal others take it. Whole seconds. It is renewed after a third of it.
    pub duration: Duration,
    /// The holder stops acting when its last successful renewal is this old: earlier than others may start.
    pub renew_deadline: Duration,
    /// Pause between tries of a contender, and after a failed renewal.
    pub retry: Duration,
}

impl LeaseSettings {
    /// The usual 15 s lease, 10 s deadline, 2 s between tries.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    /// How long after the loss of leadership nobody else can have taken over yet.
    pub fn grace_after_loss(&self) -> Duration {
        self.duration.saturating_sub(self.renew_deadline)
    }
}

/// What the loop last knew. The sender is dropped when the loop has ended.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The API server has answered at least once.
    pub reached: bool,
    /// This replica holds the Lease.
    pub leading: bool,
    /// When the loop last turned.
    pub beat: Instant,
}

impl State {
    /// Before the first try.
    pub fn initial() -> Self {
        Self {
            reached: false,
            leading: false,
            beat: Instant::now(),
        }
    }
}

/// Why leadership ended without being asked to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Lost {
    /// The API server did not take a renewal in time.
    #[error("the Lease {name} could not be renewed for {} s: {last}", after.as_secs())]
    DeadlineMissed {
        /// The Lease.
        name: String,
        /// The deadline.
        after: Duration,
        /// What the last try said.
        last: String,
    },
    /// Somebody else holds it.
    #[error("the Lease {name} was taken by {by}")]
    Taken {
        /// The Lease.
        name: String,
        /// The new holder.
        by: String,
    },
}

/// One contender.
pub struct Elector {
    api: Api<Lease>,
    settings: LeaseSettings,
    metrics: Arc<Metrics>,
    state: watch::Sender<State>,
}

/// The Lease in our hands.
struct Held {
    lease: Lease,
    /// Taken before the request that renewed it was sent.
    renewed: Instant,
}

impl Elector {
    /// A contender that says what it knows through `state`.
    pub fn new(
        client: Client,
        settings: LeaseSettings,
        metrics: Arc<Metrics>,
        state: watch::Sender<State>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            settings,
            metrics,
            state,
        }
    }

    /// Contends, then holds the Lease until `release` is cancelled (it is then given back: cancel it only when
    /// nothing acts any more) or until it is lost. An error means: stop acting at once.
    pub async fn run(self, release: CancellationToken) -> Result<(), Lost> {
        let Some(held) = self.acquire(&release).await else {
            return Ok(());
        };
        tracing::info!(lease = %self.settings.name, identity = %self.settings.identity, "leading");
        self.say(|state| (state.reached, state.leading) = (true, true));
        self.metrics.leading(true);
        let result = self.hold(held, &release).await;
        self.metrics.leading(false);
        self.say(|state| state.leading = false);
        result
    }

    /// Tries until it holds the Lease; none when asked to stop before.
    async fn acquire(&self, release: &CancellationToken) -> Option<Held> {
        // What was seen, and since when it has been unchanged.
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            match timeout(self.call_limit(), self.contend(&mut seen)).await {
                Ok(Ok(Some(held))) => return Some(held),
                Ok(Ok(None)) => self.say(|state| state.reached = true),
                Ok(Err(error)) => tracing::warn!(lease = %self.settings.name, %error, "failed to contend"),
                Err(_) => tracing::warn!(lease = %self.settings.name, "no answer about the Lease in time"),
            }
            self.say(|_| ());
            tokio::select! {
                () = release.cancelled() => return None,
                () = sleep(self.settings.retry) => {}
            }
        }
    }

    async fn contend(&self, seen: &mut Option<(Option<String>, Instant)>) -> kube::Result<Option<Held>> {
        let LeaseSettings {
            name,
            identity,
            duration,
            ..
        } = &self.settings;
        let lease = self.api.get_opt(name).await?;
        let version = lease
            .as_ref()
            .and_then(|lease| lease.metadata.resource_version.clone());
        let since = match seen {
            Some((old, since)) if *old == version => *since,
            _ => Instant::now(),
        };
        *seen = Some((version, since));
        let renewed = Instant::now();
        let step = decide(lease.as_ref(), since.elapsed(), identity);
        let written = match (step, lease) {
            (Step::Wait, _) => return Ok(None),
            (Step::Take | Step::Resume, Some(lease)) => {
                let lease = decide::held(lease, identity, *duration, Timestamp::now());
                self.api.replace(name, &PostParams::default(), &lease).await
            }
            (Step::Create | Step::Take | Step::Resume, _) => {
                let lease = decide::created(name, identity, *duration, Timestamp::now());
                self.api.create(&PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => Ok(Some(Held { lease, renewed })),
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews until asked to release or until it is lost.
    async fn hold(&self, mut held: Held, release: &CancellationToken) -> Result<(), Lost> {
        let LeaseSettings {
            name,
            identity,
            duration,
            renew_deadline,
            retry,
            ..
        } = &self.settings;
        let plain = PostParams::default();
        let mut pause = *duration / 3;
        let mut last = "no try".to_owned();
        loop {
            let deadline = held.renewed + *renew_deadline;
            tokio::select! {
                () = release.cancelled() => return self.give_back(held.lease).await,
                () = sleep_until(deadline.min(Instant::now() + pause)) => {}
            }
            self.say(|_| ());
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::DeadlineMissed {
                    name: name.clone(),
                    after: *renew_deadline,
                    last,
                });
            }
            pause = *retry;
            let started = Instant::now();
            let next = decide::held(held.lease.clone(), identity, *duration, Timestamp::now());
            let renewal = self.api.replace(name, &plain, &next);
            match timeout(left.min(self.call_limit()), renewal).await {
                Ok(Ok(lease)) => {
                    self.metrics.lease_renewed();
                    held = Held {
                        lease,
                        renewed: started,
                    };
                    pause = *duration / 3;
                }
                // Changed since: by a person who labelled it, by a renewal of ours whose answer was lost, or
                // by another holder.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => {
                    last.clone_from(&status.message);
                    if let Ok(Ok(found)) = timeout(self.call_limit(), self.api.get_opt(name)).await {
                        let Some(found) = found else {
                            // Deleted: nobody is named in it, and a creation is as exclusive as a replacement.
                            let lease = decide::created(name, identity, *duration, Timestamp::now());
                            let creation = self.api.create(&plain, &lease);
                            if let Ok(Ok(lease)) = timeout(self.call_limit(), creation).await {
                                held = Held {
                                    lease,
                                    renewed: started,
                                };
                            }
                            continue;
                        };
                        if decide::holder(&found) != Some(identity) {
                            let by = decide::holder(&found).unwrap_or("nobody").to_owned();
                            return Err(Lost::Taken {
                                name: name.clone(),
                                by,
                            });
                        }
                        held.lease = found;
                        pause = Duration::ZERO;
                    }
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "no answer in time".clone_into(&mut last),
            }
        }
    }

    async fn give_back(&self, lease: Lease) -> Result<(), Lost> {
        let lease = decide::released(lease, Timestamp::now());
        let plain = PostParams::default();
        let release = self.api.replace(&self.settings.name, &plain, &lease);
        match timeout(self.call_limit(), release).await {
            Ok(Ok(_)) => tracing::info!(lease = %self.settings.name, "released"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to release the Lease; a successor waits for its end");
            }
            Err(_) => tracing::warn!("the release of the Lease had no answer; a successor waits for its end"),
        }
        Ok(())
    }

    fn say(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            state.beat = Instant::now();
        });
    }

    /// A call gets half of the deadline, so that there is time for a second one.
    fn call_limit(&self) -> Duration {
        self.settings.renew_deadline / 2
    }
}
