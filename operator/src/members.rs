//! What the members of a cluster answer right now.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use vaultkeeper_crds::{annotations, names};
use vaultkeeper_vault::Client;

use crate::cluster::tls::certificate::{Facts, examine_der};
use crate::connect::Node;
use crate::context::Context;

/// How long a member may take to say how it is. A member in `sys/init` takes longer and is asked again.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Label of the StatefulSet's controller: from which revision of the template a pod was made.
const REVISION: &str = "controller-revision-hash";

/// One wanted member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Name of the pod.
    pub name: String,
    /// Its number.
    pub ordinal: u32,
    /// UID of its pod, if there is one.
    pub pod: Option<String>,
    /// What its pod is labelled as, `active` or `standby`: a hint for Services, never the truth.
    pub label: Option<String>,
    /// How to reach it, once its pod has an address.
    pub node: Option<Node>,
    /// Id of the running container. Another id means another process.
    pub container: Option<String>,
    /// Version that the server reports.
    pub version: Option<String>,
    /// Identity of the Vault cluster that it belongs to, known once it is unsealed.
    pub cluster_id: Option<String>,
    /// Why its server does not run, in the words of Kubernetes.
    pub obstacle: Option<String>,
    /// Kind of its seal, as the server says: `shamir`, `transit`, `awskms`, …
    pub seal_type: Option<String>,
    /// Whether it runs for another seal than the one that its data is under.
    pub migrating: bool,
    /// For which state of a seal migration its pod was made.
    pub seal_mark: Option<String>,
    /// Whether it was not reached because its certificate is not one that is trusted and current.
    pub untrusted: bool,
    /// What it answered.
    pub probe: Probe,
    /// Why its container does not run, or how it ended before.
    pub stopped: Option<Stopped>,
    /// Why its pod is not ready, so that Services leave it out. None: it is, or nothing is known.
    pub unready: Option<Unready>,
    /// Revision of the pod template that its pod was made from.
    pub revision: Option<String>,
    /// Whether its pod is being deleted.
    pub deleting: bool,
    /// When its container started, by the clock of its node.
    pub started: Option<Timestamp>,
    /// The last entry of Raft's log that it has: of a standby the last that it applied, of the active member the last that
    /// is committed.
    pub raft_index: Option<u64>,
    /// The certificate that it shows, also when it is not to be trusted.
    pub certificate: Option<Facts>,
}

/// What the kubelet says of a container that does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Why it waits, for example CrashLoopBackOff or CreateContainerConfigError.
    pub waiting: Option<String>,
    /// What the kubelet adds to that, for example the name of a missing Secret.
    pub detail: Option<String>,
    /// Exit code of the process before, if there was one.
    pub exit_code: Option<i32>,
    /// The last lines of its log, where the container says so that they are kept.
    pub last_words: Option<String>,
}

/// Why a pod is not ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unready {
    /// In the words of Kubernetes.
    pub words: String,
    /// Whether a container beside the server waits for something that does not come by itself.
    pub stuck: bool,
}

/// What a kubelet says of a container on its way up.
pub(crate) const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl Member {
    /// Its state for a person, for example `main-0 is Sealed`.
    pub fn says(&self) -> String {
        let Self { name, obstacle, .. } = self;
        let word = self.probe.word();
        match obstacle {
            Some(obstacle) if self.probe == Probe::Pending => format!("{name} is {word} ({obstacle})"),
            _ => format!("{name} is {word}"),
        }
    }
}

/// What a member answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// There is no running container, or its pod is being deleted.
    #[default]
    Pending,
    /// It does not answer, and why.
    Unreachable(String),
    /// It holds no keys and has not joined.
    Uninitialized,
    /// It is sealed.
    Sealed {
        /// Shares that it has been given so far.
        progress: u32,
    },
    /// It was removed from its Raft cluster and can only rejoin empty.
    Removed,
    /// It is unsealed and not active.
    Standby,
    /// It is active.
    Active,
}

impl Probe {
    /// Whether the member says that it holds data of an initialised cluster.
    pub fn is_initialized(&self) -> bool {
        matches!(
            self,
            Self::Sealed { .. } | Self::Removed | Self::Standby | Self::Active
        )
    }

    /// Whether the member serves.
    pub fn serves(&self) -> bool {
        matches!(self, Self::Standby | Self::Active)
    }

    /// The word in the status.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Unreachable(_) => "Unreachable",
            Self::Uninitialized => "Uninitialized",
            Self::Sealed { .. } => "Sealed",
            Self::Removed => "Removed",
            Self::Standby => "Standby",
            Self::Active => "Active",
        }
    }
}

/// Asks every wanted member, all at once.
///
/// # Errors
/// When the pods cannot be listed. A member that does not answer is no error.
pub async fn observe(
    ctx: &Context,
    namespace: &str,
    name: &str,
    replicas: u32,
    ca: &str,
) -> Result<Vec<Member>, kube::Error> {
    let pods = pods(ctx, namespace, name).await?;
    let asked = (0..replicas).map(|ordinal| {
        let pod_name = names::member(name, ordinal);
        let pod = pods.iter().find(|p| p.name_any() == pod_name);
        let host = names::member_host(namespace, name, ordinal);
        let obstacle = obstacle(pod);
        let running = pod.and_then(running);
        let stopped = pod.and_then(stopped);
        let unready = pod.and_then(unready);
        let label = pod.and_then(|p| p.labels().get(annotations::STATE).cloned());
        let uid = pod.and_then(ResourceExt::uid);
        let revision = pod.and_then(|p| p.labels().get(REVISION).cloned());
        let seal_mark = pod.and_then(|p| p.annotations().get(annotations::SEAL).cloned());
        let deleting = pod.is_some_and(|p| p.metadata.deletion_timestamp.is_some());
        let started = pod.and_then(started);
        async move {
            let mut member = Member {
                name: pod_name,
                ordinal,
                obstacle,
                pod: uid,
                label,
                stopped,
                unready,
                revision,
                seal_mark,
                deleting,
                started,
                ..Member::default()
            };
            let Some((ip, container)) = running else {
                return member;
            };
            let node = Node {
                host,
                address: SocketAddr::new(ip, names::API_PORT),
                ca: ca.to_owned(),
            };
            let asked = async {
                match ctx.vault.connect(&node, PROBE_TIMEOUT) {
                    Ok(client) => ask(&client, &mut member).await,
                    Err(error) => member.probe = Probe::Unreachable(error.to_string()),
                }
            };
            let ((), shown) = join(asked, ctx.vault.shown(&node, PROBE_TIMEOUT)).await;
            member.certificate = shown.as_deref().and_then(examine_der);
            (member.node, member.container) = (Some(node), Some(container));
            member
        }
    });
    Ok(join_all(asked).await)
}

/// Why the server of a pod does not run, or how its process before ended.
fn stopped(pod: &Pod) -> Option<Stopped> {
    let container = server(pod)?;
    let waiting = container.state.as_ref().and_then(|s| s.waiting.as_ref());
    let ended = |s: &k8s_openapi::api::core::v1::ContainerState| s.terminated.clone();
    let ended = container
        .state
        .as_ref()
        .and_then(ended)
        .or_else(|| container.last_state.as_ref().and_then(ended));
    if waiting.is_none() && ended.is_none() {
        return None;
    }
    Some(Stopped {
        waiting: waiting.and_then(|w| w.reason.clone()),
        detail: waiting.and_then(|w| w.message.clone()),
        exit_code: ended.as_ref().map(|t| t.exit_code),
        last_words: ended.and_then(|t| t.message),
    })
}

/// Why a pod is not ready, also where its server runs.
fn unready(pod: &Pod) -> Option<Unready> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready")?;
    if ready.status == "True" {
        return None;
    }
    let others = status.container_statuses.iter().flatten();
    let mut waiting = others
        .filter(|c| c.name != crate::cluster::build::CONTAINER)
        .filter_map(|c| Some((c, c.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?)));
    Some(match waiting.next() {
        Some((container, reason)) => Unready {
            words: format!("its container {} waits ({reason})", container.name),
            stuck: !STARTING.contains(&reason),
        },
        None => Unready {
            words: ready.message.clone().unwrap_or_default(),
            stuck: false,
        },
    })
}

/// The running container of each member's pod, right now.
///
/// # Errors
/// When the pods cannot be listed.
pub async fn containers(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, String>, kube::Error> {
    let pods = pods(ctx, namespace, name).await?;
    Ok(pods
        .iter()
        .filter_map(|pod| Some((pod.name_any(), running(pod)?.1)))
        .collect())
}

async fn pods(ctx: &Context, namespace: &str, name: &str) -> Result<Vec<Pod>, kube::Error> {
    let selector = ListParams::default().labels(&format!("{}={name}", annotations::CLUSTER));
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    Ok(pods.list(&selector).await?.items)
}

/// Address and container of a pod whose server runs.
fn running(pod: &Pod) -> Option<(IpAddr, String)> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let container = server(pod)?;
    container.state.as_ref()?.running.as_ref()?;
    Some((
        pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?,
        container.container_id.clone()?,
    ))
}

/// When the server of a pod was started.
fn started(pod: &Pod) -> Option<Timestamp> {
    let state = server(pod)?.state.as_ref()?;
    state.running.as_ref()?.started_at.as_ref().map(|time| time.0)
}

/// What the kubelet says of a pod's server.
fn server(pod: &Pod) -> Option<&ContainerStatus> {
    let mut containers = pod.status.as_ref()?.container_statuses.as_ref()?.iter();
    containers.find(|c| c.name == crate::cluster::build::CONTAINER)
}

/// The longest words of Kubernetes that are repeated.
const OBSTACLE_LENGTH: usize = 300;

/// Why a pod's server does not run. None: nothing is known, or it runs.
fn obstacle(pod: Option<&Pod>) -> Option<String> {
    let Some(pod) = pod else {
        return Some("there is no pod: see the events of the StatefulSet".to_owned());
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("its pod is being deleted".to_owned());
    }
    let status = pod.status.as_ref()?;
    let waiting = server(pod).and_then(|c| c.state.as_ref()?.waiting.as_ref());
    let (reason, message) = if let Some(waiting) = waiting {
        (&waiting.reason, &waiting.message)
    } else {
        let unscheduled = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
        (&unscheduled.reason, &unscheduled.message)
    };
    let words: Vec<&str> = [reason, message]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    let text: String = words.join(": ").chars().take(OBSTACLE_LENGTH).collect();
    Some(text).filter(|text| !text.is_empty())
}

async fn ask(client: &Client, member: &mut Member) {
    let status = match client.seal_status().await {
        Ok(status) => status,
        Err(error) => {
            member.untrusted = matches!(error, vaultkeeper_vault::Error::Unreachable { tls: true, .. });
            member.probe = Probe::Unreachable(error.to_string());
            return;
        }
    };
    member.migrating = status.migration;
    member.seal_type = Some(status.kind).filter(|kind| !kind.is_empty());
    member.version = Some(status.version);
    member.cluster_id = Some(status.cluster_id).filter(|id| !id.is_empty());
    member.probe = if status.removed_from_cluster {
        Probe::Removed
    } else if !status.initialized {
        Probe::Uninitialized
    } else if status.sealed {
        Probe::Sealed {
            progress: status.progress,
        }
    } else {
        // The node addressed says whether it is active; labels and Services are hints only.
        match client.on_this_node().leader().await {
            // Storage in memory knows no leaders: the one member is active.
            Ok(leader) if leader.is_self || !leader.ha_enabled => {
                member.raft_index = Some(leader.raft_committed_index).filter(|index| *index > 0);
                Probe::Active
            }
            Ok(leader) => {
                member.raft_index = Some(leader.raft_applied_index).filter(|index| *index > 0);
                Probe::Standby
            }
            Err(_) => Probe::Standby,
        }
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> Option<String> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "main-0"}, "status": status})).unwrap();
        obstacle(Some(&pod))
    }

    #[test]
    fn a_pod_that_cannot_start_says_why_in_the_words_of_kubernetes() {
        let waiting = |reason: &str, message: &str| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            json!({"containerStatuses": [{
                "name": "vault", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]})
        };
        assert_eq!(
            told(&waiting("ImagePullBackOff", "Back-off pulling image \"x\"")).as_deref(),
            Some("ImagePullBackOff: Back-off pulling image \"x\"")
        );
        let long = told(&waiting("CrashLoopBackOff", &"é".repeat(2000))).unwrap();
        assert_eq!(long.chars().count(), OBSTACLE_LENGTH, "not a whole page");
        let unscheduled = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "pod has unbound immediate PersistentVolumeClaims",
        }]});
        assert_eq!(
            told(&unscheduled).as_deref(),
            Some("Unschedulable: pod has unbound immediate PersistentVolumeClaims")
        );
        assert_eq!(told(&json!({"phase": "Pending"})), None, "nothing is known");
        assert!(obstacle(None).is_some_and(|words| words.contains("no pod")));
    }

    #[test]
    fn a_pod_whose_helper_cannot_start_is_not_ready_though_its_server_runs() {
        let told = |ready: &str, state: Value| {
            let container = |name: &str, state: Value| json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state});
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "main-0"}, "status": {
                "conditions": [{"type": "Ready", "status": ready, "message": "containers with unready status: [x]"}],
                "containerStatuses": [container("vault", json!({"running": {}})), container("reload", state)],
            }}))
            .unwrap();
            unready(&pod)
        };
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(told("True", waits("ImagePullBackOff")), None);
        let stuck = told("False", waits("ImagePullBackOff")).unwrap();
        assert!(
            stuck.stuck && stuck.words == "its container reload waits (ImagePullBackOff)",
            "{stuck:?}"
        );
        assert!(!told("False", waits("ContainerCreating")).unwrap().stuck);
        let probed = told("False", json!({"running": {}})).unwrap();
        assert_eq!(probed.words, "containers with unready status: [x]");
        let unknown: Pod = serde_json::from_value(json!({"metadata": {}, "status": {}})).unwrap();
        assert_eq!(unready(&unknown), None, "nothing is known");
    }

    #[test]
    fn the_obstacle_is_told_while_the_member_is_pending_only() {
        let mut member = Member {
            name: "main-0".to_owned(),
            obstacle: Some("ImagePullBackOff".to_owned()),
            ..Member::default()
        };
        assert_eq!(member.says(), "main-0 is Pending (ImagePullBackOff)");
        member.probe = Probe::Active;
        assert_eq!(member.says(), "main-0 is Active");
    }
}
