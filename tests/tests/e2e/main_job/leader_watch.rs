//! Asks all members again and again which one leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::time::{MissedTickBehavior, interval};
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_vault::Client;

use super::installation::{Installation, MAIN, VAULT, trusted_ca};

const PERIOD: Duration = Duration::from_millis(50);
/// For one answer: what is dead must not make the next look late.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks until it is ended.
pub(crate) struct LeaderWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Duration>>,
}

impl LeaderWatch {
    pub(crate) fn start(installed: &Installation) -> Self {
        let cluster = installed.cluster;
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = std::thread::spawn(move || cluster.run_inside(|kube| watch(kube, theirs)));
        Self { stop, thread }
    }

    /// The longest time in which nobody said that it leads.
    pub(crate) fn end(self) -> anyhow::Result<Duration> {
        let Self { stop, thread } = self;
        stop.store(true, Ordering::Relaxed);
        match thread.join() {
            Ok(longest) => longest,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn watch(kube: kube::Client, stop: Arc<AtomicBool>) -> anyhow::Result<Duration> {
    let ca = trusted_ca(&kube).await?;
    let pods: Api<Pod> = Api::namespaced(kube, VAULT);
    let members = ListParams::default().labels(&format!("{}={MAIN}", annotations::CLUSTER));
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let (mut seen, mut longest) = (Instant::now(), Duration::ZERO);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let listed = pods.list(&members).await?.items;
        let addresses: Vec<String> = listed.into_iter().filter_map(|pod| pod.status?.pod_ip).collect();
        for address in &addresses {
            if !clients.contains_key(address) {
                clients.insert(address.clone(), client(address, &ca)?);
            }
        }
        let asked = addresses.iter().filter_map(|address| clients.get(address));
        let answers = join_all(asked.map(|member| async {
            let leader = member.on_this_node().leader().await;
            leader.is_ok_and(|leader| leader.is_self)
        }));
        if answers.await.contains(&true) {
            longest = longest.max(seen.elapsed());
            seen = Instant::now();
        }
    }
    Ok(longest.max(seen.elapsed()))
}

fn client(address: &str, ca: &str) -> anyhow::Result<Client> {
    // The name that the certificate of every member holds.
    let host = names::service_host(VAULT, MAIN);
    Ok(Client::builder(format!("https://{host}:{}", names::API_PORT))
        .ca_pem(ca)
        .connect_to(SocketAddr::new(address.parse()?, names::API_PORT))
        .timeout(PATIENCE)
        .build()?)
}
