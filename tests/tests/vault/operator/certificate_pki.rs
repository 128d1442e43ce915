//! Client certificates from a PKI engine of the same Vault.

use anyhow::{Context as _, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::certificate_login::{
    DEADLINE, SECRET, assert_nothing_left, assert_refused, assert_takes, create_role, delete_role,
    edit_secret, held, noted, patch_role, roles, touch, until_another, until_ready, until_refused,
    write_wide,
};
use super::stage::Stage;

/// Serial number of the newest certificate, as the engine writes it.
async fn serial(stage: &Stage) -> String {
    let noted = noted(stage, "app").await.unwrap();
    let newest = noted.issued.last().expect("one was issued");
    assert_eq!(newest.issuer.as_deref(), Some("team/pki/apps"), "{newest:?}");
    let serial = newest.serial.trim_start_matches("00");
    let bytes: Vec<&str> = (0..serial.len())
        .step_by(2)
        .map(|at| &serial[at..at + 2])
        .collect();
    bytes.join(":")
}

/// Whether the engine says that it is revoked.
async fn is_revoked(root: &Client, serial: &str) -> bool {
    let found: Value = root
        .read(&format!("team/pki/cert/{serial}"))
        .await
        .unwrap()
        .data
        .decode()
        .unwrap();
    found["revocation_time"].as_u64().unwrap_or_default() > 0
}

/// Reason and message of the condition Ready, once it is false.
async fn until_not_ready(stage: &Stage, reason: &str) -> String {
    wait::until_async("the role to say what is wrong", DEADLINE, async || {
        let status = roles(stage).get("app").await?.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let ready = ready.context("no condition")?;
        ensure!(
            ready.reason == reason,
            "it is {}: {}",
            ready.reason,
            ready.message
        );
        Ok(ready.message.clone())
    })
    .await
    .unwrap()
}

async fn write_pki_role(root: &Client, name: &str, fields: Value) {
    let mut role = json!({
        "allow_any_name": true, "allowed_uri_sans": ["spiffe://*"], "key_type": "any", "max_ttl": "24h",
        "server_flag": false, "client_flag": true,
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        role[field] = value.clone();
    }
    root.write(&format!("team/pki/roles/{name}"), &role)
        .await
        .unwrap();
}

fn by(role: &str) -> Value {
    json!({ "spec": { "certificate": { "pki": { "mount": "team/pki", "role": role } } } })
}

#[tokio::test]
async fn a_pki_engine_signs_what_logs_in_and_only_where_the_cluster_allows_it() {
    let stage = Stage::new().await.unwrap();
    let spec = json!({
        "configuration": { "secretsEngines": [{ "path": "team/pki", "type": "pki" }] },
        "access": [{
            "namespaces": [stage.namespace],
            "pathPrefixes": ["secret/data/{{namespace}}/", "team/pki/sign/"],
        }],
    });
    stage.create_cluster_with(1, spec).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let app = names::vault_name(&stage.namespace, "app");

    // Nobody has set the engine up yet: the role waits, and says for what.
    let wish = json!({ "secretName": SECRET, "ttl": "1h", "pki": { "mount": "team/pki", "role": "apps" } });
    create_role(&stage, "app", &wish).await.unwrap();
    wait::until_async("the role to wait for the engine", DEADLINE, async || {
        let status = roles(&stage).get("app").await?.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let said = ready.context("no condition")?.message.clone();
        ensure!(said.contains("team/pki/sign/apps"), "it says {said}");
        Ok(())
    })
    .await
    .unwrap();
    let ca = json!({ "common_name": "a PKI", "ttl": "48h" });
    root.write("team/pki/root/generate/internal", &ca).await.unwrap();
    write_pki_role(&root, "apps", json!({})).await;
    until_ready(&stage, "app").await.unwrap();
    let first = held(&stage, SECRET).await.unwrap();
    let auth = assert_takes(&stage, &first, &app, "its own certificate").await;
    assert!(
        auth.policies.contains(&app),
        "its policies are {:?}",
        auth.policies
    );
    write_wide(&stage, &root).await;
    assert_refused(
        &stage,
        &first,
        "wide",
        "what the operator's own CA has not signed",
    )
    .await;

    // Lost: revoked at the engine, and refused at the login, which knows nothing of the engine's list.
    let lost = serial(&stage).await;
    assert!(!is_revoked(&root, &lost).await);
    edit_secret(&stage, SECRET).await;
    touch(&stage, "app").await;
    let second = until_another(&stage, "app", &first).await;
    until_refused(&stage, &first, &app).await;
    assert!(is_revoked(&root, &lost).await, "at the engine, too");

    // The engine has another CA now. Who has the certificate of before is let in until it ends.
    let rotated = root.write("team/pki/root/rotate/internal", &ca).await.unwrap();
    let rotated: Value = rotated.expect("an answer").data.decode().unwrap();
    let issuer = json!({ "default": rotated["issuer_id"] });
    root.write("team/pki/config/issuers", &issuer).await.unwrap();
    patch_role(
        &stage,
        "app",
        &json!({ "spec": { "certificate": { "ttl": "30m" } } }),
    )
    .await;
    let third = until_another(&stage, "app", &second).await;
    until_ready(&stage, "app").await.unwrap();
    assert_takes(&stage, &second, &app, "the one before").await;
    assert_takes(&stage, &third, &app, "the one of the new CA").await;
    let present = serial(&stage).await;

    // Roles of the engine that do not fit are told, with the remedy, and what is there stays.
    write_pki_role(
        &root,
        "servers",
        json!({ "client_flag": false, "server_flag": true }),
    )
    .await;
    patch_role(&stage, "app", &by("servers")).await;
    let said = until_not_ready(&stage, "PkiRoleUnfit").await;
    assert!(
        said.contains("team/pki/roles/servers") && said.contains("client_flag=true"),
        "{said}"
    );
    write_pki_role(&root, "forgetful", json!({ "no_store": true })).await;
    patch_role(&stage, "app", &by("forgetful")).await;
    wait::until_async("the other role to be told", DEADLINE, async || {
        let said = until_not_ready(&stage, "PkiRoleUnfit").await;
        ensure!(said.contains("no_store=false"), "it says {said}");
        Ok(())
    })
    .await
    .unwrap();
    assert_takes(&stage, &third, &app, "the one that is stored").await;

    // An engine that is not granted: what was given stays. It goes, and is revoked, when access is taken away.
    let change = json!({ "spec": { "certificate": { "pki": { "mount": "secret", "role": "apps" } } } });
    patch_role(&stage, "app", &change).await;
    let said = until_not_ready(&stage, "NotAllowed").await;
    assert!(
        said.contains("`secret/sign/apps`") && said.contains("stays as it was"),
        "{said}"
    );
    assert_takes(&stage, &third, &app, "the one that is stored").await;
    let allow = async |access: Value| {
        let change = json!({ "spec": { "access": access } });
        let cluster = stage.clusters();
        cluster
            .patch("main", &PatchParams::default(), &Patch::Merge(&change))
            .await
            .unwrap();
    };
    let access = stage.clusters().get("main").await.unwrap().spec.access;
    allow(json!([])).await;
    wait::until_async("nothing to be left", DEADLINE, async || {
        assert_nothing_left(&stage, &root).await
    })
    .await
    .unwrap();
    assert!(is_revoked(&root, &present).await, "at the engine, too");

    // Back again, and deleted.
    allow(json!(access)).await;
    patch_role(&stage, "app", &by("apps")).await;
    until_ready(&stage, "app").await.unwrap();
    let last = held(&stage, SECRET).await.unwrap();
    assert_takes(&stage, &last, &app, "the new one").await;
    let number = serial(&stage).await;
    delete_role(&stage, "app").await.unwrap();
    assert!(is_revoked(&root, &number).await, "that of a deleted role");
    assert_nothing_left(&stage, &root).await.unwrap();

    // At an engine that the cluster does not declare any more the operator may revoke nothing. That holds nothing up, and
    // this Vault refuses the certificate all the same.
    create_role(&stage, "app", &wish).await.unwrap();
    until_ready(&stage, "app").await.unwrap();
    let orphan = held(&stage, SECRET).await.unwrap();
    let number = serial(&stage).await;
    let ca = root.read("team/pki/cert/ca").await.unwrap();
    let ca: Value = ca.data.decode().unwrap();
    let engine = json!({ "certificate": ca["certificate"] });
    root.write("auth/cert/certs/engine", &engine).await.unwrap();
    assert_takes(&stage, &orphan, "engine", "what the engine signed").await;
    let change = json!({ "spec": { "configuration": { "secretsEngines": [] } } });
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    wait::until_async("the operator to have no right there", DEADLINE, async || {
        let policy = root.read_policy("vaultkeeper-operator").await?;
        ensure!(!policy.contains("team/pki/revoke"), "it has");
        Ok(())
    })
    .await
    .unwrap();
    delete_role(&stage, "app").await.unwrap();
    assert!(!is_revoked(&root, &number).await, "it had no right to");
    assert_refused(&stage, &orphan, "engine", "what is on the operator's list").await;
    root.delete("auth/cert/certs/engine").await.unwrap();
    assert_nothing_left(&stage, &root).await.unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
