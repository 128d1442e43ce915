//! Tokens in Secrets: minted, renewed, replaced, revoked, and an operator that dies on the way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_crds::annotations::{PREVIOUS_TOKEN, TOKEN_ACCESSOR};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::tokens::{TokenInfo, TokenRequest};
use vaultkeeper_vault::{Client, ExposeSecret as _, Token};

use super::stage::Stage;
use super::vault_role::{DEADLINE, Role, secret, value};

const SECRET: &str = "app-token";

fn delivered(mut token: Value) -> Value {
    token["deliver"] = json!({"secretName": SECRET, "labels": {"team": "a"}});
    json!({ "token": token })
}

async fn annotation(stage: &Stage, key: &str) -> anyhow::Result<Option<String>> {
    let secret = secret(stage, SECRET).await?.context("the Secret is not there")?;
    Ok(secret.metadata.annotations.unwrap_or_default().remove(key))
}

async fn accessor(stage: &Stage) -> anyhow::Result<String> {
    annotation(stage, TOKEN_ACCESSOR).await?.context("no accessor")
}

/// A client with the token that is in the Secret.
async fn holder(stage: &Stage, root: &Client) -> anyhow::Result<Client> {
    let token = value(stage, SECRET, "token").await?;
    Ok(root.with_token(&Token::new(token.expose_secret())?))
}

async fn look(root: &Client, accessor: &str) -> anyhow::Result<Option<TokenInfo>> {
    match root.lookup_accessor(accessor).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the Secret holds another token than this one, which lives, and gives its accessor.
async fn until_replaced(stage: &Stage, root: &Client, before: &str) -> anyhow::Result<String> {
    wait::until_async("another token in the Secret", DEADLINE, async || {
        let now = accessor(stage).await?;
        ensure!(now != before, "it is still {before}");
        ensure!(look(root, &now).await?.is_some(), "{now} is dead");
        Ok(now)
    })
    .await
}

async fn until_dead(root: &Client, accessor: &str) -> anyhow::Result<()> {
    wait::until_async("a token to be revoked", DEADLINE, async || {
        let found = look(root, accessor).await?;
        ensure!(found.is_none(), "it lives: {found:?}");
        Ok(())
    })
    .await
}

/// Live tokens that came from the role.
async fn minted(root: &Client, name: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for accessor in root.list_accessors().await? {
        if let Some(info) = look(root, &accessor).await?
            && info.path == format!("auth/token/create/{name}")
        {
            found.push(accessor);
        }
    }
    Ok(found)
}

async fn patch_secret(stage: &Stage, change: Value) -> anyhow::Result<()> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    api.patch(SECRET, &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_delivered_token_outlives_its_first_life_and_is_replaced_before_its_hard_end() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let fields = delivered(json!({"ttl": "24s", "maxTtl": "60s", "boundCidrs": ["127.0.0.0/8"]}));
    let role = Role::create(&stage, "app", fields).await.unwrap();
    role.until_ready().await.unwrap();

    let first = accessor(&stage).await.unwrap();
    let info = look(&root, &first).await.unwrap().expect("it lives");
    assert!(info.orphan, "it must not end with the operator's own: {info:?}");
    assert_eq!(info.policies, ["default".to_owned(), role.vault_name()]);
    assert_eq!(info.explicit_max_ttl, Duration::from_secs(60));
    assert_eq!(info.meta["name"], "app", "whose it is can be seen in Vault");
    let own = holder(&stage, &root).await.unwrap().lookup_self().await.unwrap();
    assert_eq!(own.accessor, first, "the Secret holds that very token");
    let labels = secret(&stage, SECRET)
        .await
        .unwrap()
        .unwrap()
        .metadata
        .labels
        .unwrap();
    assert_eq!(labels["team"], "a");

    wait::until_async("the token to outlive its first life", DEADLINE, async || {
        let info = look(&root, &first).await?.context("it is dead")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let age = now - u64::try_from(info.creation_time)?;
        ensure!(age > 25, "it is {age} s old");
        Ok(())
    })
    .await
    .unwrap();
    // While the first still lives, the second is there; then the first goes.
    let (second, before) = wait::until_async("another token in the Secret", DEADLINE, async || {
        let secret = secret(&stage, SECRET).await?.context("the Secret is not there")?;
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let now = annotations.get(TOKEN_ACCESSOR).context("no accessor")?.clone();
        ensure!(now != first, "it is the first");
        Ok((now, annotations.get(PREVIOUS_TOKEN).cloned()))
    })
    .await
    .unwrap();
    assert_eq!(
        before,
        Some(first.clone()),
        "who has not read the new one yet can go on"
    );
    until_dead(&root, &first).await.unwrap();
    assert!(look(&root, &second).await.unwrap().is_some());
    role.delete().await.unwrap();
    assert!(
        minted(&root, &role.vault_name()).await.unwrap().is_empty(),
        "all are revoked"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_revoked_edited_or_lost_is_replaced_and_a_foreign_one_is_left_alone() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role::create(&stage, "app", delivered(json!({}))).await.unwrap();
    role.until_ready().await.unwrap();
    let name = role.vault_name();
    let first = accessor(&stage).await.unwrap();
    let left = look(&root, &first).await.unwrap().unwrap().ttl;
    assert!(
        left > Duration::from_secs(3500),
        "it was renewed to its whole life: {left:?}"
    );
    let renewed = holder(&stage, &root)
        .await
        .unwrap()
        .renew_self(None)
        .await
        .unwrap();
    assert!(
        renewed.lease_duration > Duration::from_secs(3500),
        "its short first life is forgotten: {renewed:?}"
    );

    // Revoked by hand.
    root.revoke_accessor(&first).await.unwrap();
    role.touch("revoked").await.unwrap();
    let second = until_replaced(&stage, &root, &first).await.unwrap();

    // Edited.
    patch_secret(&stage, json!({"stringData": {"token": "edited"}}))
        .await
        .unwrap();
    role.touch("edited").await.unwrap();
    let third = until_replaced(&stage, &root, &second).await.unwrap();
    until_dead(&root, &second).await.unwrap();

    // Its annotations name a token of somebody else, which must neither be renewed nor revoked.
    let request = TokenRequest {
        policies: vec!["default".to_owned()],
        ttl: Some(Duration::from_secs(3600)),
        ..TokenRequest::default()
    };
    let foreign = root.create_orphan(&request).await.unwrap().accessor;
    let annotations = json!({TOKEN_ACCESSOR: foreign, PREVIOUS_TOKEN: foreign});
    patch_secret(&stage, json!({"metadata": {"annotations": annotations}}))
        .await
        .unwrap();
    role.touch("foreign").await.unwrap();
    let fourth = until_replaced(&stage, &root, &foreign).await.unwrap();
    until_dead(&root, &third).await.unwrap();
    assert!(look(&root, &foreign).await.unwrap().is_some(), "it is not ours");

    // The Secret is deleted: its token is known from the status.
    wait::until_async("the status to follow", DEADLINE, async || {
        let status = role.api().get("app").await?.status.unwrap_or_default();
        let told = status.token.and_then(|token| token.accessor);
        ensure!(told.as_ref() == Some(&fourth), "it says {told:?}");
        Ok(())
    })
    .await
    .unwrap();
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    api.delete(SECRET, &DeleteParams::default()).await.unwrap();
    role.touch("deleted").await.unwrap();
    let fifth = until_replaced(&stage, &root, &fourth).await.unwrap();
    until_dead(&root, &fourth).await.unwrap();
    assert_eq!(
        minted(&root, &name).await.unwrap(),
        std::slice::from_ref(&fifth),
        "one and no more"
    );

    // A restart mints nothing.
    operator.stop().await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    assert_eq!(accessor(&stage).await.unwrap(), fifth);
    let touched: Vec<_> = points.seen();
    assert!(
        touched.iter().all(|point| !point.call.contains("auth/token")),
        "a restart must change nothing, it did {touched:?}"
    );

    // A role in Vault that somebody widened is put right.
    let wider = json!({"allowed_policies_glob": ["*"]});
    root.write(&format!("auth/token/roles/{name}"), &wider)
        .await
        .unwrap();
    role.touch("widened").await.unwrap();
    wait::until_async("the token role to be put right", DEADLINE, async || {
        let found = root.read_token_role(&name).await?;
        ensure!(found.allowed_policies_glob.is_empty(), "{found:?}");
        Ok(())
    })
    .await
    .unwrap();

    // Other settings take another token; a Secret of another name takes the old one along.
    let change = json!({"token": {"ttl": "30m", "numUses": 9, "deliver": {"secretName": SECRET}}});
    role.change(change).await.unwrap();
    let sixth = until_replaced(&stage, &root, &fifth).await.unwrap();
    let info = look(&root, &sixth).await.unwrap().unwrap();
    assert_eq!(info.num_uses, 9, "{info:?}");
    role.change(json!({"token": {"deliver": {"secretName": "renamed", "key": "VAULT_TOKEN"}}}))
        .await
        .unwrap();
    role.until_ready().await.unwrap();
    until_dead(&root, &sixth).await.unwrap();
    assert!(secret(&stage, SECRET).await.unwrap().is_none(), "the old name");
    value(&stage, "renamed", "VAULT_TOKEN").await.unwrap();

    // Out of the spec: out of Vault, and out of the namespace.
    let change = json!({"token": {"deliver": null}, "appRole": {"secretName": "app-role"}});
    role.change(change).await.unwrap();
    role.until_ready().await.unwrap();
    assert!(secret(&stage, "renamed").await.unwrap().is_none(), "the Secret");
    assert!(minted(&root, &name).await.unwrap().is_empty(), "the token");
    let gone = root.read_token_role(&name).await;
    assert!(
        gone.as_ref().is_err_and(vaultkeeper_vault::Error::is_not_found),
        "{gone:?}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_batch_token_is_replaced_at_half_of_its_life_and_a_periodic_one_goes_on() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let batch = delivered(json!({"type": "Batch", "ttl": "10s", "explicitMaxTtl": "1h"}));
    let role = Role::create(&stage, "app", batch).await.unwrap();
    role.until_ready().await.unwrap();
    // On a busy machine one may be replaced, or have ended, before anybody has read it.
    let (first, info) = wait::until_async("a batch token that lives", DEADLINE, async || {
        let token = value(&stage, SECRET, "token").await?;
        let info = root
            .with_token(&Token::new(token.expose_secret())?)
            .lookup_self()
            .await?;
        Ok((token, info))
    })
    .await
    .unwrap();
    assert_eq!((info.kind.as_str(), info.orphan), ("batch", true), "{info:?}");
    wait::until_async("another batch token", DEADLINE, async || {
        let now = value(&stage, SECRET, "token").await?;
        ensure!(now.expose_secret() != first.expose_secret(), "it is the same");
        let info = holder(&stage, &root).await?.lookup_self().await?;
        ensure!(info.ttl > Duration::from_secs(1), "{info:?}");
        Ok(())
    })
    .await
    .unwrap();

    let periodic = json!({"type": "Service", "ttl": null, "period": "12s", "explicitMaxTtl": null});
    role.change(json!({ "token": periodic })).await.unwrap();
    role.until_ready().await.unwrap();
    // One that the operator of a machine at a standstill could not renew in time is followed by another one.
    let accessor = wait::until_async(
        "a periodic token to outlive three periods",
        DEADLINE,
        async || {
            let accessor = accessor(&stage).await?;
            let info = look(&root, &accessor).await?.context("it is dead")?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let age = now - u64::try_from(info.creation_time)?;
            ensure!(age > 36, "it is {age} s old");
            Ok(accessor)
        },
    )
    .await
    .unwrap();
    // Access taken away ends it.
    let change = json!({ "spec": { "access": [] } });
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    until_dead(&root, &accessor).await.unwrap();
    wait::until_async("the Secret to go", DEADLINE, async || {
        ensure!(secret(&stage, SECRET).await?.is_none(), "it is there");
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Whether a call is one of a delivery.
fn of_a_delivery(point: &Point) -> bool {
    let calls = [
        "auth/token/roles",
        "auth/token/create",
        "secrets",
        "renew-accessor",
    ];
    // An operator that starts applies the objects of the VaultCluster again.
    let of_cluster = point.call.contains('<') || point.call.contains("main-tls");
    calls.iter().any(|part| point.call.contains(part)) && !of_cluster
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_of_a_delivery_leaves_one_token() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    let root = stage.root(0).await.unwrap();
    // Longer than the first life of a token, so that it is renewed once it is stored.
    let fields = || delivered(json!({"ttl": "2m"}));

    let points = Points::record();
    let operator = stage.start_operator(&points);
    let role = Role::create(&stage, "app", fields()).await.unwrap();
    role.until_ready().await.unwrap();
    let table: Vec<Point> = points.seen().into_iter().filter(of_a_delivery).collect();
    println!("{table:#?}");
    for needed in ["auth/token/create", "secrets", "renew-accessor"] {
        assert!(
            table.iter().any(|point| point.call.contains(needed)),
            "no call with {needed} in {table:?}"
        );
    }
    role.delete().await.unwrap();
    operator.stop().await;
    for point in table {
        for side in [Side::Before, Side::After] {
            die_at(&stage, &root, fields(), (&point, side))
                .await
                .with_context(|| format!("{side:?} {point}"))
                .unwrap();
        }
    }
    // What was minted and never stored, at the death after the mint, ends within its first minute.
    let name = vaultkeeper_crds::names::vault_name(&stage.namespace, "app");
    wait::until_async("every token to be gone", DEADLINE, async || {
        let left = minted(&root, &name).await?;
        ensure!(left.is_empty(), "there are {left:?}");
        Ok(())
    })
    .await
    .unwrap();
    stage.end().await.unwrap();
}

async fn die_at(
    stage: &Stage,
    root: &Client,
    fields: Value,
    (point, side): (&Point, Side),
) -> anyhow::Result<()> {
    let points = Points::dying_at(point.clone(), side);
    let operator = stage.start_operator(&points);
    let role = Role::create(stage, "app", fields).await?;
    let reached = tokio::time::timeout(DEADLINE, points.reached());
    // A second call of a kind comes, or not, as the watch is behind or a call failed; where it does not, it dies at Ready.
    let died = tokio::select! {
        reached = reached => reached.is_ok(),
        ready = role.until_ready(), if point.occurrence > 1 => ready.is_ok(),
    };
    operator.kill().await;
    ensure!(died, "the point was never reached");
    let operator = stage.start_operator(&Points::record());
    role.until_ready().await?;
    // Ready may be said by the one that died; the one that lives heals in its first pass.
    wait::until_async("a token with a whole life", DEADLINE, async || {
        let info = look(root, &accessor(stage).await?).await?.context("it is dead")?;
        ensure!(info.ttl > Duration::from_secs(60), "{info:?}");
        let own = holder(stage, root).await?.lookup_self().await?;
        ensure!(own.accessor == info.accessor, "the Secret holds another one");
        Ok(())
    })
    .await?;
    role.delete().await?;
    ensure!(secret(stage, SECRET).await?.is_none(), "the Secret is there");
    operator.stop().await;
    Ok(())
}
