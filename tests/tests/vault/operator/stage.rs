//! What these tests stand on: one control plane for all, and for each test two namespaces, a kubelet of processes
//! and operators that can be started and killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_operator::cluster::readiness::Memory;
use vaultkeeper_operator::connect::{Connect, Elsewhere, HttpsConnect, Node};
use vaultkeeper_operator::context::{
    Context, HelperImage, KubernetesAuthEnvironment, Recent, Rules as OperatorRules,
};
use vaultkeeper_operator::metrics::Metrics;
use vaultkeeper_operator::namespaces::Namespaces;
use vaultkeeper_operator::report::Reporter;
use vaultkeeper_operator::role::sweep::Sweep;
use vaultkeeper_operator::run::start_controllers;
use vaultkeeper_operator::sessions::Sessions;
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::process_kubelet::ProcessKubelet;
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{BuildError, Client, Error, SecretString, Token};

use crate::client_support::PATIENCE;

/// Generous: the machine may run several of these at a time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);
/// How long a connection to a member may take.
const CONNECT: Duration = Duration::from_secs(20);
pub(crate) const OPERATOR: &str = "vaultkeeper-operator";

struct Shared {
    control_plane: ControlPlane,
    run: RunDir,
    _reaper: Reaper,
}

static SHARED: OnceCell<Result<Shared, String>> = OnceCell::const_new();
static OLDER: OnceCell<Result<Shared, String>> = OnceCell::const_new();

/// Which rules the API server has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Ours.
    Ours,
    /// None but those on types: as of an older CRD, which knows nothing of the newer rules.
    Older,
}

async fn shared(rules: Rules) -> anyhow::Result<&'static Shared> {
    let cell = match rules {
        Rules::Ours => &SHARED,
        Rules::Older => &OLDER,
    };
    let shared = cell
        .get_or_init(|| async { start(rules).await.map_err(|e| format!("{e:#}")) })
        .await;
    shared
        .as_ref()
        .map_err(|error| anyhow!("the control plane does not start: {error}"))
}

/// Removes the CEL rules and the patterns of texts from a schema.
fn without_rules(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.remove("x-kubernetes-validations");
            if map.get("pattern").is_some_and(serde_json::Value::is_string) {
                map.remove("pattern");
            }
            map.values_mut().for_each(without_rules);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

async fn start(rules: Rules) -> anyhow::Result<Shared> {
    let run = RunDir::create(match rules {
        Rules::Ours => "operator",
        Rules::Older => "operator-older",
    })?;
    let reaper = Reaper::start(Path::new(crate::TESTBED), &run)?;
    let control_plane = ControlPlane::start(Options::loopback()?, &run).await?;
    let client = control_plane.client().await?;
    let crds: Api<CustomResourceDefinition> = Api::all(client);
    for manifest in vaultkeeper_crds::generate::manifests()? {
        let mut crd: serde_json::Value = serde_yaml::from_str(&manifest.yaml)?;
        if rules == Rules::Older {
            without_rules(&mut crd);
        }
        let crd: CustomResourceDefinition = serde_json::from_value(crd)?;
        crds.create(&PostParams::default(), &crd).await?;
        let name = crd.name_any();
        wait::until_async("the API server to serve the CRD", DEADLINE, async || {
            let crd = crds.get(&name).await?;
            let conditions = crd.status.and_then(|s| s.conditions).unwrap_or_default();
            if conditions
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True")
            {
                Ok(())
            } else {
                bail!("not established")
            }
        })
        .await?;
    }
    Ok(Shared {
        control_plane,
        run,
        _reaper: reaper,
    })
}

/// One test's share of it.
pub(crate) struct Stage {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    pub(crate) operator_namespace: String,
    pub(crate) kubelet: ProcessKubelet,
    environment: KubernetesAuthEnvironment,
    rules: Rules,
}

/// An operator in this process.
pub(crate) struct Operator {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
    metrics: Arc<Metrics>,
}

impl Operator {
    /// As `kill -9` would: everything under way ends where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// What Prometheus would read of it.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        Ok(self.metrics.encode()?)
    }

    /// Waits until it has gone over its VaultCluster so many times more.
    pub(crate) async fn until_passes(&self, more: u64) -> anyhow::Result<()> {
        self.until_passes_of("VaultCluster", more).await
    }

    /// Waits until this many more passes over objects of a kind have ended well.
    pub(crate) async fn until_passes_of(&self, kind: &str, more: u64) -> anyhow::Result<()> {
        let passes = || -> anyhow::Result<u64> {
            let text = self.metrics.encode()?;
            let lines = text
                .lines()
                .filter(|l| l.starts_with("vaultkeeper_reconciles_total{") && l.contains(kind))
                // A pass that failed may have seen nothing at all.
                .filter(|l| l.contains("result=\"success\""));
            Ok(lines
                .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
                .sum())
        };
        let wanted = passes()? + more;
        wait::until_async("further passes of the operator", DEADLINE, async || {
            if passes()? >= wanted {
                Ok(())
            } else {
                bail!("{} of {wanted}", passes()?)
            }
        })
        .await
    }

    /// As SIGTERM would: what runs is finished.
    pub(crate) async fn stop(self) {
        self.ask_to_stop();
        let _ = self.task.await;
    }

    /// As SIGTERM would, without waiting.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }
}

/// Connects as the operator does, with points at the transport.
struct TappedConnect(Arc<Points>);

impl Connect for TappedConnect {
    fn connect(&self, node: &Node, timeout: Duration) -> Result<Client, BuildError> {
        Ok(HttpsConnect
            .connect(node, timeout)?
            .with_transport(|inner| self.0.vault(inner)))
    }

    fn connect_elsewhere(&self, at: &Elsewhere, timeout: Duration) -> Result<Client, BuildError> {
        Ok(HttpsConnect
            .connect_elsewhere(at, timeout)?
            .with_transport(|inner| self.0.vault(inner)))
    }
}

impl Stage {
    /// Makes the namespaces and starts the kubelet.
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Self::of(Rules::Ours).await
    }

    /// On an API server whose CRD takes what the operator refuses.
    pub(crate) async fn with_an_older_crd() -> anyhow::Result<Self> {
        Self::of(Rules::Older).await
    }

    async fn of(rules: Rules) -> anyhow::Result<Self> {
        vaultkeeper_tests::install_crypto();
        let shared = shared(rules).await?;
        let control_plane = &shared.control_plane;
        let client = control_plane.client().await?;
        let namespace = control_plane.create_namespace("v").await?;
        let operator_namespace = control_plane.create_namespace("op").await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &operator_namespace);
        for name in [OPERATOR, "reviewer"] {
            let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            accounts.create(&PostParams::default(), &account).await?;
        }
        let binding = json!({
            "metadata": {"name": format!("reviewer-{operator_namespace}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": operator_namespace}],
        });
        let bindings: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(client.clone());
        bindings
            .create(&PostParams::default(), &serde_json::from_value(binding)?)
            .await?;
        let reviewer = control_plane
            .service_account_token(&operator_namespace, "reviewer", &[])
            .await?;
        let environment = KubernetesAuthEnvironment {
            host: control_plane.url().to_owned(),
            ca_cert: Some(control_plane.ca().cert_pem()),
            token_reviewer_jwt: Some(SecretString::from(reviewer)),
        };
        let kubelet = ProcessKubelet::start(client.clone(), &namespace, &shared.run);
        Ok(Self {
            client,
            namespace,
            operator_namespace,
            kubelet,
            environment,
            rules,
        })
    }

    /// A client that gives "not now" back instead of asking again.
    pub(crate) async fn client_that_asks_once(&self) -> anyhow::Result<kube::Client> {
        shared(self.rules)
            .await?
            .control_plane
            .client_that_asks_once()
            .await
    }

    /// How a Vault reaches the API server, to review tokens.
    pub(crate) fn environment(&self) -> &KubernetesAuthEnvironment {
        &self.environment
    }

    /// Another namespace in which an operator may be installed.
    pub(crate) async fn another_operator_namespace(&self) -> anyhow::Result<String> {
        let namespace = shared(self.rules)
            .await?
            .control_plane
            .create_namespace("op")
            .await?;
        self.create_account(&namespace, OPERATOR).await?;
        Ok(namespace)
    }

    /// A namespace without any further meaning.
    pub(crate) async fn another_namespace(&self, prefix: &str) -> anyhow::Result<String> {
        shared(self.rules)
            .await?
            .control_plane
            .create_namespace(prefix)
            .await
    }

    /// The public key, in PEM, of what signs the tokens of ServiceAccounts.
    pub(crate) async fn service_account_key(&self) -> anyhow::Result<String> {
        let files = shared(self.rules).await?.control_plane.files();
        Ok(std::fs::read_to_string(&files.service_account_key.public)?)
    }

    /// Makes a ServiceAccount.
    pub(crate) async fn create_account(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts.create(&PostParams::default(), &account).await?;
        Ok(())
    }

    /// A token of a ServiceAccount, for these audiences or, without any, for the API server.
    pub(crate) async fn token(
        &self,
        namespace: &str,
        account: &str,
        audiences: &[&str],
    ) -> anyhow::Result<SecretString> {
        let control_plane = &shared(self.rules).await?.control_plane;
        let token = control_plane
            .service_account_token(namespace, account, audiences)
            .await?;
        Ok(SecretString::from(token))
    }

    /// Starts an operator whose calls pass these points.
    pub(crate) fn start_operator(&self, points: &Arc<Points>) -> Operator {
        self.start_operator_as(points, &self.operator_namespace, OPERATOR)
    }

    /// Starts an operator with other settings than the usual ones.
    pub(crate) fn start_operator_with(&self, points: &Arc<Points>, rules: OperatorRules) -> Operator {
        self.start(points, &self.namespace, &self.operator_namespace, OPERATOR, rules)
    }

    /// Starts an operator that was installed in this namespace with this ServiceAccount.
    pub(crate) fn start_operator_as(
        &self,
        points: &Arc<Points>,
        namespace: &str,
        service_account: &str,
    ) -> Operator {
        self.start(
            points,
            &self.namespace,
            namespace,
            service_account,
            OperatorRules::default(),
        )
    }

    /// Starts an operator like the usual one that looks after the VaultRoles of another namespace.
    pub(crate) fn start_operator_over(&self, points: &Arc<Points>, watched: &str) -> Operator {
        self.start(
            points,
            watched,
            &self.operator_namespace,
            OPERATOR,
            OperatorRules::default(),
        )
    }

    /// Starts an operator that reaches Vault in another way.
    pub(crate) fn start_operator_through(&self, points: &Arc<Points>, vault: Arc<dyn Connect>) -> Operator {
        let (watched, own) = (&self.namespace, &self.operator_namespace);
        self.start_through(points, watched, own, OPERATOR, OperatorRules::default(), vault)
    }

    fn start(
        &self,
        points: &Arc<Points>,
        watched: &str,
        namespace: &str,
        service_account: &str,
        rules: OperatorRules,
    ) -> Operator {
        let vault = Arc::new(TappedConnect(Arc::clone(points)));
        self.start_through(points, watched, namespace, service_account, rules, vault)
    }

    fn start_through(
        &self,
        points: &Arc<Points>,
        watched: &str,
        namespace: &str,
        service_account: &str,
        rules: OperatorRules,
        vault: Arc<dyn Connect>,
    ) -> Operator {
        let client = points.kubernetes(&self.client, watched);
        let metrics = Arc::new(Metrics::new());
        let ctx = Arc::new(Context {
            reporter: Reporter::new(client.clone(), "test"),
            client,
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            auth_environment: self.environment.clone(),
            helper: HelperImage::default(),
            vault,
            sessions: Sessions::default(),
            metrics: Arc::clone(&metrics),
            readiness: Memory::default(),
            recent: Recent::default(),
            namespaces: Namespaces::default(),
            sweep: Sweep::default(),
            rules,
        });
        let shutdown = CancellationToken::new();
        Operator {
            task: start_controllers(ctx, shutdown.clone()),
            shutdown,
            metrics,
        }
    }

    /// Creates a VaultCluster named `main`.
    pub(crate) async fn create_cluster(&self, replicas: i32) -> anyhow::Result<()> {
        self.create_cluster_with(replicas, json!({})).await
    }

    /// Creates a VaultCluster named `main`, with these fields of its spec instead of the usual ones.
    pub(crate) async fn create_cluster_with(
        &self,
        replicas: i32,
        fields: serde_json::Value,
    ) -> anyhow::Result<()> {
        let profile = if replicas == 1 { "Development" } else { "Hardened" };
        let mut cluster = json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
            "metadata": {"name": "main", "namespace": self.namespace},
            "spec": {
                "version": "1.21.1", "replicas": replicas, "profile": profile,
                "storage": {"raft": {"size": "1Gi"}},
                "seal": {"shamir": {"shares": 3, "threshold": 2}},
                "configuration": {"secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}]},
                "access": [{"namespaces": [self.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}],
            },
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            cluster["spec"][field] = value.clone();
        }
        let cluster: VaultCluster = serde_json::from_value(cluster)?;
        self.clusters()
            .create(&PostParams::default(), &cluster)
            .await
            .context("cannot create the VaultCluster")?;
        Ok(())
    }

    pub(crate) fn clusters(&self) -> Api<VaultCluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn annotate(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let body = json!({"metadata": {"annotations": {key: value}}});
        self.clusters()
            .patch("main", &PatchParams::default(), &Patch::Merge(&body))
            .await?;
        Ok(())
    }

    /// Waits until the VaultCluster satisfies `test`; in vain, the conditions are in the error.
    pub(crate) async fn until(
        &self,
        what: &str,
        test: impl Fn(&VaultCluster) -> bool,
    ) -> anyhow::Result<VaultCluster> {
        wait::until_async(what, DEADLINE, async || {
            let cluster = self.clusters().get("main").await?;
            if test(&cluster) {
                return Ok(cluster);
            }
            bail!("the status is {}", serde_json::to_string(&cluster.status)?)
        })
        .await
    }

    /// Waits until the cluster is available with all its members.
    pub(crate) async fn until_available(&self) -> anyhow::Result<VaultCluster> {
        self.until("all members to serve", |c| {
            reason(c, "Available") == "AllMembersServe"
        })
        .await
    }

    /// Kills a member, and waits until its death was seen and it serves again.
    pub(crate) async fn kill_and_wait(&self, pod: &str) -> anyhow::Result<()> {
        self.kubelet.kill(pod).await?;
        self.until("the killed member to be seen", |c| {
            reason(c, "Available") != "AllMembersServe"
        })
        .await?;
        self.until_available().await?;
        Ok(())
    }

    /// The pod of the member that leads, by the status of `main`.
    pub(crate) async fn leader(&self) -> anyhow::Result<String> {
        let status = self.clusters().get("main").await?.status;
        status.and_then(|status| status.leader).context("nobody leads")
    }

    /// The key Secret.
    pub(crate) async fn keys(&self) -> anyhow::Result<Option<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        Ok(secrets
            .get_opt(&names::key_secret(&self.namespace, "main"))
            .await?)
    }

    /// The stored shares, in order.
    pub(crate) async fn shares(&self) -> anyhow::Result<Vec<SecretString>> {
        let data = self
            .keys()
            .await?
            .context("there is no key Secret")?
            .data
            .unwrap_or_default();
        let shares: Vec<SecretString> = data
            .iter()
            .filter(|(key, _)| key.starts_with("share-") || key.starts_with("recovery-key-"))
            .map(|(_, value)| SecretString::from(String::from_utf8_lossy(&value.0).into_owned()))
            .collect();
        if shares.len() == 3 {
            Ok(shares)
        } else {
            bail!("3 shares are to be stored, there are {}", shares.len())
        }
    }

    /// A client of a member, past the operator.
    pub(crate) async fn member(&self, ordinal: u32) -> anyhow::Result<Client> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let tls = secrets.get(&names::tls_secret("main")).await?;
        let ca = tls
            .data
            .and_then(|mut d| d.remove(names::CA_KEY))
            .context("no ca.crt")?
            .0;
        let address = self
            .kubelet
            .address(&names::member("main", ordinal))
            .await
            .context("no address")?;
        let host = names::member_host(&self.namespace, "main", ordinal);
        // As the operator connects, with more patience.
        let member = Client::builder(format!("https://{host}:{}", names::API_PORT))
            .ca_pem(String::from_utf8(ca)?)
            .connect_to(std::net::SocketAddr::new(address, names::API_PORT))
            .timeout(PATIENCE)
            .connect_timeout(CONNECT);
        Ok(member.build()?)
    }

    /// A client with a root token made from the stored shares: proof that they are the right ones.
    pub(crate) async fn root(&self, ordinal: u32) -> anyhow::Result<Client> {
        let token = self.root_token(ordinal).await?;
        Ok(self.member(ordinal).await?.with_token(&token))
    }

    /// A root token made from the stored shares.
    pub(crate) async fn root_token(&self, ordinal: u32) -> anyhow::Result<Token> {
        self.root_token_of(ordinal, &self.shares().await?).await
    }

    /// A root token made from these shares.
    pub(crate) async fn root_token_of(&self, ordinal: u32, shares: &[SecretString]) -> anyhow::Result<Token> {
        let member = self.member(ordinal).await?;
        let made = wait::until_async("a member to make a root token", DEADLINE, async || {
            match make_root_token(&member, shares).await {
                // On a busy machine another leader may be elected at any time.
                Err(error) if error.downcast_ref::<Error>().is_some_and(Error::is_retryable) => Err(error),
                made => Ok(made),
            }
        });
        made.await?
    }

    /// Ends the cluster's processes.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        // Its namespaces stay as they are until the control plane ends. Deleted, they would be tried again and again by the
        // namespace controller: no kubelet ends their pods, and no operator takes the finalizers of their VaultRoles.
        self.kubelet.stop().await;
        Ok(())
    }
}

/// A root token made from these shares. What an attempt before this has left is thrown away.
async fn make_root_token(member: &Client, shares: &[SecretString]) -> anyhow::Result<Token> {
    member.cancel_generate_root().await?;
    let attempt = member.start_generate_root().await?;
    let otp = attempt.otp().context("no otp")?.clone();
    let mut progress = attempt;
    let nonce = progress.nonce.clone();
    for share in shares {
        if progress.complete {
            break;
        }
        progress = member.update_generate_root(&nonce, share).await?;
    }
    let encoded = progress
        .encoded_token()
        .context("the stored shares make no root token")?;
    Ok(vaultkeeper_vault::sys::generate_root::decode_root_token(
        encoded, &otp,
    )?)
}

/// Writes a secret of KV v2, which is not ready for a moment after it was mounted.
pub(crate) async fn write_secret(client: &Client, path: &str, body: &serde_json::Value) {
    wait::until_async("the engine to take a secret", DEADLINE, async || {
        client.write(path, body).await?;
        Ok(())
    })
    .await
    .unwrap();
}

/// Reason of a condition.
pub(crate) fn reason(cluster: &VaultCluster, type_: &str) -> String {
    condition(cluster, type_).map(|c| c.reason).unwrap_or_default()
}

/// A condition.
pub(crate) fn condition(cluster: &VaultCluster, type_: &str) -> Option<Condition> {
    let conditions = cluster
        .status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default();
    conditions.iter().find(|c| c.type_ == type_).cloned()
}

/// Whether the two things that no run may miss hold: the keys open this Vault, and no root token is left.
pub(crate) async fn assert_keys_and_no_root(stage: &Stage) -> anyhow::Result<()> {
    let secret = stage.keys().await?.context("the key Secret is not there")?;
    let data = secret.data.unwrap_or_default();
    if data.contains_key("root-token") {
        bail!("the key Secret still holds a root token");
    }
    let leader = |c: &VaultCluster| c.status.as_ref().and_then(|s| s.leader.clone());
    let cluster = stage.until("a leader", |c| leader(c).is_some()).await?;
    let leader = leader(&cluster).context("no leader")?;
    let root = stage.root(leader.trim_start_matches("main-").parse()?).await?;
    let own = root.lookup_self().await?.accessor;
    let accessors = root.list_accessors().await?;
    if !accessors.contains(&own) {
        bail!("the list of accessors lacks the one that asks: it proves nothing");
    }
    for accessor in accessors {
        match root.lookup_accessor(&accessor).await {
            Ok(info) if info.is_root() && info.accessor != own => {
                bail!("another root token is alive: {accessor}")
            }
            // Another kind of token, or one that expired between the two calls.
            Ok(_) | Err(Error::BadRequest { .. } | Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    root.revoke_self().await?;
    Ok(())
}

/// Changes fields of the spec of the cluster.
pub(crate) async fn change(stage: &Stage, spec: Value) {
    let body = json!({ "spec": spec });
    let patched = stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&body))
        .await;
    patched.unwrap();
}
