//! One injector for all its tests, in a thread of its own, registered as the chart would.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use vaultkeeper_injector::run::Server;
use vaultkeeper_injector::settings::Settings;
use vaultkeeper_tests::control_plane::ControlPlane;
use vaultkeeper_tests::servers::{self, Server as Program};
use vaultkeeper_tests::{helm, wait};

use crate::chart::{named, template};
use crate::shared::control_plane;

/// The namespace of the chart's release.
pub(crate) use crate::chart::NAMESPACE;

/// Name of the webhook configuration that the chart renders.
pub(crate) const CONFIGURATION: &str = "keeper-system-keeper-injector";
/// Name of the Secret that the chart lets the injector read.
pub(crate) const TLS_SECRET: &str = "keeper-injector-tls";
/// For whatever should come true soon.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Only namespaces with this label are sent to the webhook: other tests share the API server.
const LABEL: &str = "test.vaultkeeper.dev/injector";

struct Running {
    control_plane: &'static ControlPlane,
    health: String,
    // One at a time: some tests take the trust away for a moment, others count requests.
    turn: Mutex<()>,
}

static RUNNING: OnceCell<Result<Running, String>> = OnceCell::const_new();

/// The injector, for one test at a time.
pub(crate) struct Injector {
    running: &'static Running,
    _turn: MutexGuard<'static, ()>,
}

/// The shared injector, started by whoever asks first.
pub(crate) async fn injector() -> Injector {
    let running = RUNNING
        .get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) })
        .await;
    match running {
        Ok(running) => Injector {
            running,
            _turn: running.turn.lock().await,
        },
        Err(error) => panic!("the injector does not start: {error}"),
    }
}

async fn start() -> anyhow::Result<Running> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let control_plane = control_plane().await;
    let objects = template(&helm::chart(), &[])?;
    let webhook = named(&objects, "MutatingWebhookConfiguration", "-injector").clone();
    let mut wanted =
        vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })];
    wanted.extend(objects.into_iter().filter(|object| {
        let is_named = object["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.ends_with("-injector"));
        let is_access = [
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
        ]
        .iter()
        .any(|kind| object["kind"] == *kind);
        // What the injector really does must pass them.
        let is_policy = object["kind"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("ValidatingAdmissionPolicy"))
            && object["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.contains("-injector-"));
        object["kind"] == "CustomResourceDefinition" || (is_named && is_access) || is_policy
    }));
    apply(control_plane, &wanted)?;

    let settings = Settings::try_parse_from([
        "vaultkeeper-injector",
        "--listen=127.0.0.1:0",
        "--health-listen=127.0.0.1:0",
        "--tls-hosts=127.0.0.1",
        "--service=keeper-injector",
        "--check-seconds=1",
        &format!("--namespace={NAMESPACE}"),
        &format!("--tls-secret={TLS_SECRET}"),
        &format!("--webhook-configuration={CONFIGURATION}"),
    ])?;
    let (bound, address) = std::sync::mpsc::channel();
    // A runtime of its own: those of the tests end with each test.
    std::thread::spawn(move || serve(control_plane, settings, &bound));
    let (webhook_port, health_port) = tokio::task::spawn_blocking(move || address.recv_timeout(DEADLINE))
        .await?
        .context("the injector did not bind its ports")?;
    register(control_plane, webhook, webhook_port)?;
    let running = Running {
        control_plane,
        health: format!("http://127.0.0.1:{health_port}"),
        turn: Mutex::default(),
    };
    let ready = || async {
        let (status, text) = running.get("/readyz").await?;
        anyhow::ensure!(status == 200, "/readyz says: {text}");
        Ok(())
    };
    wait::until_async("the injector to be ready", DEADLINE, ready).await?;
    until_asked(&running).await?;
    Ok(running)
}

/// Waits until the API server, which learns of its webhooks through a watch, asks the injector about a pod.
async fn until_asked(running: &Running) -> anyhow::Result<()> {
    let labels = BTreeMap::from([(LABEL.to_owned(), "true".to_owned())]);
    let control_plane = running.control_plane;
    let namespace = control_plane.create_namespace_with("injected", labels).await?;
    let pods: Api<Pod> = Api::namespaced(control_plane.client().await?, &namespace);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "probe", "annotations": { "vaultkeeper.dev/agent-inject": "false" } },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    }))?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    wait::until_async("the injector to be asked", DEADLINE, async || {
        let before = running.admissions().await?;
        pods.create(&dry, &pod).await?;
        anyhow::ensure!(running.admissions().await? > before, "it was not asked");
        Ok(())
    })
    .await
}

fn serve(
    control_plane: &'static ControlPlane,
    settings: Settings,
    bound: &std::sync::mpsc::Sender<(u16, u16)>,
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let account = control_plane
            .client_for_service_account(NAMESPACE, "keeper-injector")
            .await
            .unwrap();
        let server = Server::bind(settings, account).await.unwrap();
        bound
            .send((server.address().port(), server.health_address().port()))
            .unwrap();
        server.run(std::future::pending()).await.unwrap();
    });
}

/// Registers the chart's webhook, reached by URL since no Service leads out of the API server here.
fn register(control_plane: &ControlPlane, mut webhook: Value, port: u16) -> anyhow::Result<()> {
    webhook["webhooks"][0]["clientConfig"] = json!({ "url": format!("https://127.0.0.1:{port}/mutate") });
    webhook["webhooks"][0]["namespaceSelector"]["matchExpressions"]
        .as_array_mut()
        .context("the chart's webhook should exclude namespaces")?
        .push(json!({ "key": LABEL, "operator": "Exists" }));
    apply(control_plane, &[webhook])
}

fn apply(control_plane: &ControlPlane, objects: &[Value]) -> anyhow::Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--validate=strict",
        "-f",
        "-",
    ];
    kubectl(control_plane, &arguments, &list).map(|_| ())
}

/// Runs kubectl with an object on its standard input, and gives all it printed.
fn kubectl(control_plane: &ControlPlane, arguments: &[&str], input: &Value) -> anyhow::Result<String> {
    let mut child = Command::new(servers::path(Program::Kubectl)?)
        .env_remove("KUBECONFIG")
        .arg("--kubeconfig")
        .arg(&control_plane.files().admin_kubeconfig)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("kubectl has no input")?
        .write_all(&serde_json::to_vec(input)?)?;
    let output = child.wait_with_output()?;
    let printed =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "kubectl {arguments:?} failed: {printed}");
    Ok(printed)
}

impl Running {
    async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let client = reqwest::Client::builder().tls_certs_only([]).build()?;
        let answer = client.get(format!("{}{path}", self.health)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    async fn admissions(&self) -> anyhow::Result<u64> {
        let (_, text) = self.get("/metrics").await?;
        let counts = text
            .lines()
            .filter(|line| line.starts_with("vaultkeeper_injector_admissions_total{"))
            .map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u64>()?));
        counts.sum()
    }
}

impl Injector {
    /// A client of a cluster administrator.
    pub(crate) async fn client(&self) -> Client {
        self.running.control_plane.client().await.unwrap()
    }

    /// A namespace whose pods go to the webhook, with this Pod Security level enforced.
    pub(crate) async fn namespace(&self, security: Option<&str>) -> String {
        let mut labels = BTreeMap::from([(LABEL.to_owned(), "true".to_owned())]);
        if let Some(level) = security {
            labels.insert("pod-security.kubernetes.io/enforce".to_owned(), level.to_owned());
        }
        let control_plane = self.running.control_plane;
        control_plane
            .create_namespace_with("injected", labels)
            .await
            .unwrap()
    }

    /// Creates a pod with kubectl and gives all it printed.
    pub(crate) fn kubectl_create(&self, namespace: &str, pod: &Pod) -> String {
        let mut pod = serde_json::to_value(pod).unwrap();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        kubectl(
            self.running.control_plane,
            &["create", "--namespace", namespace, "-f", "-"],
            &pod,
        )
        .unwrap()
    }

    /// How many reviews the injector has answered.
    pub(crate) async fn admissions(&self) -> u64 {
        self.running.admissions().await.unwrap()
    }

    /// The stored CA's certificate.
    pub(crate) async fn ca(&self) -> ByteString {
        let secrets: Api<Secret> = Api::namespaced(self.client().await, NAMESPACE);
        let stored = secrets.get(TLS_SECRET).await.unwrap();
        stored.data.unwrap().remove("ca.crt").unwrap()
    }
}
