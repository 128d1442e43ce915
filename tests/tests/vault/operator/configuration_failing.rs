//! One declared object that cannot be applied: it alone is tried again, and the others are treated as `drift` says.

use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::ConfigurationStatus;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::sys::mounts::MountRequest;

use super::configuration::{declare, event, log_in, password, until_configured};
use super::stage::{DEADLINE, Stage, condition, reason};

const POLICY: &str = "path \"secret/data/app\" { capabilities = [\"read\"] }";
const WIDE: &str = "path \"secret/*\" { capabilities = [\"read\"] }";

/// The first policy cannot be written before somebody has made an auth method at `later`.
fn declared(drift: &str, others: &[&str]) -> Value {
    let mut policies = vec![
        json!({"name": "late", "hcl": "path \"a/<accessor:later>\" { capabilities = [\"read\"] }"}),
        json!({"name": "app", "hcl": POLICY}),
    ];
    policies.extend(others.iter().map(|name| json!({"name": name, "hcl": POLICY})));
    json!({
        "drift": drift,
        "policies": policies,
        "authMethods": [{"path": "people", "type": "userpass", "userpass": {"users": [
            {"name": "ana", "password": {"name": "ana", "key": "password"}, "token": {"policies": ["app"]}},
        ]}}],
    })
}

fn configuration(cluster: &VaultCluster) -> ConfigurationStatus {
    let status = cluster.status.clone().unwrap_or_default();
    status.configuration.unwrap_or_default()
}

/// The status of the present spec, which names the policy that fails.
async fn until_told(stage: &Stage) -> ConfigurationStatus {
    let cluster = stage
        .until(
            "the policy that fails to be told by a cluster that serves all the same",
            |c| {
                condition(c, "Configured").is_some_and(|said| {
                    said.status == "False"
                        && said.reason == "UnknownAuthMethod"
                        && said.observed_generation == c.metadata.generation
                }) && reason(c, "Available") == "AllMembersServe"
            },
        )
        .await
        .unwrap();
    configuration(&cluster)
}

async fn until_policy(root: &Client, wanted: &str) {
    wait::until_async("the policy to be put right", DEADLINE, async || {
        let found = root.read_policy("app").await?;
        anyhow::ensure!(found.trim() == wanted, "{found}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Logs in with the password that ana chose herself: nobody has reset it.
async fn anas_password_is_hers(stage: &Stage, when: &str) {
    let ana = log_in(&stage.member(0).await.unwrap(), "people", "ana", "chosen").await;
    assert!(
        ana.is_ok(),
        "{when}: the password that ana chose must stay: {:?}",
        ana.err()
    );
}

#[tokio::test]
async fn one_object_that_fails_is_tried_again_alone_and_drift_and_passwords_of_the_others_are_respected() {
    let stage = Stage::new().await.unwrap();
    password(&stage, "ana", "first").await;
    let fields = json!({"configuration": declared("Enforce", &[])});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let told = until_told(&stage).await;
    assert_eq!(told.pending, ["policies[0]"], "the others were applied");
    event(&stage, "Failed", &["later"]).await;
    let root = stage.root(0).await.unwrap();
    until_policy(&root, POLICY).await;
    log_in(&stage.member(0).await.unwrap(), "people", "ana", "first")
        .await
        .unwrap();
    root.write("auth/people/users/ana/password", &json!({"password": "chosen"}))
        .await
        .unwrap();

    // Enforce: what somebody changes is put right, by the operator that runs and by one that starts.
    root.write_policy("app", WIDE).await.unwrap();
    until_policy(&root, POLICY).await;
    anas_password_is_hers(&stage, "after another look of the same operator").await;
    operator.stop().await;
    root.write_policy("app", WIDE).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    until_policy(&root, POLICY).await;
    anas_password_is_hers(&stage, "after a restart of the operator").await;
    assert_eq!(until_told(&stage).await.pending, ["policies[0]"]);

    // Report: told and left, though one object is still to be applied.
    declare(&stage, declared("Report", &[])).await;
    until_told(&stage).await;
    operator.stop().await;
    root.write_policy("app", WIDE).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the drift to be told", |c| condition(c, "Drifted").is_some())
        .await
        .unwrap();
    let said = condition(&cluster, "Drifted").unwrap().message;
    assert!(
        said.contains("policies[1].hcl") && !said.contains("policies[0]"),
        "what was never applied is no drift: {said}"
    );
    assert_eq!(configuration(&cluster).pending, ["policies[0]"]);
    assert_eq!(
        root.read_policy("app").await.unwrap().trim(),
        WIDE,
        "a report changes nothing"
    );

    // Off: not looked at, but what could not be applied is, as soon as it can be.
    declare(&stage, declared("Off", &[])).await;
    stage
        .until("nobody to speak of drift", |c| condition(c, "Drifted").is_none())
        .await
        .unwrap();
    until_told(&stage).await;
    operator.stop().await;
    let operator = stage.start_operator(&Points::record());
    let later = MountRequest {
        kind: "userpass".to_owned(),
        ..MountRequest::default()
    };
    root.enable_auth_method("later", &later).await.unwrap();
    let cluster = until_configured(&stage).await;
    assert_eq!(configuration(&cluster).pending, Vec::<String>::new());
    let late = root.read_policy("late").await.unwrap();
    assert!(late.contains("a/auth_userpass_"), "with the accessor: {late}");
    assert_eq!(
        root.read_policy("app").await.unwrap().trim(),
        WIDE,
        "nobody looks at it"
    );
    anas_password_is_hers(&stage, "after what failed was applied").await;

    // A new spec is applied in any case; a password is no part of what changed in it.
    declare(&stage, declared("Off", &["new"])).await;
    until_policy(&root, POLICY).await;
    until_configured(&stage).await;
    assert_eq!(root.read_policy("new").await.unwrap().trim(), POLICY);
    anas_password_is_hers(&stage, "after a change of another object in the spec").await;
    let written = configuration(&until_configured(&stage).await).secrets_written;
    assert!(written.is_some(), "the password was written");
    password(&stage, "ana", "second").await;
    // No login until then: Vault locks out who tries wrong passwords.
    stage
        .until("the changed Secret to be written", |c| {
            configuration(c)
                .secrets_written
                .is_some_and(|now| Some(now) != written)
        })
        .await
        .unwrap();
    log_in(&stage.member(0).await.unwrap(), "people", "ana", "second")
        .await
        .unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
