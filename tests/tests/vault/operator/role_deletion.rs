//! The end of a VaultRole: what dies with it, what stays where that is wanted, and who is told.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vaultkeeper_crds::names;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::tokens::TokenRequest;

use super::role_support::{Tenant, everything};
use super::stage::{DEADLINE, Operator, Stage};

async fn begun() -> (Stage, Operator, Client) {
    let stage = Stage::new().await.unwrap();
    let access = json!([{
        "namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"], "policies": ["shared"],
    }]);
    let configuration = json!({
        "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
        "policies": [{"name": "shared", "hcl": "path \"secret/data/shared\" { capabilities = [\"read\"] }"}],
    });
    stage
        .create_cluster_with(1, json!({"access": access, "configuration": configuration}))
        .await
        .unwrap();
    stage.create_account(&stage.namespace, "app").await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    root.write("secret/data/shared", &json!({"data": {"a": "b"}}))
        .await
        .unwrap();
    (stage, operator, root)
}

async fn end(stage: Stage, operator: Operator, root: Client) {
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Whether a token is alive.
async fn lives(root: &Client, accessor: &str) -> bool {
    root.lookup_accessor(accessor).await.is_ok()
}

fn fields(revoke: bool) -> serde_json::Value {
    json!({"kubernetes": {"serviceAccounts": ["app"]}, "policy": {"names": ["shared"]}, "revokeTokens": revoke})
}

#[tokio::test]
async fn secret_ids_die_with_the_role_and_tokens_only_where_that_is_asked_for() {
    let (stage, operator, root) = begun().await;
    let tenant = Tenant::of(&stage);
    for (name, revoke) in [("kept", false), ("ended", true), ("bystander", false)] {
        tenant.create(name, fields(revoke)).await.unwrap();
        tenant.until_ready(name).await.unwrap();
    }
    let method = root.approle("approle");
    let jwt = stage.token(&stage.namespace, "app", &[]).await.unwrap();
    let mut tokens = Vec::new();
    for name in ["kept", "ended", "bystander"] {
        let (role_id, secret_id) = tenant.credentials(&format!("{name}-credentials")).await.unwrap();
        let by_role = method.login(&role_id, &secret_id).await.unwrap();
        let by_account = root
            .kubernetes("kubernetes")
            .login(&tenant.vault_name(name), &jwt)
            .await
            .unwrap();
        let ids = method
            .list_secret_id_accessors(&tenant.vault_name(name))
            .await
            .unwrap();
        tokens.push((name, by_role, by_account, ids));
    }
    // Somebody's own token that claims to be one of that role.
    let claims = TokenRequest {
        policies: vec!["shared".to_owned()],
        meta: [("role_name".to_owned(), tenant.vault_name("ended"))].into(),
        ..TokenRequest::default()
    };
    let claims = root.create_orphan(&claims).await.unwrap();

    for name in ["kept", "ended"] {
        tenant.delete(name).await.unwrap();
    }
    for (name, by_role, by_account, ids) in &tokens {
        let role = tenant.vault_name(name);
        for id in ids {
            let known = method.lookup_secret_id_accessor(&role, id).await.is_ok();
            assert_eq!(known, *name == "bystander", "secret-id of {name}");
        }
        for (way, auth) in [("AppRole", by_role), ("ServiceAccount", by_account)] {
            let alive = lives(&root, &auth.accessor).await;
            assert_eq!(alive, *name != "ended", "token of {name} by {way}");
            let read = root
                .with_token(&auth.client_token)
                .read("secret/data/shared")
                .await;
            assert_eq!(
                read.is_ok(),
                *name != "ended",
                "what another policy allows {name} by {way}"
            );
        }
    }
    assert!(lives(&root, &claims.accessor).await, "no login gave this token");
    let notes = tenant.notes("ended", "TokensRevoked").await.unwrap();
    assert!(notes[0].contains("2 tokens"), "{notes:?}");
    end(stage, operator, root).await;
}

#[tokio::test]
async fn access_that_is_taken_away_takes_the_tokens_too_where_the_role_asked_for_it() {
    let (stage, operator, root) = begun().await;
    let tenant = Tenant::of(&stage);
    tenant.create("app", fields(true)).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    let (role_id, secret_id) = tenant.credentials("app-credentials").await.unwrap();
    let login = root.approle("approle").login(&role_id, &secret_id).await.unwrap();
    let change = json!({"spec": {"access": []}});
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    wait::until_async("the token to be revoked", DEADLINE, async || {
        ensure!(!lives(&root, &login.accessor).await, "it lives");
        Ok(())
    })
    .await
    .unwrap();
    end(stage, operator, root).await;
}

#[tokio::test]
async fn a_role_that_retains_leaves_all_of_it_and_says_so() {
    let (stage, operator, root) = begun().await;
    let tenant = Tenant::of(&stage);
    let fields = json!({"deletionPolicy": "Retain", "kubernetes": {"serviceAccounts": ["app"]}});
    tenant.create("app", fields).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    let before = everything(&root).await.unwrap();
    let secret = tenant.secrets().get("app-credentials").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = names::ca_config_map(&stage.namespace, "main");

    // A Vault that is away holds nothing up: nothing is done in it.
    stage.kubelet.freeze("main-0").await.unwrap();
    tenant.delete("app").await.unwrap();
    stage.kubelet.thaw("main-0").await.unwrap();
    stage.until_available().await.unwrap();
    assert_eq!(everything(&root).await.unwrap(), before, "all of it is there");
    let notes = tenant.notes("app", "Retained").await.unwrap();
    for part in [
        "Secret app-credentials",
        &format!("ConfigMap {map}"),
        &tenant.vault_name("app"),
    ] {
        assert!(notes[0].contains(part), "{part} should be told: {notes:?}");
    }
    // The garbage collector has looked at it when another object of the same owner would be gone: these have none any more.
    let left = tenant.secrets().get("app-credentials").await.unwrap();
    assert_eq!(left.data, secret.data, "the credentials stay");
    assert_eq!(left.metadata.owner_references, None, "or it would be collected");
    let left = maps.get(&map).await.unwrap();
    assert_eq!(
        left.metadata.owner_references, None,
        "the CA stays for those who use them"
    );
    tenant.log_in(&root, "app").await.expect("they log in as before");

    // A new role of that name does not take the Secret, which may be in use.
    tenant.create("app", json!({})).await.unwrap();
    tenant.until_unready("app", "NameTaken").await.unwrap();
    tenant
        .log_in(&root, "app")
        .await
        .context("the credentials in use")
        .unwrap();
    end(stage, operator, root).await;
}
