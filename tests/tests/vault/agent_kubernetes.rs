//! The agent with Kubernetes auth: Vault asks a real API server about the ServiceAccount's token.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, SecretString};

use crate::TESTBED;
use crate::agent_support::{Agent, wait_for};
use crate::operator::stage::{DEADLINE, Stage, write_secret};

const ACCOUNT: &str = "app";

/// Makes the ServiceAccount, and a token for it as the kubelet would.
async fn account_with_token(stage: &Stage) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?;
    answer.status.and_then(|status| status.token).context("no token")
}

/// Takes the ServiceAccount away: its tokens end with it, those of one of the same name made later do not.
async fn delete_account(stage: &Stage) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &stage.namespace);
    accounts.delete(ACCOUNT, &DeleteParams::default()).await?;
    Ok(())
}

/// Swaps the file in one step, as the kubelet swaps the folder of a projected volume.
fn swap(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// A role whose tokens are replaced every quarter of a minute or so.
async fn create_role(stage: &Stage) -> anyhow::Result<()> {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": {"name": "app"},
        "spec": {
            "cluster": {"name": "main", "namespace": stage.namespace},
            "policy": {"rules": [
                {"path": format!("secret/data/{}/app", stage.namespace), "capabilities": ["read"]},
            ]},
            "kubernetes": {"serviceAccounts": [ACCOUNT]},
            "token": {"ttl": "12s", "maxTtl": "18s"},
        },
    }))?;
    let roles: Api<VaultRole> = Api::namespaced(stage.client.clone(), &stage.namespace);
    roles.create(&PostParams::default(), &role).await?;
    Ok(())
}

/// Logs in past the agent.
async fn log_in(vault: &Client, role: &str, token: &str) -> Result<(), vaultkeeper_vault::Error> {
    let jwt = SecretString::from(token);
    vault.kubernetes("kubernetes").login(role, &jwt).await.map(|_| ())
}

/// The agent's configuration as the injector would write it, with the member's address for the Service's.
async fn config(stage: &Stage, folder: &Path) -> anyhow::Result<Value> {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let tls = secrets.get(&names::tls_secret("main")).await?;
    let ca = tls.data.and_then(|mut data| data.remove(names::CA_KEY));
    fs::write(folder.join("ca.crt"), ca.context("no CA")?.0)?;
    let address = stage.kubelet.address(&names::member("main", 0)).await;
    let address = std::net::SocketAddr::new(address.context("no address")?, names::API_PORT);
    let path = format!("secret/{}/app", stage.namespace);
    Ok(json!({
        "vault": {
            "address": format!("https://{address}"),
            "ca_cert": folder.join("ca.crt"),
            "tls_server_name": names::member_host(&stage.namespace, "main", 0),
        },
        "auto_auth": {"method": {
            "type": "kubernetes",
            "mount_path": "auth/kubernetes",
            "config": {"role": names::vault_name(&stage.namespace, "app"), "token_path": folder.join("token")},
        }},
        "template": [{
            "contents": format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}"),
            "destination": folder.join("app.conf"),
        }],
        "template_config": {"static_secret_render_interval": "1s"},
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_logs_in_again_with_the_token_that_the_kubelet_put_in_the_place_of_the_old_one() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    create_role(&stage).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let run = OwnedRun::create("vault-agent", TESTBED).unwrap();
    let (vault, root) = (stage.member(0).await.unwrap(), stage.root(0).await.unwrap());
    let role = names::vault_name(&stage.namespace, "app");
    let old = account_with_token(&stage).await.unwrap();
    wait::until_async("the role to let its ServiceAccount in", DEADLINE, async || {
        Ok(log_in(&vault, &role, &old).await?)
    })
    .await
    .unwrap();
    let path = format!("secret/data/{}/app", stage.namespace);
    write_secret(&root, &path, &json!({"data": {"password": "first"}})).await;
    let (token, file) = (run.path().join("token"), run.path().join("app.conf"));
    swap(&token, &old);
    let config = config(&stage, run.path()).await.unwrap();
    let agent = Agent::start("kubernetes", &config, &run);
    wait_for(&file, "first");

    delete_account(&stage).await.unwrap();
    let new = account_with_token(&stage).await.unwrap();
    swap(&token, &new);
    // The API server remembers a token that it found good for some seconds.
    wait::until_async("the old token to be refused", DEADLINE, async || {
        let login = log_in(&vault, &role, &old).await;
        ensure!(login.is_err_and(|error| error.is_denied()), "it still logs in");
        Ok(())
    })
    .await
    .unwrap();
    let logins = agent.count("logged in");
    agent.wait_for("logged in", logins + 1);
    root.write(&path, &json!({"data": {"password": "second"}}))
        .await
        .unwrap();
    wait_for(&file, "second");
    let log = agent.log();
    for hidden in [old.as_str(), new.as_str(), "hvs."] {
        assert!(!log.contains(hidden), "no token may be in the log:\n{log}");
    }

    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
