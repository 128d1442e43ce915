//! What a kubelet does besides running containers: it probes them by the paths in their pods, and says whether they
//! are ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;
use vaultkeeper_crds::{annotations, names};

use super::stage::Stage;

const PERIOD: Duration = Duration::from_millis(100);
/// Longer than any member that is well needs, shorter than patience.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// As many failures in a row as the readiness probe allows.
const FAILURES: u32 = 2;

/// One look at a member: status codes of its liveness probe and of the bare health endpoint at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Look {
    pub(crate) liveness: u16,
    pub(crate) health: u16,
}

/// Stops when dropped.
pub(crate) struct KubeletStandIn {
    task: JoinHandle<()>,
    looks: Arc<Mutex<BTreeMap<Look, usize>>>,
}

impl Drop for KubeletStandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KubeletStandIn {
    /// Begins for the members of a stage.
    pub(crate) fn start(stage: &Stage) -> anyhow::Result<Self> {
        let looks = Arc::new(Mutex::new(BTreeMap::new()));
        let work = Work {
            pods: Api::namespaced(stage.client.clone(), &stage.namespace),
            http: reqwest::Client::builder()
                // As a kubelet: it does not verify.
                .tls_danger_accept_invalid_certs(true)
                .timeout(PROBE_TIMEOUT)
                .build()?,
            looks: Arc::clone(&looks),
            failures: BTreeMap::new(),
        };
        Ok(Self {
            task: tokio::spawn(work.run()),
            looks,
        })
    }

    /// Every kind of answer that the members gave so far.
    pub(crate) fn looks(&self) -> Vec<Look> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.keys().cloned().collect()
    }
}

struct Work {
    pods: Api<Pod>,
    http: reqwest::Client,
    looks: Arc<Mutex<BTreeMap<Look, usize>>>,
    failures: BTreeMap<String, u32>,
}

impl Work {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            // What fails is done at the next tick; a test that misses it says so in the end.
            let _ = self.tick().await;
        }
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        let members = ListParams::default().labels(annotations::CLUSTER);
        for pod in self.pods.list(&members).await? {
            self.attend(&pod).await?;
        }
        Ok(())
    }

    async fn attend(&mut self, pod: &Pod) -> anyhow::Result<()> {
        let name = pod.name_any();
        let object = serde_json::to_value(pod)?;
        let Some(address) = object["status"]["podIP"].as_str() else {
            return Ok(());
        };
        let container = &object["spec"]["containers"][0];
        let of = |probe: &str| {
            container[probe]["httpGet"]["path"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (ready, live) = (of("readinessProbe"), of("livenessProbe"));
        let (readiness, liveness, health) = tokio::join!(
            self.ask(address, &ready),
            self.ask(address, &live),
            self.ask(address, "/v1/sys/health"),
        );
        if let (Some(liveness), Some(health)) = (liveness, health) {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            *looks.entry(Look { liveness, health }).or_default() += 1;
        }
        let passed = readiness.is_some_and(|code| (200..400).contains(&code));
        let failures = self.failures.entry(name.clone()).or_default();
        *failures = if passed { 0 } else { *failures + 1 };
        let ready = if passed {
            true
        } else if *failures >= FAILURES {
            false
        } else {
            return Ok(());
        };
        let known = object["status"]["conditions"].as_array().into_iter().flatten();
        let was = known
            .filter(|c| c["type"] == "Ready")
            .any(|c| c["status"] == "True");
        if was != ready {
            let word = if ready { "True" } else { "False" };
            let status = json!({"status": {"conditions": [{"type": "Ready", "status": word}]}});
            self.pods
                .patch_status(&name, &PatchParams::default(), &Patch::Strategic(&status))
                .await?;
        }
        Ok(())
    }

    async fn ask(&self, address: &str, path: &str) -> Option<u16> {
        let url = format!("https://{address}:{}{path}", names::API_PORT);
        Some(self.http.get(url).send().await.ok()?.status().as_u16())
    }
}
