//! The installed product with the quickstart, and how the tests reach its parts.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use serde_json::Value;
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_tests::cluster::Cluster;
use vaultkeeper_tests::helm;
use vaultkeeper_tests::images::Image;
use vaultkeeper_tests::progress::say;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::generate_root::decode_root_token;
use vaultkeeper_vault::{Client, SecretString, Token};

use crate::shared::cluster;

/// Namespace of the operator and the injector: keys live here.
pub(crate) const SYSTEM: &str = "vaultkeeper-system";
/// Namespaces and name of examples/quickstart.yaml.
pub(crate) const VAULT: &str = "vault";
pub(crate) const SHOP: &str = "shop";
pub(crate) const MAIN: &str = "main";
/// For what takes seconds on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// The installation, held by one test at a time.
pub(crate) struct Installation {
    pub(crate) cluster: &'static Cluster,
    /// The root token of the initialisation, read from the key Secret while it was there.
    pub(crate) first_root_token: Token,
}

static INSTALLED: OnceLock<Option<Result<Mutex<Installation>, String>>> = OnceLock::new();

/// The installation, made by whoever asks first. `None` where no node can run.
pub(crate) fn installation() -> Option<MutexGuard<'static, Installation>> {
    let installed = INSTALLED.get_or_init(|| {
        let cluster = cluster()?;
        Some(
            install(cluster)
                .map(Mutex::new)
                .map_err(|error| format!("{error:#}\n{}", hints(cluster))),
        )
    });
    match installed.as_ref()? {
        // A test that failed says so itself; the others still run.
        Ok(installation) => Some(installation.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => panic!("the product does not install: {error}"),
    }
}

fn install(cluster: &'static Cluster) -> anyhow::Result<Installation> {
    cluster.load(&Image::ALL)?;
    let mut command = cluster.helm()?;
    command
        .args(["upgrade", "--install", "vaultkeeper"])
        .arg(helm::chart());
    command.args([
        "--namespace",
        SYSTEM,
        "--create-namespace",
        "--wait",
        "--timeout",
        "5m",
    ]);
    helm::run(&mut command)?;
    let quickstart = helm::repository().join("examples/quickstart.yaml");
    cluster.kubectl_text(&["apply", "-f", &quickstart.display().to_string()], "")?;
    let first_root_token = catch_root_token(cluster)?;
    let installation = Installation {
        cluster,
        first_root_token,
    };
    installation.until_available()?;
    installation.until_voters(3)?;
    // Each of them was uninitialised for a while, and the first one answered nobody while it was initialised.
    for ordinal in 0..3 {
        let member = names::member(MAIN, ordinal);
        let restarts = installation.restarts(&member)?;
        ensure!(
            restarts.iter().all(|(_, count)| *count == 0),
            "{member} was restarted while it was set up: {restarts:?}"
        );
    }
    installation.wait_for(SHOP, &["vaultrole/writer", "vaultrole/app"], "Ready")?;
    installation.write("first")?;
    Ok(installation)
}

/// Reads the root token in the seconds between its being stored and its revocation.
fn catch_root_token(cluster: &Cluster) -> anyhow::Result<Token> {
    cluster.run_inside(|client| async move {
        let secrets: Api<Secret> = Api::namespaced(client, SYSTEM);
        wait::until_async(
            "the root token to pass through the key Secret",
            DEADLINE,
            async || {
                let secret = secrets.get(&names::key_secret(VAULT, MAIN)).await?;
                let token = secret
                    .data
                    .unwrap_or_default()
                    .remove("root-token")
                    .context("not there")?;
                Ok(Token::new(String::from_utf8(token.0)?)?)
            },
        )
        .await
    })
}

/// What a person would look at.
fn hints(cluster: &Cluster) -> String {
    let looks: [&[&str]; 5] = [
        &["get", "pods", "-A", "-o", "wide"],
        &["get", "vc,vr", "-A", "-o", "yaml"],
        &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        &[
            "logs",
            "-n",
            SYSTEM,
            "-l",
            "app.kubernetes.io/component=operator",
            "--tail=40",
        ],
        &[
            "logs",
            "-n",
            SYSTEM,
            "-l",
            "app.kubernetes.io/component=injector",
            "--tail=20",
        ],
    ];
    looks
        .iter()
        .map(|look| {
            cluster
                .kubectl_text(look, "")
                .unwrap_or_else(|e| format!("{e:#}"))
        })
        .collect::<Vec<_>>()
        .join("\n---\n")
}

impl Installation {
    /// Runs kubectl.
    pub(crate) fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl_text(args, "")
    }

    /// Applies manifests.
    pub(crate) fn apply(&self, manifests: &str) -> anyhow::Result<String> {
        self.cluster.kubectl_text(&["apply", "-f", "-"], manifests)
    }

    /// An object as JSON.
    pub(crate) fn get(&self, namespace: &str, object: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(
            &self.kubectl(&["get", "-n", namespace, object, "-o", "json"])?,
        )?)
    }

    /// How often each container of a member was started again.
    pub(crate) fn restarts(&self, member: &str) -> anyhow::Result<Vec<(String, u64)>> {
        let pod = self.get(VAULT, &format!("pod/{member}"))?;
        let statuses = pod["status"]["containerStatuses"]
            .as_array()
            .context("no containers")?;
        let count = |status: &Value| {
            Some((
                status["name"].as_str()?.to_owned(),
                status["restartCount"].as_u64()?,
            ))
        };
        statuses
            .iter()
            .map(|status| count(status).context("no restart count"))
            .collect()
    }

    /// Waits for a condition of some objects.
    pub(crate) fn wait_for(&self, namespace: &str, objects: &[&str], condition: &str) -> anyhow::Result<()> {
        let (for_, timeout) = (
            format!("--for=condition={condition}"),
            format!("--timeout={}s", DEADLINE.as_secs()),
        );
        let mut args = vec!["wait", "-n", namespace, for_.as_str(), timeout.as_str()];
        args.extend(objects);
        self.kubectl(&args).map(drop)
    }

    /// Waits until every member serves.
    pub(crate) fn until_available(&self) -> anyhow::Result<VaultCluster> {
        self.until("all members to serve", |c| {
            reason(c, "Available") == "AllMembersServe"
        })
    }

    /// Waits until that many members vote and one may fail.
    pub(crate) fn until_voters(&self, voters: i32) -> anyhow::Result<VaultCluster> {
        self.until("the members to vote", |c| {
            c.status
                .as_ref()
                .is_some_and(|s| s.voters == Some(voters) && s.failure_tolerance == Some(1))
        })
    }

    /// Waits until the VaultCluster satisfies a test.
    pub(crate) fn until(
        &self,
        what: &str,
        test: impl Fn(&VaultCluster) -> bool + Send + Sync,
    ) -> anyhow::Result<VaultCluster> {
        self.cluster.run_inside(|client| async move {
            let clusters: Api<VaultCluster> = Api::namespaced(client, VAULT);
            wait::until_async(what, DEADLINE, async || {
                let cluster = clusters.get(MAIN).await?;
                if test(&cluster) {
                    return Ok(cluster);
                }
                bail!("the status is {}", serde_json::to_string(&cluster.status)?)
            })
            .await
        })
    }

    /// Calls Vault at a member.
    pub(crate) fn at_member<T, F>(
        &self,
        ordinal: u32,
        call: impl FnOnce(Client) -> F + Send,
    ) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        self.cluster
            .run_inside(|client| async move { call(member(&client, ordinal).await?).await })
    }

    /// Number of the active member.
    pub(crate) fn leader(&self) -> anyhow::Result<u32> {
        let cluster = self.until("an active member", |c| {
            c.status.as_ref().is_some_and(|s| s.leader.is_some())
        })?;
        let leader = cluster.status.and_then(|s| s.leader).unwrap_or_default();
        Ok(leader.rsplit('-').next().unwrap_or_default().parse()?)
    }

    /// Makes a root token from the stored shares: proof that they are the right ones.
    pub(crate) fn make_root_token(&self, leader: u32) -> anyhow::Result<Token> {
        self.cluster.run_inside(|kube| async move {
            let vault = member(&kube, leader).await?;
            let secrets: Api<Secret> = Api::namespaced(kube, SYSTEM);
            let data = secrets
                .get(&names::key_secret(VAULT, MAIN))
                .await?
                .data
                .unwrap_or_default();
            let attempt = vault.start_generate_root().await?;
            let otp = attempt.otp().context("no one-time password")?.clone();
            let nonce = attempt.nonce.clone();
            let mut progress = attempt;
            for (_, share) in data.iter().filter(|(key, _)| key.starts_with("share-")) {
                if progress.complete {
                    break;
                }
                let share = SecretString::from(String::from_utf8(share.0.clone())?);
                progress = vault.update_generate_root(&nonce, &share).await?;
            }
            let encoded = progress
                .encoded_token()
                .context("the stored shares make no root token")?;
            Ok(decode_root_token(encoded, &otp)?)
        })
    }

    /// Calls Vault with a root token made from the stored shares, which is revoked afterwards.
    pub(crate) fn as_root<T, F>(&self, call: impl FnOnce(Client) -> F + Send) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        let leader = self.leader()?;
        let token = self.make_root_token(leader)?;
        self.at_member(leader, |vault| async move {
            let root = vault.with_token(&token);
            let result = call(root.clone()).await;
            root.revoke_self().await?;
            result
        })
    }

    /// Seals the active member through the API and gives its number.
    pub(crate) fn seal_active_member(&self) -> anyhow::Result<u32> {
        let leader = self.leader()?;
        let token = self.make_root_token(leader)?;
        let sealing = token.clone();
        self.at_member(leader, |vault| async move {
            Ok(vault.with_token(&sealing).seal().await?)
        })?;
        let name = names::member(MAIN, leader);
        self.until("another active member", |c| {
            c.status
                .as_ref()
                .and_then(|s| s.leader.as_ref())
                .is_some_and(|l| *l != name)
        })?;
        self.at_member(self.leader()?, |vault| async move {
            Ok(vault.with_token(&token).revoke_self().await?)
        })?;
        Ok(leader)
    }

    /// Logs in with the writer's Secret and calls Vault.
    pub(crate) fn as_writer<T, F>(&self, call: impl FnOnce(Client) -> F + Send) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        let leader = self.leader()?;
        self.cluster.run_inside(|kube| async move {
            let vault = member(&kube, leader).await?;
            call(log_in_as_writer(kube, vault).await?).await
        })
    }

    /// Writes the secret that the app reads. On a busy machine the members may be about to elect another leader.
    pub(crate) fn write(&self, greeting: &str) -> anyhow::Result<()> {
        let body = &serde_json::json!({"data": {"greeting": greeting}});
        wait::until("the secret to be written", DEADLINE, || {
            self.as_writer(|vault| async move {
                Ok(vault.write("secret/data/shop/config", body).await.map(drop)?)
            })
        })
    }

    /// Waits until a file in a container has a content.
    pub(crate) fn until_file(&self, object: &str, path: &str, wanted: &str) -> anyhow::Result<()> {
        wait::until(&format!("{wanted:?} in {path} of {object}"), DEADLINE, || {
            let seen = self.kubectl(&["exec", "-n", SHOP, object, "-c", "app", "--", "cat", path])?;
            ensure!(seen.trim() == wanted, "the file holds {:?}", seen.trim());
            Ok(())
        })
    }
}

/// Logs in with the writer's Secret.
pub(crate) async fn log_in_as_writer(kube: kube::Client, vault: Client) -> anyhow::Result<Client> {
    let secrets: Api<Secret> = Api::namespaced(kube, SHOP);
    let secret = secrets.get("vault-approle").await?;
    ensure!(
        secret.type_.as_deref() == Some("Opaque"),
        "the Secret has type {:?}",
        secret.type_
    );
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| -> anyhow::Result<String> {
        Ok(String::from_utf8(
            data.get(key)
                .with_context(|| format!("the Secret lacks {key}"))?
                .0
                .clone(),
        )?)
    };
    let login = vault
        .approle(names::APPROLE_AUTH_PATH)
        .login(&text("role-id")?, &SecretString::from(text("secret-id")?))
        .await?;
    Ok(vault.with_token(&login.client_token))
}

/// The CAs that the operator hands out to VaultRoles' namespaces.
pub(crate) async fn trusted_ca(kube: &kube::Client) -> anyhow::Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(kube.clone(), SHOP);
    let map = maps.get(&names::ca_config_map(VAULT, MAIN)).await?;
    map.data
        .and_then(|mut d| d.remove(names::CA_KEY))
        .context("the ConfigMap lacks ca.crt")
}

/// A client of a member, found by its pod and verified against the CA that the operator hands out.
async fn member(kube: &kube::Client, ordinal: u32) -> anyhow::Result<Client> {
    let pods: Api<Pod> = Api::namespaced(kube.clone(), VAULT);
    let pod = pods.get(&names::member(MAIN, ordinal)).await?;
    let ip = pod
        .status
        .and_then(|s| s.pod_ip)
        .context("the member has no address")?;
    let ca = trusted_ca(kube).await?;
    let address = SocketAddr::new(ip.parse()?, names::API_PORT);
    let url = format!(
        "https://{}:{}",
        names::member_host(VAULT, MAIN, ordinal),
        names::API_PORT
    );
    Ok(Client::builder(url)
        .ca_pem(ca)
        .connect_to(address)
        .timeout(Duration::from_secs(30))
        .build()?)
}

/// Reason of a condition.
pub(crate) fn reason(cluster: &VaultCluster, type_: &str) -> String {
    condition(cluster, type_).map_or_else(String::new, |c| c.reason.clone())
}

/// Message of a condition.
pub(crate) fn message(cluster: &VaultCluster, type_: &str) -> String {
    condition(cluster, type_).map_or_else(String::new, |c| c.message.clone())
}

/// A condition.
pub(crate) fn condition<'a>(cluster: &'a VaultCluster, type_: &str) -> Option<&'a Condition> {
    let conditions = &cluster.status.as_ref()?.conditions;
    conditions.iter().find(|c| c.type_ == type_)
}

/// Says which step runs, since a test of this module takes a while.
pub(crate) fn step(text: &str) {
    say(&format!("e2e: {text}"));
}
