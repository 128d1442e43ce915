//! The life of the process: server, leadership, controllers, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::external::AllowedAddresses;
use crate::cluster::readiness::Memory;
use crate::connect::HttpsConnect;
use crate::context::{Context, HelperImage, KubernetesAuthEnvironment, Recent, Rules};
pub use crate::controllers::start_controllers;
use crate::kubernetes;
use crate::leader::{Elector, LeaseSettings, Lost, State};
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;
use crate::report::Reporter;
use crate::role::sweep::Sweep;
use crate::server::{self, Observed};
use crate::sessions::Sessions;
use crate::settings::Settings;

/// Why the process ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the API server was found.
    #[error("failed to find the API server: run in a pod with a ServiceAccount, or with a KUBECONFIG")]
    Client(#[source] Box<kube::Error>),
    /// The port is taken, or the address is not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No signals can be received.
    #[error("failed to listen for signals")]
    Signal(#[source] std::io::Error),
    /// Another replica may act now.
    #[error("stopped acting")]
    Lost(#[source] Lost),
    /// A task of ours ended by a defect.
    #[error("the {task} ended")]
    Task {
        /// Which one.
        task: &'static str,
        /// How, where it was a panic.
        #[source]
        source: Option<JoinError>,
    },
    /// Reconciles were cut off at the deadline of the shutdown.
    #[error("reconciles still ran {} s after the signal to stop and were cut off", .0.as_secs())]
    CutOff(Duration),
}

/// Runs until a signal. A rustls crypto provider must be installed.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let grace = settings.shutdown_grace();
    let Settings {
        namespace,
        service_account,
        identity,
        lease_name,
        listen,
        kubernetes_host,
        agent_image,
        agent_image_pull_policy,
        external_addresses,
        cleanup_patience_seconds,
        shutdown_grace_seconds: _,
        log_format: _,
        log_filter: _,
    } = settings;

    let stop = stop_on_signals()?;
    let client = Client::try_default()
        .await
        .map_err(|error| Error::Client(Box::new(error)))?;
    let client = kubernetes::limited(client, kubernetes::ANSWER_LIMIT);
    let metrics = Arc::new(Metrics::new());
    let (state, observed) = watch::channel(State::initial());

    let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen {
        address: listen,
        source,
    })?;
    tracing::info!(%listen, namespace, identity, version = env!("CARGO_PKG_VERSION"), "started");
    let serve_until = CancellationToken::new();
    let server = tokio::spawn(server::serve(
        listener,
        Observed {
            leader: observed.clone(),
            metrics: Arc::clone(&metrics),
        },
        serve_until.clone(),
    ));

    let lease = LeaseSettings::new(&namespace, &lease_name, &identity);
    let ctx = Arc::new(Context {
        reporter: Reporter::new(client.clone(), &identity),
        client: client.clone(),
        namespace,
        service_account,
        auth_environment: KubernetesAuthEnvironment {
            host: kubernetes_host,
            ..KubernetesAuthEnvironment::default()
        },
        helper: HelperImage {
            image: agent_image,
            pull_policy: agent_image_pull_policy,
        },
        vault: Arc::new(HttpsConnect),
        sessions: Sessions::default(),
        metrics: Arc::clone(&metrics),
        readiness: Memory::default(),
        recent: Recent::default(),
        namespaces: Namespaces::default(),
        sweep: Sweep::default(),
        rules: Rules {
            external_addresses: AllowedAddresses(external_addresses),
            cleanup_patience: Duration::from_secs(cleanup_patience_seconds),
        },
    });
    let grace_after_loss = lease.grace_after_loss();
    let elector = Elector::new(client, lease, metrics, state);
    let result = lead(elector, observed, stop, grace, grace_after_loss, |shutdown| {
        start_controllers(ctx, shutdown)
    })
    .await;

    serve_until.cancel();
    // A client that keeps its connection open must not hold the process up.
    let _ = timeout(Duration::from_secs(2), server).await;
    result
}

/// Acts while this replica leads; `start` begins the work and stops it in an orderly way at the token's word.
/// After `stop` the Lease is kept until the work has ended, or `grace` is over; after a loss the work gets
/// `grace_after_loss`, in which nobody else can have begun.
pub async fn lead(
    elector: Elector,
    mut observed: watch::Receiver<State>,
    stop: CancellationToken,
    grace: Duration,
    grace_after_loss: Duration,
    start: impl FnOnce(CancellationToken) -> JoinHandle<()>,
) -> Result<(), Error> {
    let release = CancellationToken::new();
    let mut election = tokio::spawn(elector.run(release.clone()));
    tokio::select! {
        () = stop.cancelled() => {
            release.cancel();
            return ended(election.await);
        }
        result = &mut election => return ended(result).and(Err(Error::Task { task: "lease loop", source: None })),
        leading = async { observed.wait_for(|state| state.leading).await.is_ok() } => {
            if !leading {
                return ended(election.await).and(Err(Error::Task { task: "lease loop", source: None }));
            }
        }
    }

    let shutdown = CancellationToken::new();
    let mut work = start(shutdown.clone());
    tokio::select! {
        () = stop.cancelled() => {
            tracing::info!("asked to stop: waiting for running reconciles");
            shutdown.cancel();
            // The Lease is renewed meanwhile and released only when nothing acts any more.
            let drained = tokio::select! {
                drained = timeout(grace, &mut work) => drained,
                result = &mut election => {
                    work.abort();
                    return ended(result);
                }
            };
            if drained.is_err() {
                work.abort();
                // Not released: what was cut off may still be on its way to Vault.
                return Err(Error::CutOff(grace));
            }
            release.cancel();
            ended(election.await)
        }
        result = &mut election => {
            // Nothing new is begun. What runs may end while nobody else can have taken over: the answer of an
            // initialisation is worth waiting for.
            shutdown.cancel();
            if timeout(grace_after_loss, &mut work).await.is_err() {
                work.abort();
            }
            ended(result).and(Err(Error::Task { task: "lease loop", source: None }))
        }
        result = &mut work => {
            release.cancel();
            let _ = election.await;
            Err(Error::Task { task: "controllers", source: result.err() })
        }
    }
}

fn ended(election: Result<Result<(), Lost>, JoinError>) -> Result<(), Error> {
    match election {
        Ok(Ok(())) => Ok(()),
        Ok(Err(lost)) => Err(Error::Lost(lost)),
        Err(source) => Err(Error::Task {
            task: "lease loop",
            source: Some(source),
        }),
    }
}

/// A token that SIGTERM or SIGINT cancels.
fn stop_on_signals() -> Result<CancellationToken, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}
