//! The operator as a process of its own: what its main program does, but for Vaults that run as processes, which lie outside of
//! Kubernetes and reach the API server by other means than a pod.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vaultkeeper_operator::cluster::readiness::Memory;
use vaultkeeper_operator::connect::HttpsConnect;
use vaultkeeper_operator::context::{Context, HelperImage, KubernetesAuthEnvironment, Recent, Rules};
use vaultkeeper_operator::kubernetes;
use vaultkeeper_operator::leader::{Elector, LeaseSettings, State};
use vaultkeeper_operator::metrics::Metrics;
use vaultkeeper_operator::namespaces::Namespaces;
use vaultkeeper_operator::report::Reporter;
use vaultkeeper_operator::role::sweep::Sweep;
use vaultkeeper_operator::run::{lead, start_controllers};
use vaultkeeper_operator::sessions::Sessions;
use vaultkeeper_tests::control_plane::client_from_file;
use vaultkeeper_vault::SecretString;

/// The variables that this program is told by.
pub(crate) const KUBECONFIG: &str = "BENCH_KUBECONFIG";
pub(crate) const NAMESPACE: &str = "BENCH_NAMESPACE";
pub(crate) const API_URL: &str = "BENCH_API_URL";
pub(crate) const API_CA: &str = "BENCH_API_CA";
pub(crate) const REVIEWER: &str = "BENCH_REVIEWER";

/// Whether this process is to be the operator.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(KUBECONFIG).is_some()
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// Runs until SIGTERM.
pub(crate) async fn run() -> anyhow::Result<()> {
    let client = client_from_file(variable(KUBECONFIG)?.as_ref()).await?;
    let client = kubernetes::limited(client, kubernetes::ANSWER_LIMIT);
    let namespace = variable(NAMESPACE)?;
    let metrics = Arc::new(Metrics::new());
    let ctx = Arc::new(Context {
        reporter: Reporter::new(client.clone(), "bench"),
        client: client.clone(),
        namespace: namespace.clone(),
        service_account: "vaultkeeper-operator".to_owned(),
        auth_environment: KubernetesAuthEnvironment {
            host: variable(API_URL)?,
            ca_cert: Some(variable(API_CA)?),
            token_reviewer_jwt: Some(SecretString::from(variable(REVIEWER)?)),
        },
        helper: HelperImage::default(),
        vault: Arc::new(HttpsConnect),
        sessions: Sessions::default(),
        metrics: Arc::clone(&metrics),
        namespaces: Namespaces::default(),
        readiness: Memory::default(),
        recent: Recent::default(),
        sweep: Sweep::default(),
        rules: Rules::default(),
    });
    let (state, observed) = watch::channel(State::initial());
    let lease = LeaseSettings::new(&namespace, "vaultkeeper-operator", "bench");
    let grace = lease.grace_after_loss();
    let elector = Elector::new(client, lease, metrics, state);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        cancel.cancel();
    });
    let shutdown = Duration::from_secs(30);
    lead(elector, observed, stop, shutdown, grace, |shutdown| {
        start_controllers(ctx, shutdown)
    })
    .await?;
    Ok(())
}
