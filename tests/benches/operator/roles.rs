//! VaultRoles by the thousand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::Instant;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_tests::progress::Step;
use vaultkeeper_vault::SecretString;

use super::servers::{CLUSTER, Servers};

/// How many requests of ours are under way at a time.
const AT_A_TIME: usize = 64;
/// For all of them, per role and at least.
const PATIENCE: Duration = Duration::from_millis(500);
const LEAST_PATIENCE: Duration = Duration::from_secs(300);

fn role(namespace: &str, number: usize) -> anyhow::Result<VaultRole> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": {"name": format!("app-{number}"), "namespace": namespace},
        "spec": {
            "cluster": {"name": "main", "namespace": CLUSTER},
            "policy": {"rules": [
                {"path": format!("secret/data/{namespace}/app-{number}/*"), "capabilities": ["read", "list"]},
                {"path": format!("secret/data/{namespace}/shared"), "capabilities": ["read"]},
            ]},
            "appRole": {"secretName": format!("app-{number}-vault")},
            "kubernetes": {"serviceAccounts": [format!("app-{number}")]},
        },
    }))?)
}

fn of(namespaces: &[String], number: usize) -> &str {
    &namespaces[number % namespaces.len()]
}

/// Creates roles all at once. How long it takes from the first request until the last Secret is there.
pub(crate) async fn create(
    client: &Client,
    namespaces: &[String],
    numbers: Range<usize>,
) -> anyhow::Result<Duration> {
    let (first, count, end) = (numbers.start, numbers.len(), numbers.end);
    let mut step = Step::begin(format!("{count} VaultRoles, {first} are there"));
    let begun = Instant::now();
    let creations = stream::iter(numbers.map(|number| {
        let api: Api<VaultRole> = Api::namespaced(client.clone(), of(namespaces, number));
        let role = role(of(namespaces, number), number);
        async move {
            api.create(&PostParams::default(), &role?).await?;
            anyhow::Ok(())
        }
    }));
    creations
        .buffer_unordered(AT_A_TIME)
        .try_collect::<Vec<_>>()
        .await?;
    let all = Instant::now();
    let secrets: Api<Secret> = Api::all(client.clone());
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=vaultkeeper,vaultkeeper.dev/role");
    let patience = LEAST_PATIENCE.max(PATIENCE * u32::try_from(count)?);
    loop {
        let there = secrets.list_metadata(&ours).await?.items.len();
        if there >= end {
            break;
        }
        ensure!(begun.elapsed() < patience, "{there} of {end} Secrets are there");
        step.tick();
        tokio::time::sleep(Duration::from_millis(250 + u64::try_from(end / 10)?)).await;
    }
    let took = begun.elapsed();
    vaultkeeper_tests::progress::say(&format!(
        "  all requests were taken after {:.1} s",
        all.duration_since(begun).as_secs_f64()
    ));
    step.done();
    Ok(took)
}

/// Waits until every role says that it is ready.
pub(crate) async fn until_all_ready(client: &Client, count: usize) -> anyhow::Result<()> {
    let mut step = Step::begin("all of them ready");
    let api: Api<VaultRole> = Api::all(client.clone());
    let begun = Instant::now();
    loop {
        let mut ready = 0;
        let mut page = ListParams::default().limit(500);
        loop {
            let list = api.list(&page).await?;
            ready += list
                .items
                .iter()
                .filter(|role| vaultkeeper_operator::role::status::is_in_place(role))
                .count();
            match list.metadata.continue_ {
                Some(next) if !next.is_empty() => page = page.continue_token(&next),
                _ => break,
            }
        }
        if ready >= count {
            step.done();
            return Ok(());
        }
        ensure!(begun.elapsed() < LEAST_PATIENCE, "{ready} of {count} are ready");
        step.tick();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Logs in with so many of the first `among` roles, and reads what the token is. How many succeed.
pub(crate) async fn log_in(servers: &Servers, count: usize, among: usize) -> anyhow::Result<usize> {
    let vault = servers.vault().await?;
    let mut good = 0;
    for turn in 0..count {
        // Spread by a step that shares no factor with the usual numbers.
        let number = (turn * 7919 + usize::try_from(std::process::id())?) % among;
        let namespace = of(&servers.namespaces, number);
        let secrets: Api<Secret> = Api::namespaced(servers.client.clone(), namespace);
        let secret = secrets.get(&format!("app-{number}-vault")).await?;
        let data: BTreeMap<_, _> = secret.data.unwrap_or_default();
        let text = |key: &str| -> anyhow::Result<String> {
            Ok(String::from_utf8(
                data.get(key).context("a key is missing")?.0.clone(),
            )?)
        };
        let secret_id = SecretString::from(text("secret-id")?);
        let login = vault
            .approle("approle")
            .login(&text("role-id")?, &secret_id)
            .await?;
        let wanted = vaultkeeper_crds::names::vault_name(namespace, &format!("app-{number}"));
        if !login.policies.contains(&wanted) {
            bail!("the login of {wanted} gave {:?}", login.policies);
        }
        good += 1;
    }
    Ok(good)
}
