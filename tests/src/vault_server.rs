//! Real `vault server` processes on loopback: TLS by a CA of their own, Raft storage, restarts that keep the data.

mod config;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use crate::certs::{Ca, PairFiles};
use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use crate::wait;

pub use config::Listener;

/// How long a server may take until its port answers, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(180);

/// How long a server gets to end by itself: a SIGTERM waits for an init under way.
const GRACE: Duration = Duration::from_secs(30);

/// How long one look at the server may take.
const LOOK: Duration = Duration::from_secs(2);

/// Where one server will listen. Chosen before any is started, so that each can be told of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The API's.
    pub api: SocketAddr,
    /// The cluster port's, for Raft and forwarding.
    pub cluster: SocketAddr,
}

impl Addresses {
    /// Free ports on a loopback address of their own.
    pub fn free() -> anyhow::Result<Self> {
        Self::free_on(ports::loopback()?)
    }

    /// Free ports on this address.
    pub fn free_on(address: IpAddr) -> anyhow::Result<Self> {
        let [api, cluster] = ports::free_ports(address)?;
        Ok(Self {
            api: SocketAddr::new(address, api),
            cluster: SocketAddr::new(address, cluster),
        })
    }

    /// `https://<address>:<port>` of the API.
    pub fn url(&self) -> String {
        format!("https://{}", self.api)
    }
}

/// What one server is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its Raft node id; also the name of its process, data folder and files. Unique in the run.
    pub node_id: String,
    /// Where it listens.
    pub addresses: Addresses,
    /// The members it tries to join; may hold itself.
    pub retry_join: Vec<Addresses>,
    /// The DNS names in its certificate, beside its address. The first is what other members ask for.
    pub dns_names: Vec<String>,
    /// HCL that is appended to the configuration: seals, telemetry, `raw_storage_endpoint = true`.
    pub extra: String,
    /// The whole configuration instead of the one that is built from the fields above.
    pub text: Option<String>,
    /// Environment variables of the process, such as those of a seal.
    pub env: Vec<(String, String)>,
}

impl Config {
    /// A single server of this node id on free ports.
    pub fn single(node_id: &str) -> anyhow::Result<Self> {
        Ok(Self {
            node_id: node_id.to_owned(),
            addresses: Addresses::free()?,
            retry_join: Vec::new(),
            dns_names: vec!["vault.test".to_owned(), "localhost".to_owned()],
            extra: String::new(),
            text: None,
            env: Vec::new(),
        })
    }

    /// Servers that join each other: `<prefix>-0`, `<prefix>-1`, …
    pub fn cluster(prefix: &str, members: usize) -> anyhow::Result<Vec<Self>> {
        let mut configs = (0..members)
            .map(|number| Self::single(&format!("{prefix}-{number}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let all: Vec<_> = configs.iter().map(|config| config.addresses).collect();
        for config in &mut configs {
            config.retry_join.clone_from(&all);
        }
        Ok(configs)
    }
}

/// One server: running, or stopped with its data kept. Dropping it stops it.
#[derive(Debug)]
pub struct VaultServer {
    process: Option<Process>,
    config: Config,
    config_file: PathBuf,
    certificate: PairFiles,
    ca_pem: String,
    data: PathBuf,
    run: RunDir,
}

impl VaultServer {
    /// Writes certificate and configuration, starts the process and waits until its API answers.
    ///
    /// The server is as it comes: not initialised, or sealed.
    pub async fn start(config: Config, ca: &Ca, run: &RunDir) -> anyhow::Result<Self> {
        let folder = run.folder(Path::new("vault").join(&config.node_id))?;
        let data = folder.join("data");
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let address = config.addresses.api.ip().to_string();
        let names: Vec<&str> = config
            .dns_names
            .iter()
            .map(String::as_str)
            .chain([address.as_str()])
            .collect();
        let certificate = ca.server(&config.node_id, &names)?.write(&folder, "server")?;
        let ca_file = folder.join("ca.crt");
        fs::write(&ca_file, ca.cert_pem()).with_context(|| format!("cannot write {}", ca_file.display()))?;
        let config_file = folder.join("config.hcl");
        let text = match &config.text {
            Some(text) => text.clone(),
            None => config::text(
                &config,
                &Listener {
                    certificate: certificate.clone(),
                    ca: ca_file,
                },
                &data,
            ),
        };
        fs::write(&config_file, text).with_context(|| format!("cannot write {}", config_file.display()))?;
        let mut server = Self {
            process: None,
            config,
            config_file,
            certificate,
            ca_pem: ca.cert_pem(),
            data,
            run: run.clone(),
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts a stopped server on its old data, addresses and configuration file, and waits until its API answers.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.process.is_none(),
            "{} is running already",
            self.config.node_id
        );
        self.spawn()?;
        self.wait_until_answering().await
    }

    /// Starts a stopped server and does not wait, for servers that are meant to fail.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let mut spec =
            ProcessSpec::new(&self.config.node_id, servers::path(Server::Vault)?, &self.run).args([
                "server".to_owned(),
                format!("-config={}", self.config_file.display()),
            ]);
        spec.env.extend(self.config.env.iter().cloned());
        self.process = Some(Process::start(spec, &self.run)?);
        Ok(())
    }

    /// Waits until the API answers, whatever it answers.
    pub async fn wait_until_answering(&self) -> anyhow::Result<()> {
        let client = self.http_client()?;
        let url = format!("{}/v1/sys/seal-status", self.url());
        let process = self.running()?;
        let what = format!("{}'s API", self.config.node_id);
        let looked = wait::until_async(&what, READY_DEADLINE, || async {
            if let Err(dead) = process.check_running() {
                return Ok(Err(dead));
            }
            client.get(&url).timeout(LOOK).send().await?;
            Ok(Ok(()))
        });
        match looked.await {
            Ok(answering_or_dead) => answering_or_dead,
            Err(error) => Err(error.context(format!("the end of its log:\n{}", process.log_tail(20)))),
        }
    }

    /// The API's address, `https://…`.
    pub fn url(&self) -> String {
        self.config.addresses.url()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.config.addresses
    }

    /// Its Raft node id.
    pub fn node_id(&self) -> &str {
        &self.config.node_id
    }

    /// The CA that its clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where its configuration is; what is written there counts from the next start (or SIGHUP).
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Where its certificate and key are; replace them and send SIGHUP to see them reloaded.
    pub fn certificate(&self) -> &PairFiles {
        &self.certificate
    }

    /// Its Raft data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::process::tail(&self.run.log(&self.config.node_id), lines)
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Ends it by SIGTERM and keeps its data.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |process| process.stop(GRACE))
    }

    /// Ends it by SIGKILL and keeps its data.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    /// Sends it a signal: SIGHUP, or SIGSTOP and SIGCONT to make it hang for a while.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.running()?.signal(signal)
    }

    /// Throws a stopped server's data away, as losing its volume would.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.process.is_none(),
            "{} must be stopped before its data is removed",
            self.config.node_id
        );
        fs::remove_dir_all(&self.data)
            .and_then(|()| fs::create_dir(&self.data))
            .with_context(|| format!("cannot empty {}", self.data.display()))
    }

    /// Whether anything accepts connections on the API's port.
    pub fn port_is_open(&self) -> bool {
        TcpStream::connect_timeout(&self.config.addresses.api, LOOK).is_ok()
    }

    /// An HTTP client that trusts this server's CA and nothing else.
    pub fn http_client(&self) -> anyhow::Result<reqwest::Client> {
        crate::install_crypto();
        let ca =
            reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).context("cannot read a CA of our own")?;
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make an HTTP client")
    }

    fn running(&self) -> anyhow::Result<&Process> {
        match &self.process {
            Some(process) => Ok(process),
            None => bail!("{} is stopped", self.config.node_id),
        }
    }
}
