//! Secret-ids that are replaced, and Secrets that look as their spec wishes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultkeeper_crds::annotations::RESTARTED_FOR;
use vaultkeeper_tests::points::{Point, Points};
use vaultkeeper_tests::wait;

use super::configuration::event;
use super::rotation_support::{DEADLINE, Role, SECRET, set};
use super::stage::Stage;

/// Calls that change Vault or a Secret; those that look are left aside.
fn changes(points: &Points) -> Vec<Point> {
    let is_change = |point: &Point| {
        // An operator that starts applies the objects of the VaultCluster again.
        let looks = [
            "LIST",
            "lookup",
            "auth/kubernetes/login",
            "status",
            "leases",
            "main-tls",
        ];
        let names_it = ["app", "secrets", "deployments"];
        names_it.iter().any(|part| point.call.contains(part))
            && !looks.iter().any(|part| point.call.contains(part))
    };
    points.seen().into_iter().filter(is_change).collect()
}

#[tokio::test]
async fn every_credential_logs_in_before_during_and_after_a_rotation_and_no_longer() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    role.create(json!({ "secretName": SECRET, "rotation": { "overlap": "30s" } }))
        .await;
    let first = role.stored().await.unwrap();
    role.login(&first).await.expect("the first one logs in");
    assert_eq!(role.known().await, set(&[&first]), "before the rotation");

    // On request: both work, then the new one alone.
    role.ask("monday").await.unwrap();
    let second = role.until_other_than(&first).await;
    assert_eq!(role.known().await, set(&[&first, &second]), "during the rotation");
    role.login(&second).await.expect("the new one logs in");
    role.login(&first)
        .await
        .expect("the old one works while applications change over");
    // It is ready all the time: the status follows what is stored.
    wait::until_async("the status to tell of both", DEADLINE, async || {
        let status = role.roles().get("app").await?.status.unwrap_or_default();
        let status = status.app_role.context("it tells of none")?;
        let previous = status.previous.first().context("it tells of none before")?;
        ensure!(
            status.secret_id_accessor == second.accessor && previous.secret_id_accessor == first.accessor,
            "it says {status:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    role.until_known(&[&second]).await;
    let gone = role.login(&first).await.expect_err("its overlap is over");
    assert!(gone.to_string().contains("invalid role or secret ID"), "{gone}");
    role.login(&second).await.expect("the new one goes on");

    // Another operator replaces nothing, and writes nothing once the end of the overlap is told.
    wait::until_async("the status without the old one", DEADLINE, async || {
        let status = role
            .until_ready()
            .await?
            .status
            .and_then(|status| status.app_role)
            .context("none")?;
        ensure!(status.previous.is_empty(), "it tells of {:?}", status.previous);
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    let touched = changes(&points);
    assert!(
        touched.is_empty(),
        "a restart must replace nothing, it did {touched:?}"
    );
    assert_eq!(role.known().await, set(&[&second]));

    // Edited by hand: applications may still hold the one that was there.
    let edit = json!({ "stringData": { "secret-id": "edited" } });
    role.secrets()
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    role.patch(&json!({ "metadata": { "annotations": { "touched": "1" } } }))
        .await
        .unwrap();
    let third = role.until_other_than(&second).await;
    role.login(&third).await.expect("it is put right");
    role.login(&second)
        .await
        .expect("the one before the edit works for a while");

    // Deleted by hand: nothing that came before works on.
    role.secrets()
        .delete(SECRET, &DeleteParams::default())
        .await
        .unwrap();
    role.patch(&json!({ "metadata": { "annotations": { "touched": "2" } } }))
        .await
        .unwrap();
    let fourth = role.until_other_than(&third).await;
    role.until_known(&[&fourth]).await;

    // A changed parameter: the new one has it, and an end. Then by time, again and again.
    role.change(json!({ "secretIdTtl": "1h", "rotation": { "overlap": "2s" } }))
        .await;
    let fifth = role.until_other_than(&fourth).await;
    let about = root
        .approle("approle")
        .lookup_secret_id_accessor(&role.name(), &fifth.accessor)
        .await
        .unwrap();
    assert_eq!(about.ttl, Duration::from_secs(3600));
    let made_for = role.until_ready().await.unwrap().metadata;
    for (key, wanted) in [
        ("namespace", made_for.namespace.unwrap()),
        ("name", "app".to_owned()),
        ("uid", made_for.uid.unwrap()),
        ("generation", made_for.generation.unwrap().to_string()),
    ] {
        assert_eq!(
            about.metadata[key], wanted,
            "whose it is can be seen in Vault: {key}"
        );
    }
    wait::until_async("the status to tell its end", DEADLINE, async || {
        let status = role
            .until_ready()
            .await?
            .status
            .and_then(|status| status.app_role);
        let status = status.context("there is none")?;
        ensure!(
            status.expires_at.is_some() && status.next_rotation_at.is_some(),
            "it says {status:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    role.change(json!({ "rotation": { "every": "10s" } })).await;
    let mut last = role.stored().await.unwrap();
    for _ in 0..2 {
        let next = role.until_other_than(&last).await;
        role.login(&next)
            .await
            .expect("each one that comes by time logs in");
        last = next;
    }
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_secret_looks_as_its_spec_wishes_and_a_role_id_has_one_owner() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    let keys = json!({ "roleId": "ROLE_ID", "secretId": "SECRET_ID", "accessor": "ACCESSOR", "address": "VAULT_ADDR", "ca": "vault.crt" });
    role.create(json!({
        "secretName": SECRET, "roleId": "shop-app", "secretIdNumUses": 5, "secretIdBoundCidrs": ["127.0.0.0/8"],
        "secret": { "type": "example.com/vault", "labels": { "team": "a" }, "annotations": { "example.com/note": "b" }, "keys": keys },
    }))
    .await;
    let secret = role.secrets().get(SECRET).await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("example.com/vault"));
    assert_eq!(secret.metadata.labels.as_ref().unwrap()["team"], "a");
    assert_eq!(
        secret.metadata.annotations.as_ref().unwrap()["example.com/note"],
        "b"
    );
    let found: Vec<String> = secret.data.unwrap().into_keys().collect();
    assert_eq!(
        found,
        ["ACCESSOR", "ROLE_ID", "SECRET_ID", "VAULT_ADDR", "vault.crt"]
    );
    assert_eq!(role.text(SECRET, "ROLE_ID").await.as_deref(), Some("shop-app"));
    let ca = role.text(SECRET, "vault.crt").await.unwrap();
    assert!(ca.contains("BEGIN CERTIFICATE"), "{ca}");
    let in_vault = root.approle("approle").read_role(&role.name()).await.unwrap();
    assert_eq!(
        (
            in_vault.secret_id_num_uses,
            in_vault.secret_id_bound_cidrs.as_slice()
        ),
        (5, ["127.0.0.0/8".to_owned()].as_slice())
    );
    // The look at it has used none up.
    let accessor = role.text(SECRET, "ACCESSOR").await.unwrap();
    let about = root
        .approle("approle")
        .lookup_secret_id_accessor(&role.name(), &accessor)
        .await
        .unwrap();
    assert_eq!(about.num_uses, 5, "all five are the application's");

    // Other names and labels: the same secret-id, and nothing is left of the former.
    let before = role.known().await;
    let secret_id = role.text(SECRET, "SECRET_ID").await;
    let plain = json!({ "keys": null, "labels": null, "annotations": null });
    role.change(json!({ "secret": plain })).await;
    assert_eq!(role.known().await, before, "no other secret-id is made for that");
    assert_eq!(role.text(SECRET, "secret-id").await, secret_id);
    let secret = role.secrets().get(SECRET).await.unwrap();
    assert_eq!(secret.data.unwrap().len(), 2, "keys of before are gone");
    assert!(
        !secret.metadata.labels.unwrap().contains_key("team"),
        "the label is gone"
    );
    role.login(&role.stored().await.unwrap())
        .await
        .expect("it logs in from here");

    // Used up: a new one comes at the next look.
    let used_up = role.stored().await.unwrap();
    for _ in 0..4 {
        role.login(&used_up).await.expect("a use is left");
    }
    role.login(&used_up).await.expect_err("none is left");
    role.patch(&json!({ "metadata": { "annotations": { "touched": "1" } } }))
        .await
        .unwrap();
    let fresh = role.until_other_than(&used_up).await;
    role.login(&fresh).await.expect("it is replaced");

    // The role-id of another role is not to be had, and that role keeps it.
    let thief = role.object("thief", &json!({ "secretName": "loot", "roleId": "shop-app" }));
    role.roles().create(&PostParams::default(), &thief).await.unwrap();
    let said = role.until_says("thief", "NameTaken").await;
    assert!(
        said.contains("spec.appRole.roleId"),
        "the remedy is named: {said}"
    );
    assert!(
        role.secrets().get_opt("loot").await.unwrap().is_none(),
        "no Secret is made"
    );
    assert!(role.stored().await.unwrap().role_id == "shop-app");
    role.roles()
        .delete("thief", &DeleteParams::default())
        .await
        .unwrap();

    // From elsewhere nobody logs in.
    role.change(json!({ "secretIdBoundCidrs": ["192.0.2.0/24"] }))
        .await;
    let denied = role.login(&role.stored().await.unwrap()).await;
    let denied = denied.expect_err("this is not 192.0.2.0/24").to_string();
    assert!(denied.contains("CIDR"), "{denied}");

    // Another role-id, another name of the Secret: what the application holds works on under the new role-id.
    role.change(json!({ "secretIdBoundCidrs": [], "secretIdNumUses": null, "roleId": "shop-app-2" }))
        .await;
    let other = role.stored().await.unwrap();
    assert_eq!(other.role_id, "shop-app-2");
    role.login(&other).await.expect("with the new role-id");
    role.change(json!({ "secretName": "renamed" })).await;
    assert!(
        role.secrets().get_opt(SECRET).await.unwrap().is_none(),
        "the old name is gone"
    );
    role.login(&other)
        .await
        .expect("who has read the old Secret is not locked out at once");

    // Without a secret-id: the role-id alone, from here alone.
    role.change(
        json!({ "bindSecretId": false, "secretIdBoundCidrs": ["127.0.0.0/8"], "secretName": SECRET }),
    )
    .await;
    assert_eq!(role.known().await, set(&[]), "no secret-id is left");
    assert_eq!(role.text(SECRET, "secret-id").await, None);
    let role_id = role.text(SECRET, "role-id").await.unwrap();
    let anybody = root.without_token();
    let login = anybody
        .write("auth/approle/login", &json!({ "role_id": role_id }))
        .await;
    let login = login.expect("the role-id alone logs in from here");
    assert!(
        login.is_some_and(|login| login.auth.is_some()),
        "it gives a token"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_block_that_vault_would_store_as_junk_never_gets_there() {
    // Its CRD knows no rules: the operator is the one who refuses.
    let stage = Stage::with_an_older_crd().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    let junk = role.object(
        "app",
        &json!({ "secretName": SECRET, "secretIdBoundCidrs": ["300.0.0.0/8"] }),
    );
    role.roles().create(&PostParams::default(), &junk).await.unwrap();
    let said = role.until_says("app", "InvalidSpec").await;
    assert!(said.contains("300.0.0.0/8"), "the block is named: {said}");
    let written = points.seen();
    let written: Vec<&Point> = written
        .iter()
        .filter(|point| point.call.contains(&role.name()))
        .collect();
    assert!(written.is_empty(), "nothing may be written: {written:?}");
    let roles = root.approle("approle").list_roles().await.unwrap();
    assert!(!roles.contains(&role.name()), "{roles:?}");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

fn deployment(name: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "a", "image": "a" }] },
            },
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_workload_is_restarted_once_for_each_rotation_and_a_missing_one_is_told() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let role = Role {
        stage: &stage,
        root: &root,
    };
    let shop = deployment("shop");
    role.deployments()
        .create(&PostParams::default(), &shop)
        .await
        .unwrap();
    let targets =
        json!([{ "kind": "Deployment", "name": "shop" }, { "kind": "StatefulSet", "name": "missing" }]);
    role.create(json!({ "secretName": SECRET, "rotation": { "overlap": "0s", "restartTargets": targets } }))
        .await;
    // What the template says, and how often the spec was changed.
    let template = async || {
        let shop = role.deployments().get("shop").await.unwrap();
        let template = shop.spec.unwrap().template.metadata.unwrap();
        let mark = template.annotations.unwrap_or_default().remove(RESTARTED_FOR);
        (mark, shop.metadata.generation.unwrap())
    };
    let (mark, before) = template().await;
    assert_eq!(mark, None, "it is not restarted for the first credentials");

    let first = role.stored().await.unwrap();
    role.ask("monday").await.unwrap();
    let second = role.until_other_than(&first).await;
    role.until_known(&[&second]).await;
    let (mark, after) = template().await;
    assert!(
        mark.is_some() && after == before + 1,
        "restarted once: {mark:?}, {after}"
    );
    event(&stage, "WorkloadRestarted", &["Deployment shop"]).await;
    event(&stage, "RestartFailed", &["missing"]).await;
    role.until_ready()
        .await
        .expect("a missing workload holds nothing up");

    // A tool takes the annotation away; neither that nor another operator restarts it again.
    let bare = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
    role.deployments()
        .patch("shop", &PatchParams::default(), &Patch::Merge(&bare))
        .await
        .unwrap();
    operator.stop().await;
    let operator = stage.start_operator(&Points::record());
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    role.patch(&json!({ "metadata": { "annotations": { "touched": "1" } } }))
        .await
        .unwrap();
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    assert_eq!(template().await, (None, after + 1), "only the tool changed it");

    role.ask("tuesday").await.unwrap();
    let third = role.until_other_than(&second).await;
    role.until_known(&[&third]).await;
    let (again, last) = template().await;
    assert!(
        again.is_some() && again != mark && last == after + 2,
        "once for the second: {again:?}"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
