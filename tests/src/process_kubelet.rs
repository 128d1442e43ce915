//! A kubelet of processes: runs the members' pods of a control plane without nodes as real `vault` servers on
//! loopback addresses, each pod with an address of its own and with the helper beside the server as a process, too.
//!
//! Pods, volume claims and their deletion are the real controllers' work; only the containers are processes. The
//! data of a member lies in a folder named after the UID of its volume claim, so that a new claim is empty. What a
//! process says before it ends by itself is in the pod's status, as a container may ask its kubelet to keep it.

mod files;
mod secret_volume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use secret_volume::SecretVolume;

use crate::agent_program;
use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use crate::wait;

const PERIOD: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(10);
/// How long a process that ended by itself stays down; a real kubelet begins with ten seconds.
const BACK_OFF: Duration = Duration::from_secs(2);
/// What a kubelet keeps of the log of a container that failed.
const LAST_WORDS: usize = 2048;
/// How often changed Secrets are brought to running pods; a real kubelet takes up to 90 s.
const REFRESH: Duration = Duration::from_secs(1);
/// How long a pod may take to get a process on a busy machine: it may be between two.
const STARTS: Duration = Duration::from_secs(60);
const LABEL: &str = "vaultkeeper.dev/cluster";

/// Runs the members of one namespace. Dropping it ends the loop; its processes end with the run.
pub struct ProcessKubelet {
    node: Arc<Node>,
    task: JoinHandle<()>,
}

struct Node {
    client: Client,
    namespace: String,
    run: RunDir,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Address of each pod by name: a pod that comes again has the same, as its DNS name would lead to it.
    addresses: BTreeMap<String, IpAddr>,
    /// Processes by the UID of their pod.
    running: BTreeMap<String, Container>,
    /// What ended by itself, by the UID of its pod.
    crashed: BTreeMap<String, Crash>,
    /// Statuses of processes that run and that the API server has not taken yet, by the UID of their pod.
    untold: BTreeMap<String, Value>,
    started: usize,
    /// Pods whose status is not told at present, with the latest that was not.
    silent: BTreeMap<String, Option<serde_json::Value>>,
    /// Pods that get no changed Secrets at present.
    withheld: BTreeSet<String>,
    /// Pods whose process is not started again at present.
    kept_down: BTreeSet<String>,
    refreshed: Option<Instant>,
}

struct Container {
    pod: String,
    process: Process,
    /// The helper beside the server. Dropping it ends it.
    _helper: Option<Process>,
    /// The volume that both mount.
    certificate: SecretVolume,
    /// Where its log begins in the file that all processes of this pod share.
    log_start: u64,
}

struct Crash {
    again: Instant,
    last_state: Value,
}

impl Drop for ProcessKubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The ConfigMap that the server's volume is made of.
fn config_name(pod: &Pod) -> anyhow::Result<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut maps = volumes.filter_map(|volume| volume.config_map.as_ref());
    let map = maps.next().context("a pod without a ConfigMap")?;
    Ok(map.name.clone())
}

impl ProcessKubelet {
    /// Starts watching a namespace.
    pub fn start(client: Client, namespace: &str, run: &RunDir) -> Self {
        let node = Arc::new(Node {
            client,
            namespace: namespace.to_owned(),
            run: run.clone(),
            state: Mutex::default(),
        });
        let looping = Arc::clone(&node);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            loop {
                ticks.tick().await;
                // What is not there yet is there at a later look; the tests tell what was missing in the end.
                if let Err(error) = looping.sync().await {
                    tracing_line(&looping.namespace, &error);
                }
            }
        });
        Self { node, task }
    }

    /// Kills a member's process without a warning, once there is one. It is started anew, as a kubelet would.
    pub async fn kill(&self, pod: &str) -> anyhow::Result<()> {
        let killed = wait::until_async("a process to kill", STARTS, async || {
            // Held until it is gone: the next one needs its port.
            let mut state = self.node.state.lock().await;
            let mut running = state.running.iter().filter(|(_, c)| c.pod == pod);
            let uid = running.next().map(|(uid, _)| uid.clone());
            let container = uid.and_then(|uid| state.running.remove(&uid));
            let container = container.with_context(|| format!("{pod} does not run"))?;
            Ok(container.process.kill())
        });
        killed.await?
    }

    /// From now on a new process of this pod is not told to the API server, as by a kubelet that lags behind.
    pub async fn hold_status(&self, pod: &str) {
        self.node.state.lock().await.silent.insert(pod.to_owned(), None);
    }

    /// Tells what was held back.
    pub async fn tell_status(&self, pod: &str) -> anyhow::Result<()> {
        let held = self.node.state.lock().await.silent.remove(pod).flatten();
        match held {
            Some(status) => self.node.write_status(pod, &status).await,
            None => Err(anyhow!("no status of {pod} was held back")),
        }
    }

    /// From now on this pod gets no changed Secrets, as from a kubelet that lags behind.
    pub async fn withhold_secrets(&self, pod: &str) {
        self.node.state.lock().await.withheld.insert(pod.to_owned());
    }

    /// Brings what was withheld, and every later change.
    pub async fn bring_secrets(&self, pod: &str) {
        self.node.state.lock().await.withheld.remove(pod);
    }

    /// Ends a member's process and starts none, as on a node that is away.
    pub async fn keep_down(&self, pod: &str) -> anyhow::Result<()> {
        let mut state = self.node.state.lock().await;
        state.kept_down.insert(pod.to_owned());
        let running = state.running.iter().find(|(_, c)| c.pod == pod);
        let Some(uid) = running.map(|(uid, _)| uid.clone()) else {
            return Ok(());
        };
        let container = state.running.remove(&uid);
        container.map_or(Ok(()), |container| container.process.kill())
    }

    /// Starts it again.
    pub async fn let_up(&self, pod: &str) {
        self.node.state.lock().await.kept_down.remove(pod);
    }

    /// Stops a member's process where it stands: its connections stay open, and nobody answers on them.
    pub async fn freeze(&self, pod: &str) -> anyhow::Result<()> {
        self.signal(pod, Signal::STOP).await
    }

    /// Lets a frozen member go on.
    pub async fn thaw(&self, pod: &str) -> anyhow::Result<()> {
        self.signal(pod, Signal::CONT).await
    }

    async fn signal(&self, pod: &str, signal: Signal) -> anyhow::Result<()> {
        wait::until_async("a process to signal", STARTS, async || {
            let state = self.node.state.lock().await;
            let container = state.running.values().find(|c| c.pod == pod);
            container
                .with_context(|| format!("{pod} does not run"))?
                .process
                .signal(signal)
        })
        .await
    }

    /// The end of what a member wrote to its output.
    pub async fn log_tail(&self, pod: &str, lines: usize) -> anyhow::Result<String> {
        let state = self.node.state.lock().await;
        let container = state.running.values().find(|c| c.pod == pod);
        let container = container.ok_or_else(|| anyhow!("{pod} does not run"))?;
        Ok(container.process.log_tail(lines))
    }

    /// Gives the data of one volume claim to another: as a volume that outlived its claim and is bound again.
    pub fn move_volume(&self, old: &str, new: &str) -> anyhow::Result<()> {
        let folder = self.node.run.folder("volumes")?;
        std::fs::rename(folder.join(old), folder.join(new))
            .with_context(|| format!("cannot move the volume {old} to {new}"))
    }

    /// Folder with the data of a member.
    pub async fn data_of(&self, pod: &str) -> anyhow::Result<PathBuf> {
        let pods: Api<Pod> = Api::namespaced(self.node.client.clone(), &self.node.namespace);
        let folder = self.node.data(&pods.get(pod).await?).await?;
        folder.ok_or_else(|| anyhow!("{pod} has no volume"))
    }

    /// Address of a member.
    pub async fn address(&self, pod: &str) -> Option<IpAddr> {
        self.node.state.lock().await.addresses.get(pod).copied()
    }

    /// Ends all members.
    pub async fn stop(self) {
        self.task.abort();
        let mut state = self.node.state.lock().await;
        for (_, container) in std::mem::take(&mut state.running) {
            let _ = container.process.kill();
        }
    }
}

#[allow(clippy::print_stderr, reason = "the log of a test")]
fn tracing_line(namespace: &str, error: &anyhow::Error) {
    if std::env::var_os("KUBELET_LOG").is_some() {
        eprintln!("process kubelet of {namespace}: {error:#}");
    }
}

impl Node {
    async fn sync(&self) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = pods.list(&ListParams::default().labels(LABEL)).await?;
        let mut state = self.state.lock().await;
        let wanted: Vec<String> = found.iter().filter_map(ResourceExt::uid).collect();
        let gone: Vec<String> = state
            .running
            .keys()
            .filter(|uid| !wanted.contains(uid))
            .cloned()
            .collect();
        for uid in gone {
            if let Some(container) = state.running.remove(&uid) {
                // As a kubelet does: the process is asked, and forced after the grace period.
                tokio::task::spawn_blocking(move || container.process.stop(GRACE)).await??;
            }
        }
        for pod in found {
            let uid = pod.uid().unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if state.running.get(&uid).is_some_and(|c| c.process.is_running()) {
                self.tell_untold(&pod, &mut state).await?;
                continue;
            }
            state.untold.remove(&uid);
            if let Some(container) = state.running.remove(&uid) {
                let last_state = container.last_state();
                let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                self.report_down(&container.pod, state.started, &waiting, &last_state)
                    .await?;
                let again = Instant::now() + BACK_OFF;
                state.crashed.insert(uid, Crash { again, last_state });
                continue;
            }
            if state.crashed.get(&uid).is_some_and(|c| c.again > Instant::now()) {
                continue;
            }
            if state.kept_down.contains(&pod.name_any()) {
                continue;
            }
            self.start_pod(&pod, &mut state)
                .await
                .with_context(|| format!("cannot start {}", pod.name_any()))?;
        }
        if state.refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
            state.refreshed = Some(Instant::now());
            let State {
                running, withheld, ..
            } = &mut *state;
            for container in running.values_mut().filter(|c| !withheld.contains(&c.pod)) {
                self.refresh(&mut container.certificate).await?;
            }
        }
        Ok(())
    }

    async fn start_pod(&self, pod: &Pod, state: &mut State) -> anyhow::Result<()> {
        let name = pod.name_any();
        let cluster = pod
            .labels()
            .get(LABEL)
            .context("a pod without the label")?
            .clone();
        let data = self.data(pod).await?;
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = configs.get(&config_name(pod)?).await?;
        let config = config
            .data
            .and_then(|mut d| d.remove("vault.hcl"))
            .context("no vault.hcl")?;
        // Every member that the configuration names has its address before it runs, as DNS would have.
        for ordinal in 0..9 {
            let member = format!("{cluster}-{ordinal}");
            if (member == name || config.contains(&format!("//{member}.")))
                && !state.addresses.contains_key(&member)
            {
                state.addresses.insert(member, ports::loopback()?);
            }
        }
        let address = *state.addresses.get(&name).context("no address")?;
        let (folder, certificate) = self
            .mount(pod, &cluster, data.as_deref(), &config, &state.addresses)
            .await?;
        let uid = pod.uid().unwrap_or_default();
        let last_state = state.crashed.get(&uid).map(|c| c.last_state.clone());
        let last_state = last_state.unwrap_or_else(|| json!({}));
        let environment = match self.environment(pod, &folder).await? {
            Ok(environment) => environment,
            Err(missing) => {
                let waiting =
                    json!({"waiting": {"reason": "CreateContainerConfigError", "message": missing}});
                return self
                    .report_down(&name, state.started, &waiting, &last_state)
                    .await;
            }
        };
        state.started += 1;
        let mut spec = ProcessSpec::new(
            &format!("{}-{name}", self.namespace),
            servers::path(Server::Vault)?,
            &self.run,
        )
        .args([
            "server".to_owned(),
            format!("-config={}", folder.join("vault.hcl").display()),
        ])
        .env("VAULT_RAFT_NODE_ID", name.clone())
        .env("VAULT_API_ADDR", format!("https://{address}:8200"))
        .env("VAULT_CLUSTER_ADDR", format!("https://{address}:8201"));
        spec.env.extend(environment);
        let log_start = std::fs::metadata(&spec.log).map_or(0, |m| m.len());
        let process = Process::start(spec, &self.run)?;
        let helper = Self::helper(pod, &folder, address).map(|arguments| {
            let name = format!("{}-{name}-reload", self.namespace);
            let spec = ProcessSpec::new(&name, agent_program::path()?, &self.run).args(arguments);
            Process::start(spec, &self.run)
        });
        let container = format!("process://{}-{}", state.started, process.pid());
        state.running.insert(
            uid.clone(),
            Container {
                pod: name.clone(),
                process,
                _helper: helper.transpose()?,
                certificate,
                log_start,
            },
        );
        let status = json!({"status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [{
                "name": "vault", "image": "vault", "imageID": "", "ready": true, "restartCount": state.started,
                "containerID": container, "state": {"running": {"startedAt": now()}}, "lastState": last_state,
            }],
        }});
        if let Some(held) = state.silent.get_mut(&name) {
            *held = Some(status);
            return Ok(());
        }
        state.untold.insert(uid, status);
        self.tell_untold(pod, state).await
    }

    /// Tells the status of a pod that is not told yet. In vain, the next look tries it again.
    async fn tell_untold(&self, pod: &Pod, state: &mut State) -> anyhow::Result<()> {
        let uid = pod.uid().unwrap_or_default();
        if let Some(status) = state.untold.get(&uid) {
            self.write_status(&pod.name_any(), status).await?;
            state.untold.remove(&uid);
        }
        Ok(())
    }

    async fn write_status(&self, pod: &str, status: &serde_json::Value) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }

    /// The folder of the member's volume, if it has one.
    async fn data(&self, pod: &Pod) -> anyhow::Result<Option<PathBuf>> {
        let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref());
        let mut volumes = volumes.unwrap_or_default().iter();
        // The other one is for audit logs; their order is the controller's.
        let data = volumes.find(|v| v.name == "data");
        let Some(claim) = data.and_then(|v| v.persistent_volume_claim.as_ref()) else {
            return Ok(None);
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.namespace);
        let claim = claims.get(&claim.claim_name).await?;
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(anyhow!("the volume claim is being deleted"));
        }
        let uid = claim.uid().unwrap_or_default();
        Ok(Some(self.run.folder(format!("volumes/{uid}"))?))
    }

    async fn report_down(
        &self,
        pod: &str,
        restarts: usize,
        state: &Value,
        last_state: &Value,
    ) -> anyhow::Result<()> {
        let status = json!({"status": {"containerStatuses": [{
            "name": "vault", "image": "vault", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last_state,
        }]}});
        self.write_status(pod, &status).await
    }
}

/// As Kubernetes writes times.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Container {
    /// How it ended, with its last words.
    fn last_state(&self) -> Value {
        let log = std::fs::read(self.process.log()).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or_default();
        let own = log.get(start..).unwrap_or_default();
        let end = own
            .get(own.len().saturating_sub(LAST_WORDS)..)
            .unwrap_or_default();
        let code = self.process.exit_status().and_then(|s| s.code());
        json!({"terminated": {
            "exitCode": code.unwrap_or(137), "reason": "Error", "message": String::from_utf8_lossy(end),
        }})
    }
}
