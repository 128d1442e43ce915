//! The operator's own login at a Vault that was set up by an operator of another name.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vaultkeeper_crds::names;
use vaultkeeper_operator::sessions::OPERATOR_ROLE;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::configuration::{declare, until_configured};
use super::roles;
use super::stage::{DEADLINE, Stage, assert_keys_and_no_root, condition, reason};

#[tokio::test]
async fn an_operator_under_another_name_says_how_to_get_its_login_and_gets_it_that_way() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    // A mount that gives batch tokens, which cannot be revoked: the root token goes all the same.
    let root = stage.root(0).await.unwrap();
    root.write("sys/auth/kubernetes/tune", &json!({"token_type": "batch"}))
        .await
        .unwrap();
    root.revoke_self().await.unwrap();

    let space = stage.operator_namespace.clone();
    stage.create_account(&space, "renamed").await.unwrap();
    let operator = stage.start_operator_as(&Points::record(), &space, "renamed");
    let cluster = stage
        .until("the denied login to be told", |c| {
            condition(c, "Configured").is_some_and(|said| said.message.contains("root-token"))
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Configured").unwrap();
    let key_secret = names::key_secret(&stage.namespace, "main");
    for part in [format!("{space}/renamed"), key_secret.clone()] {
        assert!(said.message.contains(&part), "{part} should be named: {said:?}");
    }

    let token = stage.root_token(0).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &space);
    let body = json!({"stringData": {"root-token": token.expose()}});
    secrets
        .patch(&key_secret, &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
    stage
        .until("the login to work", |c| reason(c, "Configured") == "InPlace")
        .await
        .unwrap();
    assert_keys_and_no_root(&stage).await.unwrap();
    operator.stop().await;

    // What it wrote is read back as it wrote it: an operator that starts writes nothing again.
    let points = Points::record();
    let operator = stage.start_operator_as(&points, &space, "renamed");
    operator.until_passes(2).await.unwrap();
    operator.stop().await;
    let written = points.seen();
    assert!(
        !written
            .iter()
            .any(|p| p.call.contains("auth/kubernetes/config") || p.call.contains("auth/kubernetes/role")),
        "nothing differs: {written:?}"
    );
    stage.end().await.unwrap();
}

#[tokio::test]
async fn the_operators_own_role_is_brought_back_when_somebody_changes_it() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;

    let root = stage.root(0).await.unwrap();
    let auth = root.kubernetes(names::KUBERNETES_AUTH_PATH);
    let wanted = auth.read_role(OPERATOR_ROLE).await.unwrap();
    let mut changed = wanted.clone();
    changed.token.ttl = Duration::from_secs(77);
    auth.write_role(OPERATOR_ROLE, &changed).await.unwrap();

    let operator = stage.start_operator(&Points::record());
    wait::until_async("the role to be as it was", DEADLINE, async || {
        let found = auth.read_role(OPERATOR_ROLE).await?;
        ensure!(found == wanted, "it is {found:?}");
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Revokes every token that the operator has by its own login, as somebody does in an emergency.
async fn revoke_the_operators_tokens(root: &Client) -> usize {
    let mut revoked = 0;
    for accessor in root.list_accessors().await.unwrap() {
        let is_the_operators = match root.lookup_accessor(&accessor).await {
            Ok(info) => info.policies.iter().any(|policy| policy == OPERATOR_ROLE),
            // It ended between the two calls.
            Err(_) => false,
        };
        if is_the_operators {
            root.revoke_accessor(&accessor).await.unwrap();
            revoked += 1;
        }
    }
    revoked
}

fn logins(points: &Points) -> usize {
    let seen = points.seen();
    seen.iter()
        .filter(|p| p.call.contains("auth/kubernetes/login"))
        .count()
}

#[tokio::test]
async fn an_operator_whose_token_was_revoked_logs_in_again_and_goes_on() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    let root = stage.root(0).await.unwrap();

    let before = logins(&points);
    assert!(
        revoke_the_operators_tokens(&root).await > 0,
        "the operator should have had a token"
    );
    let text = "path \"secret/data/app\" { capabilities = [\"read\"] }";
    declare(&stage, json!({"policies": [{"name": "app", "hcl": text}]})).await;
    until_configured(&stage).await;
    assert_eq!(
        root.read_policy("app").await.unwrap(),
        text,
        "what was declared after the revocation is in Vault"
    );
    let after = logins(&points) - before;
    assert!(
        (1..=3).contains(&after),
        "it logs in again, and not over and over: {after} logins"
    );

    // The same for the other controller, which has the same login.
    assert!(
        revoke_the_operators_tokens(&root).await > 0,
        "the new token should be there"
    );
    roles::create_role(&stage).await.unwrap();
    roles::until_ready(&stage).await.unwrap();
    operator.stop().await;
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}
