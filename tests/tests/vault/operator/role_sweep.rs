//! Roles at rest as Vault's audit log shows them: asked about in turn, five requests a second, whatever else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::audit::AuditDevice;

use super::role_support::{Tenant, writes};
use super::stage::{DEADLINE, Stage};

/// So many that a sweep over them takes longer than all else in this test.
const ROLES: usize = 40;

/// An audit device that writes to a file, beside those of the operator.
struct Log(PathBuf);

impl Log {
    async fn begin(root: &Client, folder: &Path) -> Self {
        let file = folder.join("audit.log");
        let options = BTreeMap::from([("file_path".to_owned(), file.display().to_string())]);
        let device: AuditDevice =
            serde_json::from_value(json!({"type": "file", "description": "", "options": options})).unwrap();
        root.enable_audit_device("counted", &device).await.unwrap();
        Self(file)
    }

    /// Times and paths of the requests about roles of this namespace, so far.
    fn requests(&self, namespace: &str) -> Vec<(Timestamp, String)> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let mut found = Vec::new();
        // The last line may be half written.
        for line in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            let path = line["request"]["path"].as_str().unwrap_or_default();
            if line["type"] == "request" && path.contains(&format!("/{namespace}.")) {
                let at = line["time"].as_str().unwrap().parse().unwrap();
                found.push((at, path.to_owned()));
            }
        }
        found
    }
}

/// The roles that were compared, by the one request that nothing but a comparison makes: the readiness rules read policies
/// and roles, too, in batches of their own.
fn compared(requests: &[(Timestamp, String)]) -> Vec<(Timestamp, &str)> {
    requests
        .iter()
        .filter_map(|(at, path)| Some((*at, path.strip_suffix("/role-id")?.rsplit('/').next()?)))
        .collect()
}

fn names_of<'a>(compared: &[(Timestamp, &'a str)]) -> BTreeSet<&'a str> {
    compared.iter().map(|(_, name)| *name).collect()
}

/// The most comparisons within ten seconds.
fn busiest(compared: &[(Timestamp, &str)]) -> usize {
    let within = |from: Timestamp| {
        let spans = compared.iter().map(|(at, _)| at.duration_since(from));
        spans
            .filter(|span| !span.is_negative() && span.as_secs() < 10)
            .count()
    };
    compared
        .iter()
        .map(|(at, _)| within(*at))
        .max()
        .unwrap_or_default()
}

#[tokio::test]
async fn an_operator_that_starts_compares_roles_in_turn_and_changes_wait_for_no_turn() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let tenant = Tenant::of(&stage);
    for number in 0..ROLES {
        tenant.create(&format!("app-{number}"), json!({})).await.unwrap();
    }
    for number in 0..ROLES {
        tenant.until_ready(&format!("app-{number}")).await.unwrap();
    }
    operator.stop().await;
    let root = stage.root(0).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = Log::begin(&root, folder.path()).await;
    let space = stage.namespace.clone();

    // One of them was changed in Vault meanwhile, and so was the Secret of another.
    let changed = tenant.vault_name("app-7");
    root.write_policy(&changed, "path \"*\" { capabilities = [\"read\"] }")
        .await
        .unwrap();
    let before = log.requests(&space).len();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    wait::until_async("the sweep to begin", DEADLINE, async || {
        let requests = log.requests(&space).split_off(before);
        ensure!(compared(&requests).len() >= 3, "not yet");
        Ok(())
    })
    .await
    .unwrap();

    // New and changed roles do not stand in line.
    tenant.create("new", json!({})).await.unwrap();
    tenant
        .patch("app-9", json!({"spec": {"token": {"ttl": "7m"}}}))
        .await
        .unwrap();
    tenant.until_ready("new").await.unwrap();
    tenant.until_ready("app-9").await.unwrap();
    let requests = log.requests(&space).split_off(before);
    let name = tenant.vault_name("new");
    let at = requests
        .iter()
        .position(|(_, path)| path.contains(&name))
        .unwrap();
    let first = names_of(&compared(&requests[..at])).len();
    assert!(
        first < ROLES,
        "all roles were compared before a new one was looked at: {first} of them"
    );

    // What would wake all of them: another spec of the cluster, and the ConfigMap that all of them use.
    let access = json!({"spec": {"access": [
        {"namespaces": [space], "pathPrefixes": ["secret/data/{{namespace}}/"]},
        {"namespaces": ["somebody-else"], "pathPrefixes": ["secret/data/{{namespace}}/"]},
    ]}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&access))
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &space);
    let map = names::ca_config_map(&space, "main");
    let there = maps.get(&map).await.unwrap();
    let owners = there.owner_references().len();
    assert!(
        (1..=20).contains(&owners),
        "{owners} roles own the ConfigMap together"
    );
    maps.delete(&map, &DeleteParams::default()).await.unwrap();
    wait::until_async("the ConfigMap to be back", DEADLINE, async || {
        let again = maps.get(&map).await?;
        ensure!(
            again.uid() != there.uid() && again.data == there.data,
            "it is not"
        );
        Ok(())
    })
    .await
    .unwrap();

    let requests = wait::until_async("every role to be compared", DEADLINE, async || {
        let requests = log.requests(&space).split_off(before);
        let compared = names_of(&compared(&requests)).len();
        ensure!(compared > ROLES, "{compared} of them");
        Ok(requests)
    })
    .await
    .unwrap();
    let prompt = [tenant.vault_name("new"), tenant.vault_name("app-9")];
    let mut compared = compared(&requests);
    compared.retain(|(_, name)| !prompt.iter().any(|prompt| prompt == name));
    assert_eq!(
        (names_of(&compared).len(), compared.len()),
        (ROLES - 1, ROLES - 1),
        "each role at rest is compared once, whatever wakes it"
    );
    let most = busiest(&compared);
    assert!(
        most <= 11,
        "a comparison takes five requests or more, so that there is one a second at most: {most} in ten seconds"
    );

    // What was changed is put right, and nothing else is written.
    let text = root.read_policy(&changed).await.unwrap();
    assert!(text.contains("secret/data/"), "the policy is put right: {text}");
    let others: Vec<String> = writes(&points)
        .into_iter()
        .filter(|call| !call.contains(&changed) && !prompt.iter().any(|name| call.contains(name)))
        .filter(|call| call.contains(&format!("/{space}.")))
        .collect();
    assert_eq!(others, [""; 0], "nothing is written that is as it should be");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_vault_that_is_away_makes_no_role_unready_that_is_in_place() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let tenant = Tenant::of(&stage);
    tenant.create("app", json!({})).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    operator.stop().await;
    let versions = async || -> anyhow::Result<String> {
        let role: VaultRole = tenant.roles().get("app").await?;
        role.resource_version().context("no version")
    };
    let before = versions().await.unwrap();

    stage.kubelet.freeze("main-0").await.unwrap();
    let operator = stage.start_operator(&Points::record());
    // The first pass is the comparison, which finds nobody to ask.
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    stage
        .until("the absence to be told of the cluster", |cluster| {
            super::stage::condition(cluster, "Available").is_some_and(|said| said.status == "False")
        })
        .await
        .unwrap();
    assert_eq!(
        versions().await.unwrap(),
        before,
        "nothing is known to be wrong with the role"
    );
    stage.kubelet.thaw("main-0").await.unwrap();
    stage.until_available().await.unwrap();
    assert_eq!(versions().await.unwrap(), before, "nor afterwards");
    operator.stop().await;
    stage.end().await.unwrap();
}
