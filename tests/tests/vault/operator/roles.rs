//! VaultRoles against a real Vault: what they give, what they take away, and an operator that dies on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::annotations::SECRET_ID_ACCESSOR;
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Client, SecretString};

use super::configuration::event;
use super::stage::Stage;

const DEADLINE: Duration = Duration::from_secs(90);
const SECRET: &str = "app-credentials";

fn roles(stage: &Stage) -> Api<VaultRole> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

pub(super) async fn create_role(stage: &Stage) -> anyhow::Result<()> {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "app" },
        "spec": {
            "cluster": { "name": "main", "namespace": stage.namespace },
            "policy": { "rules": [
                { "path": format!("secret/data/{}/app", stage.namespace), "capabilities": ["read"] },
            ] },
            "appRole": { "secretName": SECRET, "rotation": { "overlap": "0s" } },
            "kubernetes": { "serviceAccounts": ["app"] },
            "token": { "ttl": "10m", "maxTtl": "1h" },
        },
    }))?;
    roles(stage).create(&PostParams::default(), &role).await?;
    Ok(())
}

/// Waits until the role is ready with the spec as it is now.
pub(super) async fn until_ready(stage: &Stage) -> anyhow::Result<VaultRole> {
    wait::until_async("the role to be ready", DEADLINE, async || {
        let role = roles(stage).get("app").await?;
        let status = role.status.clone().unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .context("no condition")?;
        ensure!(
            ready.status == "True" && ready.observed_generation == role.metadata.generation,
            "it is {}: {}",
            ready.reason,
            ready.message
        );
        Ok(role)
    })
    .await
}

pub(super) async fn delete_role(stage: &Stage) -> anyhow::Result<()> {
    roles(stage).delete("app", &DeleteParams::default()).await?;
    wait::until_async("the role to be gone", DEADLINE, async || {
        match roles(stage).get_opt("app").await? {
            None => Ok(()),
            Some(role) => bail!("it is there: {:?}", role.status),
        }
    })
    .await
}

/// Role-id, secret-id and accessor as they are stored.
async fn stored(stage: &Stage) -> anyhow::Result<(String, SecretString, String)> {
    let secret = secrets(stage).get(SECRET).await?;
    ensure!(
        secret.type_.as_deref() == Some("Opaque"),
        "its type is {:?}",
        secret.type_
    );
    let accessor = secret
        .metadata
        .annotations
        .unwrap_or_default()
        .remove(SECRET_ID_ACCESSOR);
    let mut data: BTreeMap<String, String> = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
        .collect();
    ensure!(data.len() == 2, "its keys are {:?}", data.keys());
    Ok((
        data.remove("role-id").context("no role-id")?,
        SecretString::from(data.remove("secret-id").context("no secret-id")?),
        accessor.context("no accessor")?,
    ))
}

/// The stored credentials log in, and theirs is the only secret-id there is.
async fn assert_credentials(stage: &Stage, root: &Client) -> anyhow::Result<Client> {
    let (role_id, secret_id, accessor) = stored(stage).await?;
    let name = names::vault_name(&stage.namespace, "app");
    let known = root.approle("approle").list_secret_id_accessors(&name).await?;
    ensure!(
        known == [accessor.clone()],
        "stored is {accessor}, Vault knows {known:?}"
    );
    let login = root.approle("approle").login(&role_id, &secret_id).await?;
    ensure!(
        login.policies.contains(&name),
        "its policies are {:?}",
        login.policies
    );
    Ok(root.with_token(&login.client_token))
}

/// Nothing of the role is left in Vault, nor its Secret.
async fn assert_nothing_left(stage: &Stage, root: &Client) -> anyhow::Result<()> {
    let name = names::vault_name(&stage.namespace, "app");
    let policies = root.list_policies().await?;
    ensure!(!policies.contains(&name), "the policy is there");
    let app_roles = root.approle("approle").list_roles().await?;
    ensure!(!app_roles.contains(&name), "the AppRole role is there");
    let kubernetes = root.kubernetes("kubernetes").list_roles().await?;
    ensure!(!kubernetes.contains(&name), "the Kubernetes auth role is there");
    ensure!(
        secrets(stage).get_opt(SECRET).await?.is_none(),
        "the Secret is there"
    );
    Ok(())
}

#[tokio::test]
async fn a_role_gets_what_it_asks_for_keeps_it_over_a_restart_and_leaves_nothing() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    // Before there is a Vault: it waits.
    create_role(&stage).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_ready(&stage).await.unwrap();
    let root = stage.root(0).await.unwrap();

    // What the policy says, and no more.
    let own = format!("secret/data/{}/app", stage.namespace);
    let other = format!("secret/data/{}/other", stage.namespace);
    for path in [&own, &other] {
        root.write(path, &json!({ "data": { "password": "hunter2" } }))
            .await
            .unwrap();
    }
    let app = assert_credentials(&stage, &root).await.unwrap();
    let read = app.read(&own).await.unwrap();
    assert!(read.data.json().contains("hunter2"), "its own secret is readable");
    let denied = app
        .read(&other)
        .await
        .expect_err("a neighbour must not be readable");
    assert!(denied.is_denied(), "expected a denial, got {denied}");
    let denied = app
        .write(&own, &json!({ "data": {} }))
        .await
        .expect_err("read is not write");
    assert!(denied.is_denied(), "expected a denial, got {denied}");
    let name = names::vault_name(&stage.namespace, "app");
    let kubernetes = root.kubernetes("kubernetes").read_role(&name).await.unwrap();
    assert_eq!(kubernetes.bound_service_account_names, ["app"]);
    assert_eq!(
        kubernetes.bound_service_account_namespaces,
        [stage.namespace.as_str()]
    );
    assert_eq!(kubernetes.token.ttl, Duration::from_secs(600));
    event(&stage, "IdentityWritten", &["policy", name.as_str()]).await;
    event(&stage, "CredentialsIssued", &[SECRET]).await;

    // Another operator makes no new secret-id, and changes nothing at all.
    let before = stored(&stage).await.unwrap();
    operator.stop().await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    let touched: Vec<Point> = points.seen().into_iter().filter(about_the_role).collect();
    assert!(
        touched.is_empty(),
        "a restart must change nothing, it did {touched:?}"
    );
    let after = stored(&stage).await.unwrap();
    assert_eq!((before.0, before.2), (after.0, after.2), "the credentials stay");

    // A policy that was changed in Vault, and a Secret that was edited, are put right.
    root.write_policy(&name, "path \"*\" { capabilities = [\"read\"] }")
        .await
        .unwrap();
    let edit = json!({ "stringData": { "secret-id": "edited" } });
    secrets(&stage)
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    touch(&stage).await.unwrap();
    wait::until_async("policy and Secret to be put right", DEADLINE, async || {
        let policy = root.read_policy(&name).await?;
        ensure!(policy.contains(&own), "the policy is {policy}");
        assert_credentials(&stage, &root).await.map(|_| ())
    })
    .await
    .unwrap();

    event(&stage, "CredentialsDestroyed", &[SECRET]).await;

    // Another Secret name: the new one is there, the old one goes.
    let change = json!({ "spec": { "appRole": { "secretName": "renamed" } } });
    roles(&stage)
        .patch("app", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    until_ready(&stage).await.unwrap();
    assert!(
        secrets(&stage).get_opt("renamed").await.unwrap().is_some(),
        "the new name"
    );
    assert!(
        secrets(&stage).get_opt(SECRET).await.unwrap().is_none(),
        "the old name"
    );

    // Access taken away: everything goes, the object stays and says why.
    let change = json!({ "spec": { "access": [] } });
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    wait::until_async("the access to be gone", DEADLINE, async || {
        let role = roles(&stage).get("app").await?;
        let conditions = role.status.unwrap_or_default().conditions;
        ensure!(
            conditions
                .iter()
                .any(|c| c.type_ == "Accepted" && c.reason == "NotAllowed"),
            "{conditions:?}"
        );
        ensure!(
            secrets(&stage).get_opt("renamed").await?.is_none(),
            "the Secret is there"
        );
        assert_nothing_left(&stage, &root).await
    })
    .await
    .unwrap();
    event(&stage, "AccessWithdrawn", &["does not allow this any more"]).await;
    delete_role(&stage).await.unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_role_whose_vault_is_away_says_so_keeps_its_credentials_and_goes_on_later() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    create_role(&stage).await.unwrap();
    until_ready(&stage).await.unwrap();
    let (role_id, _, accessor) = stored(&stage).await.unwrap();

    stage.kubelet.freeze("main-0").await.unwrap();
    let longer = json!({ "spec": { "token": { "ttl": "20m" } } });
    roles(&stage)
        .patch("app", &PatchParams::default(), &Patch::Merge(&longer))
        .await
        .unwrap();
    wait::until_async("the role to say that it waits", DEADLINE, async || {
        let role = roles(&stage).get("app").await?;
        let conditions = role.status.unwrap_or_default().conditions;
        let ready = conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .context("no condition")?;
        ensure!(
            ready.status == "False" && ready.message.contains("main"),
            "Ready is {}: {}: {}",
            ready.status,
            ready.reason,
            ready.message
        );
        Ok(())
    })
    .await
    .unwrap();
    let kept = stored(&stage).await.unwrap();
    assert_eq!(
        (&kept.0, &kept.2),
        (&role_id, &accessor),
        "the Secret keeps its credentials while Vault is away"
    );

    stage.kubelet.thaw("main-0").await.unwrap();
    until_ready(&stage).await.unwrap();
    let root = stage.root(0).await.unwrap();
    assert_credentials(&stage, &root).await.unwrap();
    assert_eq!(
        stored(&stage).await.unwrap().2,
        accessor,
        "a Vault that was away is no reason for a new secret-id"
    );
    let name = names::vault_name(&stage.namespace, "app");
    let role = root.approle("approle").read_role(&name).await.unwrap();
    assert_eq!(
        role.token.ttl,
        Duration::from_secs(1200),
        "what was asked for meanwhile is done"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Wakes the controller for the role, as an edit would.
async fn touch(stage: &Stage) -> anyhow::Result<()> {
    let change = json!({ "metadata": { "annotations": { "touched": "yes" } } });
    roles(stage)
        .patch("app", &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    Ok(())
}

/// Whether a call changes something of the role, its status left aside.
fn about_the_role(point: &Point) -> bool {
    let Point { call, occurrence: _ } = point;
    let names_it = ["app", "vaultroles", "POST secrets"]
        .iter()
        .any(|part| call.contains(part));
    names_it && !call.contains("status")
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_for_a_role_leaves_one_working_secret_id() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    let root = stage.root(0).await.unwrap();

    let points = Points::record();
    let operator = stage.start_operator(&points);
    create_role(&stage).await.unwrap();
    until_ready(&stage).await.unwrap();
    let table: Vec<Point> = points.seen().into_iter().filter(about_the_role).collect();
    println!("{table:#?}");
    for needed in ["sys/policies/acl", "secret-id", "secrets"] {
        assert!(
            table.iter().any(|point| point.call.contains(needed)),
            "no call with {needed} in {table:?}"
        );
    }
    delete_role(&stage).await.unwrap();
    assert_nothing_left(&stage, &root).await.unwrap();
    operator.stop().await;

    for point in table {
        for side in [Side::Before, Side::After] {
            die_at(&stage, &root, &point, side)
                .await
                .with_context(|| format!("{side:?} {point}"))
                .unwrap();
        }
    }
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}

async fn die_at(stage: &Stage, root: &Client, point: &Point, side: Side) -> anyhow::Result<()> {
    let points = Points::dying_at(point.clone(), side);
    let operator = stage.start_operator(&points);
    create_role(stage).await?;
    let reached = tokio::time::timeout(DEADLINE, points.reached());
    let died = if point.occurrence == 1 {
        reached.await.is_ok()
    } else {
        // A call is repeated, or not, as the operator's watch is behind or not; where it is not, it dies at Ready.
        tokio::select! {
            reached = reached => reached.is_ok(),
            ready = until_ready(stage) => ready.is_ok(),
        }
    };
    operator.kill().await;
    ensure!(died, "the point was never reached");
    let operator = stage.start_operator(&Points::record());
    until_ready(stage).await?;
    // Ready may be said by the one that died; the one that lives heals in its first pass.
    wait::until_async("one working secret-id", DEADLINE, async || {
        assert_credentials(stage, root).await.map(|_| ())
    })
    .await?;
    delete_role(stage).await?;
    assert_nothing_left(stage, root).await?;
    operator.stop().await;
    Ok(())
}
