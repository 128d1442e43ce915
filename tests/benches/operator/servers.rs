//! The servers under the operator, with their audit logs, and the operator itself.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_operator::connect::{Connect as _, HttpsConnect, Node};
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::process_kubelet::ProcessKubelet;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;

use super::counts::{self, Counts};
use super::program;

const DEADLINE: Duration = Duration::from_secs(180);
/// Namespace of the VaultCluster `main`.
pub(crate) const CLUSTER: &str = "vault";
const OPERATOR: &str = "vaultkeeper";
/// User as which the operator is seen in the API server's audit log.
const USER: &str = "bench-operator";
const MEMBERS: u32 = 3;

/// All of them. Dropping it stops them.
pub(crate) struct Servers {
    kubelet: ProcessKubelet,
    control_plane: ControlPlane,
    run: RunDir,
    kubeconfig: PathBuf,
    reviewer: String,
    /// As an administrator.
    pub(crate) client: Client,
    /// Where the roles lie.
    pub(crate) namespaces: Vec<String>,
}

impl Servers {
    /// Starts them, and creates the VaultCluster.
    pub(crate) async fn start(run: &RunDir, namespaces: usize) -> anyhow::Result<Self> {
        let policy = run.join("audit-policy.yaml");
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
        fs::write(&policy, text)?;
        let mut options = Options::loopback()?;
        options.api_args = vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", run.log("kubernetes-audit").display()),
            // Their own limits are for many users, and there is one here.
            "--enable-priority-and-fairness=false".to_owned(),
        ];
        let control_plane = ControlPlane::start(options, run).await?;
        let client = control_plane.client().await?;
        install(&client).await?;
        let spaces: Vec<String> = (0..namespaces).map(|number| format!("apps-{number}")).collect();
        let api: Api<Namespace> = Api::all(client.clone());
        for name in spaces.iter().map(String::as_str).chain([CLUSTER, OPERATOR]) {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            api.create(&PostParams::default(), &namespace).await?;
        }
        accounts(&client).await?;
        let reviewer = control_plane
            .service_account_token(OPERATOR, "reviewer", &[])
            .await?;
        let kubeconfig = control_plane.kubeconfig_for("operator", USER, &["system:masters"])?;
        let kubelet = ProcessKubelet::start(client.clone(), CLUSTER, run);
        create_cluster(&client, &spaces).await?;
        Ok(Self {
            kubelet,
            control_plane,
            run: run.clone(),
            kubeconfig,
            reviewer,
            client,
            namespaces: spaces,
        })
    }

    /// Starts this very program as the operator.
    pub(crate) fn start_operator(&self, name: &str) -> anyhow::Result<Process> {
        let spec = ProcessSpec::new(name, std::env::current_exe()?, &self.run)
            .env(program::KUBECONFIG, self.kubeconfig.display().to_string())
            .env(program::NAMESPACE, OPERATOR)
            .env(program::API_URL, self.control_plane.url())
            .env(program::API_CA, self.control_plane.ca().cert_pem())
            .env(program::REVIEWER, self.reviewer.as_str());
        Process::start(spec, &self.run)
    }

    /// Waits until all members serve.
    pub(crate) async fn until_available(&self) -> anyhow::Result<()> {
        let clusters: Api<VaultCluster> = Api::namespaced(self.client.clone(), CLUSTER);
        wait::until_async("all members to serve", DEADLINE, async || {
            let status = clusters.get("main").await?.status.unwrap_or_default();
            let serve = |c: &_| {
                let c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition = c;
                c.type_ == "Available" && c.reason == "AllMembersServe"
            };
            if status.conditions.iter().any(serve) && status.voters == Some(MEMBERS.cast_signed()) {
                return Ok(());
            }
            bail!("it says {:?}", status.conditions)
        })
        .await
    }

    /// Waits until a new operator holds the Lease.
    pub(crate) async fn until_leading(&self, operator: &Process) -> anyhow::Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), OPERATOR);
        wait::until_async("the operator to lead", DEADLINE, async || {
            operator.check_running()?;
            let spec = leases.get("vaultkeeper-operator").await?.spec.unwrap_or_default();
            if spec.holder_identity.is_some_and(|holder| !holder.is_empty()) {
                return Ok(());
            }
            bail!("nobody leads")
        })
        .await
    }

    /// A client of the active member, without a token.
    pub(crate) async fn vault(&self) -> anyhow::Result<vaultkeeper_vault::Client> {
        let clusters: Api<VaultCluster> = Api::namespaced(self.client.clone(), CLUSTER);
        let leader = clusters
            .get("main")
            .await?
            .status
            .and_then(|status| status.leader);
        let leader = leader.context("no leader")?;
        let ordinal: u32 = leader.trim_start_matches("main-").parse()?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), CLUSTER);
        let tls = secrets.get(&names::tls_secret("main")).await?;
        let ca = tls
            .data
            .and_then(|mut data| data.remove(names::CA_KEY))
            .context("no CA")?;
        let address = self.kubelet.address(&leader).await.context("no address")?;
        let node = Node {
            host: names::member_host(CLUSTER, "main", ordinal),
            address: std::net::SocketAddr::new(address, names::API_PORT),
            ca: String::from_utf8(ca.0)?,
        };
        Ok(HttpsConnect.connect(&node, Duration::from_secs(30))?)
    }

    /// The API server's audit log, then those of the members.
    fn logs(&self) -> Vec<PathBuf> {
        let members = (0..MEMBERS).map(|ordinal| {
            self.run
                .log(&format!("{CLUSTER}-{}", names::member("main", ordinal)))
        });
        std::iter::once(self.run.log("kubernetes-audit"))
            .chain(members)
            .collect()
    }

    /// How long each log is.
    pub(crate) fn positions(&self) -> anyhow::Result<Vec<u64>> {
        let length = |log: &PathBuf| fs::metadata(log).map(|meta| meta.len());
        let lengths: Result<_, _> = self.logs().iter().map(length).collect();
        lengths.context("an audit log is missing")
    }

    /// What was asked since then.
    pub(crate) fn counts_since(&self, positions: &[u64]) -> anyhow::Result<Counts> {
        let logs = self.logs();
        let (of_kubernetes, of_vault) = logs.split_first().context("no log")?;
        let (at, ats) = positions.split_first().context("no position")?;
        let kubernetes = counts::kubernetes(of_kubernetes, *at, USER)?;
        let vault: Vec<_> = of_vault.iter().zip(ats.iter().copied()).collect();
        counts::with_vault(kubernetes, &vault)
    }
}

async fn install(client: &Client) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in vaultkeeper_crds::generate::manifests()? {
        let crd: CustomResourceDefinition = serde_yaml::from_str(&manifest.yaml)?;
        crds.create(&PostParams::default(), &crd).await?;
        let name = crd.name_any();
        wait::until_async("the API server to serve a CRD", DEADLINE, async || {
            let conditions = crds
                .get(&name)
                .await?
                .status
                .and_then(|s| s.conditions)
                .unwrap_or_default();
            if conditions
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True")
            {
                return Ok(());
            }
            bail!("not yet")
        })
        .await?;
    }
    Ok(())
}

async fn accounts(client: &Client) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), OPERATOR);
    for name in ["vaultkeeper-operator", "reviewer"] {
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts.create(&PostParams::default(), &account).await?;
    }
    let binding = json!({
        "metadata": {"name": "reviewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": OPERATOR}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    Ok(())
}

async fn create_cluster(client: &Client, namespaces: &[String]) -> anyhow::Result<()> {
    let access: Vec<_> = namespaces
        .chunks(200)
        .map(|names| json!({"namespaces": names, "pathPrefixes": ["secret/data/{{namespace}}/"]}))
        .collect();
    let cluster = json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": "main", "namespace": CLUSTER},
        "spec": {
            "version": "1.21.1", "replicas": MEMBERS, "profile": "Hardened",
            "storage": {"raft": {"size": "1Gi"}},
            "seal": {"shamir": {"shares": 3, "threshold": 2}},
            "configuration": {
                "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
                "audit": [{"path": "out", "stdout": {}}],
            },
            "access": access,
        },
    });
    let cluster: VaultCluster = serde_json::from_value(cluster)?;
    let clusters: Api<VaultCluster> = Api::namespaced(client.clone(), CLUSTER);
    clusters.create(&PostParams::default(), &cluster).await?;
    Ok(())
}
