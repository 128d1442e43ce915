//! Real members of one cluster for tests of the agent, and what can be done to them.

use std::net::SocketAddr;

use anyhow::ensure;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, SecretString, Token};

use crate::agent_support::DEADLINE;
use crate::client_support::{client_of, split, unseal};

/// A member with the root token.
pub(crate) struct Member {
    pub(crate) root: Client,
    pub(crate) address: SocketAddr,
    pub(crate) server: VaultServer,
}

/// Members of one cluster.
pub(crate) struct Members {
    pub(crate) list: Vec<Member>,
    pub(crate) ca_pem: String,
    pub(crate) root_token: Token,
    shares: Vec<SecretString>,
}

impl Members {
    /// All of them unsealed, the first one active.
    pub(crate) async fn start(prefix: &str, count: usize, run: &RunDir) -> Self {
        let ca = Ca::new("vault-ca").unwrap();
        let mut servers = Vec::new();
        for config in Config::cluster(prefix, count).unwrap() {
            let server = VaultServer::start(config, &ca, run).await.unwrap();
            let client = client_of(&server);
            servers.push((server, client));
        }
        let keys = servers[0].1.init(&split(1, 1)).await.unwrap();
        let mut list = Vec::new();
        for (server, client) in servers {
            wait::until_async("the member to join", DEADLINE, || async {
                ensure!(client.is_initialized().await?, "not joined yet");
                Ok(())
            })
            .await
            .unwrap();
            unseal(&client, &keys.keys).await;
            list.push(Member {
                root: client.with_token(&keys.root_token),
                address: server.addresses().api,
                server,
            });
        }
        Self {
            list,
            ca_pem: ca.cert_pem(),
            root_token: keys.root_token,
            shares: keys.keys,
        }
    }

    /// Waits until all members serve and vote, and one may fail.
    pub(crate) async fn until_complete(&self) {
        for member in &self.list {
            wait::until_async("all members to serve", DEADLINE, || async {
                let leader = member.root.leader().await?;
                ensure!(!leader.leader_address.is_empty(), "no leader is known");
                let raft = member.root.raft_configuration().await?;
                ensure!(raft.voters() == self.list.len(), "{} vote", raft.voters());
                let autopilot = member.root.autopilot_state().await?;
                ensure!(
                    autopilot.healthy && autopilot.failure_tolerance > 0,
                    "no member may fail"
                );
                Ok(())
            })
            .await
            .unwrap();
        }
    }

    /// The number of the active member.
    pub(crate) async fn active(&self) -> usize {
        wait::until_async("an active member", DEADLINE, || async {
            for (number, member) in self.list.iter().enumerate() {
                if member.root.leader().await.is_ok_and(|leader| leader.is_self) {
                    return Ok(number);
                }
            }
            anyhow::bail!("none is")
        })
        .await
        .unwrap()
    }

    /// Opens a sealed member.
    pub(crate) async fn unseal(&self, number: usize) {
        self.unseal_over(&self.list[number].root).await;
    }

    /// Gives all members their shares and waits for none: only a majority has an active one.
    pub(crate) async fn give_shares_to_all(&self) {
        for member in &self.list {
            for share in &self.shares {
                member.root.unseal(share).await.unwrap();
            }
        }
    }

    /// The same as [`Self::unseal`] for the member that this client calls.
    pub(crate) async fn unseal_over(&self, client: &Client) {
        unseal(client, &self.shares).await;
    }
}
