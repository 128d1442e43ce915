//! etcd, the API server and the controller manager: a Kubernetes without nodes, for tests and under the whole node.
//!
//! Without root it runs on a loopback address of its own; the node gives it a network namespace instead.

mod client;
mod files;
mod flags;
mod kubeconfig;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, PostParams};

use crate::certs::Ca;
use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use crate::wait;

pub use client::from_file as client_from_file;
pub use files::Files;

/// How long the API server may take until it is ready, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(180);

/// How long a server gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// How and where a control plane runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The network namespace that all its processes run in.
    pub netns: Option<String>,
    /// The address that the API server listens on.
    pub bind: IpAddr,
    /// The address under which clients reach it.
    pub address: IpAddr,
    /// The API server's port.
    pub api_port: u16,
    /// etcd's ports, for clients and for peers; etcd listens on 127.0.0.1 in a namespace, else on `address`.
    pub etcd_ports: [u16; 2],
    /// Whether `address` becomes the endpoint of the Service `kubernetes`. A loopback address may not.
    pub publish: bool,
    /// The subnet of Services, such as `10.96.0.0/16`.
    pub service_subnet: String,
    /// Whether a controller manager runs: without it nothing is garbage-collected, no `default` ServiceAccount made.
    pub controller_manager: bool,
    /// Further arguments of the API server.
    pub api_args: Vec<String>,
    /// Further arguments of the controller manager.
    pub controller_manager_args: Vec<String>,
}

impl Options {
    /// On a loopback address of its own and free ports, with a controller manager.
    pub fn loopback() -> anyhow::Result<Self> {
        let address = ports::loopback()?;
        let [api_port, etcd_client, etcd_peer] = ports::free_ports(address)?;
        Ok(Self {
            netns: None,
            bind: address,
            address,
            api_port,
            etcd_ports: [etcd_client, etcd_peer],
            publish: false,
            service_subnet: "10.96.0.0/16".to_owned(),
            controller_manager: true,
            api_args: Vec::new(),
            controller_manager_args: Vec::new(),
        })
    }

    /// In a network namespace, on the usual ports, reached under the node's address.
    pub fn in_netns(netns: &str, address: IpAddr, service_subnet: &str) -> Self {
        Self {
            netns: Some(netns.to_owned()),
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            address,
            api_port: 6443,
            etcd_ports: [2379, 2380],
            publish: true,
            service_subnet: service_subnet.to_owned(),
            controller_manager: true,
            api_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }

    fn etcd_address(&self) -> IpAddr {
        if self.netns.is_some() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            self.address
        }
    }
}

/// A running control plane. Dropping it stops it.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of dropping: whoever talks to another goes first.
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Process,
    run: RunDir,
    url: String,
    ca: Ca,
    files: Files,
}

impl ControlPlane {
    /// Starts the servers and waits until the API server says that it is ready.
    ///
    /// In a namespace: call it on a thread that is inside (`Netns::block_on`).
    pub async fn start(options: Options, run: &RunDir) -> anyhow::Result<Self> {
        let control_plane = Self::launch(options, run).await?;
        control_plane.wait_for_controllers().await?;
        Ok(control_plane)
    }

    /// [`ControlPlane::start`], but the controllers may not have begun to work yet.
    pub async fn launch(options: Options, run: &RunDir) -> anyhow::Result<Self> {
        let folder = run.folder("pki")?;
        let url = format!("https://{}:{}", options.address, options.api_port);
        let ca = Ca::new("kubernetes-ca")?;
        let files = files::write(&options, &ca, &url, folder)?;

        let etcd = Process::start(
            ProcessSpec::new("etcd", servers::path(Server::Etcd)?, run)
                .args(flags::etcd(&options, &files, &run.folder("etcd")?))
                .netns(options.netns.as_deref()),
            run,
        )?;
        // It waits for etcd by itself.
        let api_server = Process::start(
            ProcessSpec::new("kube-apiserver", servers::path(Server::KubeApiserver)?, run)
                .args(flags::api_server(&options, &files))
                .args(options.api_args.clone())
                .netns(options.netns.as_deref()),
            run,
        )?;
        let mut control_plane = Self {
            controller_manager: None,
            api_server,
            etcd,
            run: run.clone(),
            url,
            ca,
            files,
        };
        control_plane.wait_until_ready().await?;
        if options.controller_manager {
            control_plane.start_controller_manager(&options)?;
        }
        Ok(control_plane)
    }

    /// The API server's address, `https://…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The cluster's CA, for further certificates (kubelet, users).
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Where its files are.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The run it belongs to.
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// A client of a cluster administrator.
    ///
    /// A client lives in the async runtime that made it: each test asks for its own.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        client::from_file(&self.files.admin_kubeconfig).await
    }

    /// The same, but an answer such as "not now" (429) is given back instead of being asked for again for minutes.
    pub async fn client_that_asks_once(&self) -> anyhow::Result<kube::Client> {
        let text = std::fs::read_to_string(&self.files.admin_kubeconfig)?;
        let mut config = client::config_from_text(&text).await?;
        config.default_retry = false;
        kube::Client::try_from(config).context("cannot make a Kubernetes client")
    }

    /// Writes `<name>.kubeconfig` for a user known by a client certificate, and gives its path.
    pub fn kubeconfig_for(&self, name: &str, user: &str, groups: &[&str]) -> anyhow::Result<PathBuf> {
        kubeconfig::write(&self.files.folder, name, &self.url, &self.ca, user, groups)
    }

    /// A client of a user known by a client certificate.
    pub async fn client_for_user(&self, user: &str, groups: &[&str]) -> anyhow::Result<kube::Client> {
        let pair = self.ca.client(user, groups)?;
        let text = kubeconfig::text(&self.url, &self.ca, user, &pair)?;
        client::from_text(&text).await
    }

    /// A token of a ServiceAccount, for these audiences (none: the API server's own), good for an hour.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
    ) -> anyhow::Result<String> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences.iter().map(|audience| (*audience).to_owned()).collect()),
                expiration_seconds: Some(3600),
                bound_object_ref: None,
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("cannot request a token of ServiceAccount {namespace}/{name}"))?;
        answer
            .status
            .and_then(|status| status.token)
            .context("the API server answered a TokenRequest without a token")
    }

    /// A client that is a ServiceAccount, to see what RBAC allows it.
    pub async fn client_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<kube::Client> {
        let token = self.service_account_token(namespace, name, &[]).await?;
        let mut config = client::config_from_text(&kubeconfig::anonymous(&self.url, &self.ca)?).await?;
        config.auth_info.token = Some(token.into());
        kube::Client::try_from(config).context("cannot make a Kubernetes client")
    }

    /// Makes a namespace of a unique name that begins with `prefix`, and waits for its `default` ServiceAccount.
    pub async fn create_namespace(&self, prefix: &str) -> anyhow::Result<String> {
        self.create_namespace_with(prefix, BTreeMap::new()).await
    }

    /// [`Self::create_namespace`] with labels that count from the first moment: of those that come later the API server's
    /// admission learns through a watch.
    pub async fn create_namespace_with(
        &self,
        prefix: &str,
        labels: BTreeMap<String, String>,
    ) -> anyhow::Result<String> {
        let client = self.client().await?;
        let mut wanted = Namespace::default();
        wanted.metadata.labels = Some(labels);
        wanted.metadata.generate_name = Some(format!("{prefix}-"));
        let made = Api::all(client.clone())
            .create(&PostParams::default(), &wanted)
            .await
            .with_context(|| format!("cannot make a namespace {prefix}-…"))?;
        let name = made
            .metadata
            .name
            .context("the API server made a namespace without a name")?;
        if self.controller_manager.is_some() {
            client::wait_for_service_account(client, &name, "default").await?;
        }
        Ok(name)
    }

    /// Stops all, the controller manager first.
    pub fn stop(self) -> anyhow::Result<()> {
        let Self {
            controller_manager,
            api_server,
            etcd,
            run: _,
            url: _,
            ca: _,
            files: _,
        } = self;
        if let Some(controller_manager) = controller_manager {
            controller_manager.stop(GRACE)?;
        }
        api_server.stop(GRACE)?;
        etcd.stop(GRACE)
    }

    /// Lets all run on after this program has ended, until the run is destroyed.
    pub fn detach(self) {
        let Self {
            controller_manager,
            api_server,
            etcd,
            run: _,
            url: _,
            ca: _,
            files: _,
        } = self;
        if let Some(controller_manager) = controller_manager {
            controller_manager.detach();
        }
        api_server.detach();
        etcd.detach();
    }

    /// An error with the end of the right log if one of its programs has ended.
    pub fn check_running(&self) -> anyhow::Result<()> {
        // etcd first: without it the API server ends, too, and its log only says so.
        self.etcd.check_running()?;
        self.api_server.check_running()?;
        self.controller_manager
            .as_ref()
            .map_or(Ok(()), Process::check_running)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let answer = wait::until_async("the API server's /readyz", READY_DEADLINE, || async {
            if let Err(dead) = self.check_running() {
                return Ok(Err(dead));
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let text = client.request_text(request).await?;
            if text.trim() != "ok" {
                bail!("it says: {text}");
            }
            Ok(Ok(()))
        });
        match answer.await {
            Ok(ready_or_dead) => ready_or_dead,
            Err(error) => Err(error.context(format!(
                "the API server is not ready; the end of its log:\n{}",
                self.api_server.log_tail(20)
            ))),
        }
    }

    fn start_controller_manager(&mut self, options: &Options) -> anyhow::Result<()> {
        let user = "system:kube-controller-manager";
        let kubeconfig = self.kubeconfig_for("kube-controller-manager", user, &[])?;
        let process = Process::start(
            ProcessSpec::new(
                "kube-controller-manager",
                servers::path(Server::KubeControllerManager)?,
                &self.run,
            )
            .args(flags::controller_manager(options, &self.files, &kubeconfig))
            .args(options.controller_manager_args.clone())
            .netns(options.netns.as_deref()),
            &self.run,
        )?;
        self.controller_manager = Some(process);
        Ok(())
    }

    /// Waits for the `default` ServiceAccount: the sign that the controllers, if there are any, have begun to work.
    pub async fn wait_for_controllers(&self) -> anyhow::Result<()> {
        if self.controller_manager.is_none() {
            return Ok(());
        }
        let waited = client::wait_for_service_account(self.client().await?, "default", "default").await;
        self.check_running()?;
        waited
    }
}
