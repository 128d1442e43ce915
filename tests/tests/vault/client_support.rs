//! Servers for the client's tests: one that all share, and those that a test starts for itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::ensure;
use tokio::sync::OnceCell;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::init::{InitRequest, InitResponse, Split};
use vaultkeeper_vault::{Client, SecretString, Token};

use crate::TESTBED;

/// How long a server may take to become active after its last share.
const ACTIVE_DEADLINE: Duration = Duration::from_secs(150);

/// How long one call may take, and a connection for it. Long: the machine may run several clusters at a time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a server, without a token.
pub(crate) fn client_of(server: &VaultServer) -> Client {
    Client::builder(server.url())
        .ca_pem(server.ca_pem())
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()
        .unwrap()
}

/// A server of one member that is unsealed with its only share, a client of it without a token, and that share with the root
/// token.
pub(crate) async fn unsealed(name: &str, ca: &Ca, run: &RunDir) -> (VaultServer, Client, InitResponse) {
    let server = VaultServer::start(Config::single(name).unwrap(), ca, run)
        .await
        .unwrap();
    let client = client_of(&server);
    let keys = client.init(&split(1, 1)).await.unwrap();
    unseal(&client, &keys.keys).await;
    (server, client, keys)
}

/// A server of one test. It ends with it.
pub(crate) struct Node {
    /// Without a token.
    pub(crate) client: Client,
    server: Mutex<VaultServer>,
    url: String,
    _run: Option<OwnedRun>,
}

impl Node {
    /// A single server, not initialised.
    pub(crate) async fn start(node_id: &str) -> Self {
        let run = OwnedRun::create("vault-client", TESTBED).unwrap();
        let ca = Ca::new("vault-ca").unwrap();
        let server = VaultServer::start(Config::single(node_id).unwrap(), &ca, &run)
            .await
            .unwrap();
        Self::new(server, Some(run))
    }

    /// Three servers that join each other, not initialised: `<prefix>-0` and so on.
    pub(crate) async fn start_cluster(prefix: &str) -> (Vec<Self>, OwnedRun) {
        let run = OwnedRun::create("vault-client", TESTBED).unwrap();
        let ca = Ca::new("vault-ca").unwrap();
        let mut nodes = Vec::new();
        for config in Config::cluster(prefix, 3).unwrap() {
            nodes.push(Self::new(
                VaultServer::start(config, &ca, &run).await.unwrap(),
                None,
            ));
        }
        (nodes, run)
    }

    fn new(server: VaultServer, run: Option<OwnedRun>) -> Self {
        let client = client_of(&server);
        Self {
            client,
            url: server.url(),
            server: Mutex::new(server),
            _run: run,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A file of this name in the test's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.lock().unwrap().data().with_file_name(name)
    }

    /// Ends the process and keeps its data.
    pub(crate) fn stop(&self) {
        self.server.lock().unwrap().stop().unwrap();
    }

    /// Ends the process without a warning.
    pub(crate) fn kill(&self) {
        self.server.lock().unwrap().kill().unwrap();
    }
}

/// Shamir shares without encryption.
pub(crate) fn split(shares: u8, threshold: u8) -> InitRequest {
    InitRequest::Shamir(Split {
        shares,
        threshold,
        pgp_keys: Vec::new(),
    })
}

/// Gives shares until the server is open, and waits until it is active or a standby that knows the active node.
pub(crate) async fn unseal(client: &Client, shares: &[SecretString]) {
    for share in shares {
        client.unseal(share).await.unwrap();
    }
    wait::until_async("the server to serve", ACTIVE_DEADLINE, || async {
        let health = client.health().await?;
        ensure!(health.is_unsealed(), "still sealed: {health:?}");
        let leader = client.leader().await?;
        ensure!(
            leader.is_self || !leader.leader_address.is_empty(),
            "no leader yet: {leader:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

/// The initialised, open server that tests share, each with a client of its own: connections belong to one runtime.
pub(crate) struct Solo {
    /// Without a token.
    pub(crate) client: Client,
    /// With the root token.
    pub(crate) root: Client,
    /// Two of these three unseal.
    pub(crate) shares: &'static [SecretString],
    pub(crate) ca_pem: String,
    pub(crate) address: SocketAddr,
}

struct Shared {
    server: VaultServer,
    keys: InitResponse,
    // A static is never dropped: the run's reaper ends the server when this process ends, however it does.
    _run: OwnedRun,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The shared server, started by whoever asks first.
pub(crate) async fn solo() -> Solo {
    let Shared {
        server,
        keys,
        _run: _,
    } = SHARED.get_or_init(start_shared).await;
    let client = client_of(server);
    let token: &Token = &keys.root_token;
    Solo {
        root: client.with_token(token),
        client,
        shares: &keys.keys,
        ca_pem: server.ca_pem().to_owned(),
        address: server.addresses().api,
    }
}

async fn start_shared() -> Shared {
    let run = OwnedRun::create("vault-client", TESTBED).unwrap();
    let ca = Ca::new("vault-ca").unwrap();
    let server = VaultServer::start(Config::single("solo").unwrap(), &ca, &run)
        .await
        .unwrap();
    let client = client_of(&server);
    let keys = client.init(&split(3, 2)).await.unwrap();
    unseal(&client, &keys.keys[..2]).await;
    Shared {
        server,
        keys,
        _run: run,
    }
}
