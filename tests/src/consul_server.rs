//! A real `consul agent -server` on loopback: TLS that asks for client certificates, ACLs that deny by default.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::certs::{Ca, Pair};
use crate::ports;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;
use crate::servers::{self, Server};
use crate::wait;

/// How long it may take until it leads and answers, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(150);

/// How long it gets to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// One server that leads itself. Dropping it stops it.
pub struct ConsulServer {
    process: Option<Process>,
    address: SocketAddr,
    config_file: PathBuf,
    ca: Ca,
    client: Pair,
    management: String,
    run: RunDir,
}

impl ConsulServer {
    /// Writes certificates and configuration, starts the process and waits until it leads.
    pub async fn start(run: &RunDir) -> anyhow::Result<Self> {
        let folder = run.folder("consul")?;
        let ip = ports::loopback()?;
        let [https, serf, rpc] = ports::free_ports(ip)?;
        let ca = Ca::new("Consul CA")?;
        let names = [
            ip.to_string(),
            "localhost".to_owned(),
            "server.dc1.consul".to_owned(),
        ];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let server = ca.server("server.dc1.consul", &names)?.write(&folder, "server")?;
        let ca_file = folder.join("ca.crt");
        fs::write(&ca_file, ca.cert_pem()).with_context(|| format!("cannot write {}", ca_file.display()))?;
        let management = random_uuid()?;
        let config = json!({
            "server": true, "bootstrap_expect": 1, "node_name": "consul", "datacenter": "dc1",
            "data_dir": folder.join("data"), "bind_addr": ip, "client_addr": ip,
            "ports": {"http": -1, "https": https, "dns": -1, "grpc": -1, "grpc_tls": -1, "serf_lan": serf, "serf_wan": -1, "server": rpc},
            "tls": {
                "defaults": {"ca_file": ca_file, "cert_file": server.cert, "key_file": server.key},
                "https": {"verify_incoming": true},
            },
            "acl": {"enabled": true, "default_policy": "deny", "tokens": {"initial_management": management, "agent": management}},
            "connect": {"enabled": false}, "disable_update_check": true, "performance": {"raft_multiplier": 1},
        });
        let config_file = folder.join("consul.json");
        crate::certs::write_private(&config_file, &config.to_string())?;
        let mut consul = Self {
            process: None,
            address: SocketAddr::new(ip, https),
            config_file,
            client: ca.client("vault", &[])?,
            ca,
            management,
            run: run.clone(),
        };
        consul.start_again().await?;
        Ok(consul)
    }

    /// Starts it on its old data after [`Self::stop`], and waits until it leads.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "Consul runs already");
        let spec = ProcessSpec::new("consul", servers::path(Server::Consul)?, &self.run).args([
            "agent".to_owned(),
            format!("-config-file={}", self.config_file.display()),
        ]);
        self.process = Some(Process::start(spec, &self.run)?);
        let looked = wait::until_async("Consul to lead", READY_DEADLINE, async || {
            let leader = self.call(Method::GET, "status/leader", None).await?;
            ensure!(leader.as_str().is_some_and(|l| !l.is_empty()), "nobody leads");
            // ACLs come a moment after the leader.
            self.call(Method::GET, "acl/token/self", None).await.map(drop)
        });
        looked
            .await
            .with_context(|| format!("the end of its log:\n{}", self.log_tail(20)))
    }

    /// Ends it by SIGTERM and keeps its data.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |process| process.stop(GRACE))
    }

    /// `https://<address>:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The CA of its certificate and of its clients', in PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.cert_pem()
    }

    /// A certificate with which clients are let in.
    pub fn client(&self) -> &Pair {
        &self.client
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::process::tail(&self.run.log("consul"), lines)
    }

    /// A new token that may do what these rules (HCL) say.
    pub async fn token(&self, policy: &str, rules: &str) -> anyhow::Result<String> {
        let body = json!({"Name": policy, "Rules": rules});
        self.call(Method::PUT, "acl/policy", Some(body)).await?;
        let body = json!({"Policies": [{"Name": policy}]});
        let token = self.call(Method::PUT, "acl/token", Some(body)).await?;
        let secret = token.get("SecretID").and_then(Value::as_str);
        secret.map(str::to_owned).context("Consul made no token")
    }

    /// A call of the API below `/v1/` with the right to everything. `null` for an answer that is not JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self
            .http_client()?
            .request(method, format!("{}/v1/{path}", self.url()))
            .header("X-Consul-Token", &self.management)
            .timeout(CALL);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("cannot call {path}"))?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    fn http_client(&self) -> anyhow::Result<reqwest::Client> {
        crate::install_crypto();
        let ca = reqwest::Certificate::from_pem(self.ca_pem().as_bytes())
            .context("cannot read a CA of our own")?;
        let pair = format!("{}{}", self.client.cert_pem, self.client.key_pem);
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .identity(
                reqwest::Identity::from_pem(pair.as_bytes())
                    .context("cannot read a certificate of our own")?,
            )
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")
    }
}

/// A token's id is a UUID; a good password, too.
pub(crate) fn random_uuid() -> anyhow::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}
