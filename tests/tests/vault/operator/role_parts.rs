//! The parts of a VaultRole hold one another up neither when they are kept nor when they go.

use std::collections::BTreeMap;

use anyhow::ensure;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::annotations::{ROTATE, TOKEN_ACCESSOR};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::role_support::{Tenant, everything};
use super::stage::{DEADLINE, Stage};

fn secret(name: &str, key: &str, value: &str) -> Secret {
    Secret {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..kube::api::ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            key.to_owned(),
            ByteString(value.as_bytes().to_vec()),
        )])),
        ..Secret::default()
    }
}

#[tokio::test]
async fn what_cannot_be_done_for_one_part_of_a_role_neither_stops_the_others_nor_keeps_them_alive() {
    let stage = Stage::new().await.unwrap();
    let access = |methods: serde_json::Value| {
        json!([{
            "namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"], "authMethods": methods,
        }])
    };
    let fields = json!({
        "configuration": {"authMethods": [{"path": "people", "type": "userpass"}]},
        "access": access(json!(["people"])),
    });
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let tenant = Tenant::of(&stage);
    let secrets: Api<Secret> = tenant.secrets();
    let plain = PostParams::default();
    secrets
        .create(&plain, &secret("ana", "password", "correct horse"))
        .await
        .unwrap();
    let parts = json!({
        "userpass": {"path": "people", "passwordSecret": {"name": "ana"}},
        "token": {"deliver": {"secretName": "app-token"}},
    });
    tenant.create("app", parts).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    let name = tenant.vault_name("app");

    // A password that is gone: the application's credentials are rotated nevertheless.
    let before = tenant.credentials("app-credentials").await.unwrap();
    secrets.delete("ana", &DeleteParams::default()).await.unwrap();
    let ask = json!({"metadata": {"annotations": {ROTATE: "1"}}});
    tenant.patch("app", ask).await.unwrap();
    tenant.until_unready("app", "PasswordMissing").await.unwrap();
    wait::until_async("another secret-id", DEADLINE, async || {
        let (_, now) = tenant.credentials("app-credentials").await?;
        ensure!(!same(&now, &before.1), "it is the same");
        Ok(())
    })
    .await
    .unwrap();

    // A name that is taken: the token is kept alive nevertheless.
    secrets.create(&plain, &secret("taken", "a", "b")).await.unwrap();
    let accessor = async || {
        let meta = secrets.get("app-token").await?.metadata;
        Ok::<_, anyhow::Error>(meta.annotations.unwrap_or_default().remove(TOKEN_ACCESSOR))
    };
    let dead = accessor().await.unwrap().unwrap();
    root.revoke_accessor(&dead).await.unwrap();
    let change = json!({"spec": {"appRole": {"secretName": "taken"}, "userpass": null}});
    tenant.patch("app", change).await.unwrap();
    tenant.until_unready("app", "NameTaken").await.unwrap();
    wait::until_async("another token", DEADLINE, async || {
        let now = accessor().await?;
        ensure!(now.is_some_and(|now| now != dead), "it is still {dead}");
        Ok(())
    })
    .await
    .unwrap();

    // Back as it was, with a person; then the cluster's owner takes the auth method out, and access after it.
    secrets
        .create(&plain, &secret("ana", "password", "correct horse"))
        .await
        .unwrap();
    let change = json!({"spec": {
        "appRole": {"secretName": "app-credentials"}, "userpass": {"path": "people", "passwordSecret": {"name": "ana"}},
    }});
    tenant.patch("app", change).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    // A slip in a path: the role asks for more than it may have, and keeps what it had.
    let path =
        |path: &str| json!({"spec": {"policy": {"rules": [{"path": path, "capabilities": ["read"]}]}}});
    tenant.patch("app", path("secrt/data/slip")).await.unwrap();
    let message = tenant.until_unready("app", "NotAllowed").await.unwrap();
    assert!(message.contains("stays as it was"), "{message}");
    tenant
        .log_in(&root, "app")
        .await
        .expect("the application goes on");
    let own = format!("secret/data/{}/app", stage.namespace);
    tenant.patch("app", path(&own)).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    let patch = async |spec: serde_json::Value| {
        stage
            .clusters()
            .patch(
                "main",
                &PatchParams::default(),
                &Patch::Merge(&json!({ "spec": spec })),
            )
            .await
            .unwrap();
    };
    patch(json!({"configuration": {"authMethods": []}})).await;
    wait::until_async("the operator to have no right there", DEADLINE, async || {
        let policy = root.read_policy("vaultkeeper-operator").await?;
        ensure!(!policy.contains("auth/people/"), "it has");
        Ok(())
    })
    .await
    .unwrap();
    let mine = |things: &std::collections::BTreeSet<String>| -> Vec<String> {
        things
            .iter()
            .filter(|thing| thing.contains(&name))
            .cloned()
            .collect()
    };
    assert!(
        !mine(&everything(&root).await.unwrap()).is_empty(),
        "a method that is not declared any more takes nothing away"
    );
    patch(json!({"access": []})).await;
    wait::until_async(
        "all to be gone that the operator can remove",
        DEADLINE,
        async || {
            let left = mine(&everything(&root).await?);
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        },
    )
    .await
    .unwrap();
    let user = root.read(&format!("auth/people/users/{name}")).await;
    assert!(user.is_ok(), "this one the operator cannot remove: {user:?}");
    let message = tenant.until_unready("app", "VaultDenied").await.unwrap();
    assert!(message.contains("auth/people/users/"), "and says so: {message}");
    operator.stop().await;
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}

fn same(a: &vaultkeeper_vault::SecretString, b: &vaultkeeper_vault::SecretString) -> bool {
    use vaultkeeper_vault::ExposeSecret as _;
    a.expose_secret() == b.expose_secret()
}

#[tokio::test]
async fn a_certificate_that_cannot_be_stored_is_not_made_again_and_again() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let tenant = Tenant::of(&stage);
    let login = json!({"appRole": null, "certificate": {"secretName": "app-tls", "ttl": "24h"}});
    tenant.create("app", login).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    let serials = async || {
        let status = tenant.roles().get("app").await.unwrap().status.unwrap();
        let issued = status.certificate.unwrap().issued;
        issued.into_iter().map(|one| one.serial).collect::<Vec<_>>()
    };
    let before = serials().await;
    let fixed = Patch::Merge(json!({"immutable": true}));
    tenant
        .secrets()
        .patch("app-tls", &PatchParams::default(), &fixed)
        .await
        .unwrap();
    // A shorter life: another certificate is due, and again.
    for ttl in ["2h", "1h"] {
        let change = json!({"spec": {"certificate": {"ttl": ttl}}});
        tenant.patch("app", change).await.unwrap();
        let message = tenant.until_unready("app", "NameTaken").await.unwrap();
        assert!(message.contains("immutable"), "{message}");
    }
    assert_eq!(serials().await, before, "none was made that nobody holds");

    tenant
        .secrets()
        .delete("app-tls", &DeleteParams::default())
        .await
        .unwrap();
    let touch = json!({"metadata": {"annotations": {"touched": "1"}}});
    tenant.patch("app", touch).await.unwrap();
    tenant.until_ready("app").await.unwrap();
    assert_eq!(serials().await.len(), 2, "the lost one and the present one");
    operator.stop().await;
    stage.end().await.unwrap();
}
