//! What somebody changes in a real Vault past the spec is put right, told, or left, as `drift` says.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, Error};

use super::audit_receiver::AuditReceiver;
use super::configuration::{declare, event, log_in, password, read, until_configured};
use super::stage::{DEADLINE, Stage, condition};

const POLICY: &str = "path \"secret/data/app\" { capabilities = [\"read\"] }";

fn declared(drift: &str, max_ttl: &str) -> Value {
    json!({
        "drift": drift,
        "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}, "tune": {"maxLeaseTtl": max_ttl}}],
        "authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [
            {"name": "ana", "password": {"name": "ana", "key": "password"}, "token": {"policies": ["app"]}},
        ]}}],
        "policies": [{"name": "app", "hcl": POLICY}],
        "audit": [{"path": "stdout", "stdout": {}}, {"path": "second", "file": {"path": "/dev/stderr"}}],
    })
}

/// Somebody with a root token changes declared objects, and makes others.
async fn tamper(root: &Client) {
    root.write(
        "sys/mounts/secret/tune",
        &json!({"max_lease_ttl": "9000s", "description": "by hand"}),
    )
    .await
    .unwrap();
    root.write_policy("app", "path \"*\" { capabilities = [\"sudo\"] }")
        .await
        .unwrap();
    root.write(
        "auth/people/users/ana",
        &json!({"token_policies": ["app", "admin"], "token_num_uses": 7}),
    )
    .await
    .unwrap();
    root.disable_audit_device("second").await.unwrap();
    root.write_policy("by-hand", POLICY).await.unwrap();
    if !root.mounts().await.unwrap().contains_key("by-hand/") {
        let engine = MountRequest {
            kind: "kv".to_owned(),
            ..MountRequest::default()
        };
        root.enable_mount("by-hand", &engine).await.unwrap();
    }
}

async fn max_ttl(root: &Client) -> u64 {
    read(root, "sys/mounts/secret/tune").await.unwrap()["max_lease_ttl"]
        .as_u64()
        .unwrap()
}

async fn nothing_unmanaged_was_touched(root: &Client) {
    assert_eq!(root.read_policy("by-hand").await.unwrap().trim(), POLICY);
    assert!(
        root.mounts().await.unwrap().contains_key("by-hand/"),
        "an engine that nobody declared"
    );
    let secret = read(root, "sys/mounts/secret/tune").await.unwrap();
    assert_eq!(
        secret["description"],
        json!("by hand"),
        "no description is declared"
    );
    let ana = read(root, "auth/people/users/ana").await.unwrap();
    assert_eq!(ana["token_num_uses"], json!(7), "a field that no spec names");
}

#[tokio::test]
async fn drift_is_put_right_or_told_or_left_and_a_new_spec_is_applied_in_any_case() {
    let stage = Stage::new().await.unwrap();
    password(&stage, "ana", "first").await;
    let fields = json!({"configuration": declared("Enforce", "1h")});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    let root = stage.root(0).await.unwrap();

    // An operator that starts looks at once; one that runs looks every minute.
    operator.stop().await;
    tamper(&root).await;
    // Ana chose a password of her own meanwhile: a correction of her policies does not take it back.
    root.write("auth/people/users/ana/password", &json!({"password": "chosen"}))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    wait::until_async("everything to be put right", DEADLINE, async || {
        anyhow::ensure!(max_ttl(&root).await == 3600, "the lease is still longer");
        anyhow::ensure!(
            root.read_policy("app").await?.trim() == POLICY,
            "the policy is still wide"
        );
        let ana = read(&root, "auth/people/users/ana").await?;
        anyhow::ensure!(ana["token_policies"] == json!(["app"]), "ana is still an admin");
        anyhow::ensure!(
            root.audit_devices().await?.contains_key("second/"),
            "the device is still gone"
        );
        Ok(())
    })
    .await
    .unwrap();
    nothing_unmanaged_was_touched(&root).await;
    event(
        &stage,
        "ConfigurationDrift",
        &[
            "put right",
            "spec.configuration.secretsEngines[0].tune.maxLeaseTtl",
            "9000",
            "3600",
        ],
    )
    .await;
    event(
        &stage,
        "ConfigurationDrift",
        &[
            "spec.configuration.policies[0].hcl",
            "spec.configuration.authMethods[0].userpass.users[0].token.policies",
        ],
    )
    .await;
    log_in(&stage.member(0).await.unwrap(), "people", "ana", "chosen")
        .await
        .unwrap();

    // Report: told and left.
    declare(&stage, declared("Report", "1h")).await;
    until_configured(&stage).await;
    operator.stop().await;
    tamper(&root).await;
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the drift to be told", |c| {
            condition(c, "Drifted").is_some_and(|c| c.status == "True")
        })
        .await
        .unwrap();
    let said = condition(&cluster, "Drifted").unwrap().message;
    assert!(
        said.contains("tune.maxLeaseTtl") && said.contains("policies[0].hcl"),
        "{said}"
    );
    assert_eq!(max_ttl(&root).await, 9000, "a report changes nothing");
    assert!(
        !root.audit_devices().await.unwrap().contains_key("second/"),
        "nor a device"
    );
    event(&stage, "ConfigurationDrift", &["and left", "tune.maxLeaseTtl"]).await;

    // A change of the spec is applied all the same, and so is a Secret that changed.
    password(&stage, "ana", "second").await;
    declare(&stage, declared("Report", "2h")).await;
    stage
        .until("nothing to differ any more", |c| {
            condition(c, "Drifted").is_none()
        })
        .await
        .unwrap();
    assert_eq!(max_ttl(&root).await, 7200, "the new spec");
    let member = stage.member(0).await.unwrap();
    log_in(&member, "people", "ana", "second").await.unwrap();
    assert!(
        log_in(&member, "people", "ana", "chosen").await.is_err(),
        "the password of the Secret, no other"
    );

    // Off: not looked at.
    declare(&stage, declared("Off", "2h")).await;
    until_configured(&stage).await;
    operator.stop().await;
    tamper(&root).await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes(3).await.unwrap();
    assert_eq!(max_ttl(&root).await, 9000, "nobody looks");
    let cluster = stage.clusters().get("main").await.unwrap();
    assert!(condition(&cluster, "Drifted").is_none(), "and nobody tells");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_an_older_operator_gets_the_wider_policy_by_itself() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    operator.stop().await;
    let root = stage.root(0).await.unwrap();
    let before = root.read_policy("vaultkeeper-operator").await.unwrap();
    assert!(!before.contains("password"), "nothing of it is declared yet");
    // As an operator of an earlier version had written it.
    let older: Vec<&str> = before
        .lines()
        .filter(|line| !line.contains("revoke-accessor"))
        .collect();
    root.write_policy("vaultkeeper-operator", &older.join("\n"))
        .await
        .unwrap();

    declare(&stage, json!({"passwordPolicies": [{"name": "long", "hcl": "length = 30\nrule \"charset\" { charset = \"abc\" }"}]})).await;
    let operator = stage.start_operator(&Points::record());
    until_configured(&stage).await;
    assert!(
        read(&root, "sys/policies/password/long").await.is_ok(),
        "it is written"
    );
    let after = root.read_policy("vaultkeeper-operator").await.unwrap();
    assert!(
        after.contains("revoke-accessor") && after.contains("sys/policies/password/long"),
        "{after}"
    );

    // And narrower again when nothing of it is declared; the object itself stays.
    declare(&stage, json!({"passwordPolicies": []})).await;
    until_configured(&stage).await;
    wait::until_async("the narrower policy", DEADLINE, async || {
        let now = root.read_policy("vaultkeeper-operator").await?;
        anyhow::ensure!(!now.contains("password"), "{now}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        read(&root, "sys/policies/password/long").await.is_ok(),
        "nothing is deleted"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn the_only_audit_device_is_never_taken_away_to_change_it_and_a_secret_of_the_operator_is_never_sent() {
    let stage = Stage::new().await.unwrap();
    let fields = json!({"configuration": {"audit": [{"path": "stdout", "stdout": {}}]}});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    declare(
        &stage,
        json!({"audit": [{"path": "stdout", "stdout": {}, "format": "Jsonx"}]}),
    )
    .await;
    stage
        .until("the refusal to be told", |c| {
            condition(c, "Configured")
                .is_some_and(|c| c.reason == "OnlyAuditDevice" && c.message.contains("audit[0].format"))
        })
        .await
        .unwrap();
    let root = stage.root(0).await.unwrap();
    let devices = root.audit_devices().await.unwrap();
    assert_eq!(
        devices.keys().collect::<Vec<_>>(),
        ["stdout/"],
        "it logs on as it was"
    );

    // A socket is no substitute: its receiver may be gone without anybody's notice, and Vault would be shut.
    let receiver = AuditReceiver::start().await.unwrap();
    let siem =
        |type_: &str, address: &str| json!({"path": "siem", "socket": {"address": address, "type": type_}});
    let udp = siem("Udp", &receiver.address());
    let stdout = json!({"path": "stdout", "stdout": {}, "format": "Jsonx"});
    declare(&stage, json!({"audit": [udp, stdout]})).await;
    wait::until_async("the socket to be enabled", DEADLINE, async || {
        anyhow::ensure!(root.audit_devices().await?.contains_key("siem/"), "not there");
        Ok(())
    })
    .await
    .unwrap();
    let cluster = stage
        .until("the refusal to be told of the new spec", |c| {
            condition(c, "Configured").is_some_and(|said| {
                said.reason == "OnlyAuditDevice" && said.observed_generation == c.metadata.generation
            })
        })
        .await
        .unwrap();
    let pending = cluster.status.unwrap().configuration.unwrap().pending;
    assert_eq!(pending, ["audit[1]"], "only what failed is tried again");
    let devices = root.audit_devices().await.unwrap();
    assert_eq!(
        devices["stdout/"].options.get("format"),
        None,
        "the stream was not taken away"
    );

    let second = json!({"path": "second", "file": {"path": "/dev/stderr"}});
    declare(&stage, json!({"audit": [second, stdout, udp]})).await;
    until_configured(&stage).await;
    let devices = root.audit_devices().await.unwrap();
    let format = devices["stdout/"].options.get("format").map(String::as_str);
    assert_eq!(format, Some("jsonx"), "with a second stream it is replaced");

    // A receiver that does not answer: Vault refuses the new device, and the one that worked is back.
    let dead = siem("Tcp", "127.0.0.1:1");
    declare(&stage, json!({"audit": [second, stdout, dead]})).await;
    stage
        .until("the dead receiver to be told", |c| {
            condition(c, "Configured")
                .is_some_and(|c| c.status == "False" && c.message.contains("spec.configuration.audit[2]"))
        })
        .await
        .unwrap();
    // Each new try takes it away for a moment.
    wait::until_async("the old device to log on", DEADLINE, async || {
        let devices = root.audit_devices().await?;
        let type_ = devices.get("siem/").and_then(|d| d.options.get("socket_type"));
        anyhow::ensure!(type_.map(String::as_str) == Some("udp"), "there are {devices:?}");
        Ok(())
    })
    .await
    .unwrap();
    declare(&stage, json!({"audit": [second, stdout, udp]})).await;
    until_configured(&stage).await;

    // The certificate's Secret lies beside the cluster and is the operator's.
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(
        secrets
            .get("main-tls")
            .await
            .unwrap()
            .data
            .unwrap_or_default()
            .contains_key("tls.key")
    );
    let user = json!({"name": "ana", "password": {"name": "main-tls", "key": "tls.key"}});
    declare(
        &stage,
        json!({"authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [user]}}]}),
    )
    .await;
    stage
        .until("the refusal of the Secret", |c| {
            condition(c, "Configured")
                .is_some_and(|c| c.reason == "SecretUnusable" && c.message.contains("kept by the operator"))
        })
        .await
        .unwrap();
    let absent = root.read("auth/people/users/ana").await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
