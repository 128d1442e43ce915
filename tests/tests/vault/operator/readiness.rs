//! The ten rules for production, judged on a real cluster: what somebody takes away past the spec makes the score fall,
//! and it rises again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessState};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::configuration::{event, password};
use super::stage::{DEADLINE, Stage, change, condition};

use ReadinessRule::{
    Audit, AutoUnseal, Backups, HighAvailability, LeastPrivilege, Mfa, NetworkIsolation, NoRootToken,
    Rotation, Tls,
};
use ReadinessState::{Failed, Met, Unknown, Waived};

const POLICY: &str = "path \"secret/data/app\" { capabilities = [\"read\"] }";

/// Each rule with its state and message.
fn rules(cluster: &VaultCluster) -> BTreeMap<ReadinessRule, (ReadinessState, String)> {
    let status = cluster.status.clone().unwrap_or_default();
    let rows = status.readiness_rules.into_iter();
    rows.map(|row| (row.rule, (row.state, row.message))).collect()
}

fn state(cluster: &VaultCluster, rule: ReadinessRule) -> ReadinessState {
    rules(cluster).get(&rule).map_or(Unknown, |(state, _)| *state)
}

fn score(cluster: &VaultCluster) -> &str {
    let status = cluster.status.as_ref();
    status.and_then(|s| s.readiness.as_deref()).unwrap_or_default()
}

/// Waits until each rule has failed with these words once: what the operator puts right fails for a minute only.
async fn until_each_fell(stage: &Stage, root: &Client, wanted: &[(ReadinessRule, &str)]) {
    let left: std::cell::RefCell<BTreeSet<(ReadinessRule, &str)>> =
        wanted.iter().copied().collect::<BTreeSet<_>>().into();
    wait::until_async("each rule to fail", DEADLINE, async || {
        let now = rules(&stage.clusters().get("main").await?);
        left.borrow_mut().retain(|(rule, words)| {
            !now.get(rule)
                .is_some_and(|(state, message)| *state == Failed && message.contains(words))
        });
        let left = left.borrow().clone();
        // Between the operator's look and its next step something may be taken away and put right, and nobody has seen it.
        let is_left = |rule, part: &str| left.iter().any(|(r, words)| *r == rule && words.contains(part));
        if is_left(Audit, "") && root.audit_devices().await?.len() == 2 {
            root.disable_audit_device("stderr").await?;
        }
        if is_left(LeastPrivilege, "not as declared") && root.read_policy("app").await.is_ok() {
            root.delete_policy("app").await?;
        }
        ensure!(
            left.is_empty(),
            "these did not fail yet: {left:?}, the rules are {now:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

fn configuration() -> Value {
    json!({
        "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
        "policies": [{"name": "app", "hcl": POLICY}],
    })
}

/// Somebody with a root token, past the spec. The root token itself is alive from here on.
async fn take_away(stage: &Stage, root: &Client) {
    root.disable_audit_device("stderr").await.unwrap();
    root.delete_policy("app").await.unwrap();
    root.write_policy("everything", "path \"*\" { capabilities = [\"sudo\"] }")
        .await
        .unwrap();
    root.write("auth/approle/role/by-hand", &json!({})).await.unwrap();
    network_policies(stage)
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
}

fn network_policies(stage: &Stage) -> Api<NetworkPolicy> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

#[tokio::test]
async fn the_score_falls_with_what_is_taken_away_names_the_rule_and_rises_again() {
    let stage = Stage::new().await.unwrap();
    password(&stage, "ana", "correct horse").await;
    let fields = json!({
        "configuration": configuration(),
        "readiness": {"waivers": [{"rule": "Backups", "reason": "none in a test"}]},
    });
    stage.create_cluster_with(3, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());

    // As it comes up: shares lie in a Secret, and nobody shows a second factor.
    let cluster = stage
        .until("eight of ten rules", |c| score(c) == "8/10")
        .await
        .unwrap();
    for rule in [
        NoRootToken,
        Tls,
        HighAvailability,
        Audit,
        NetworkIsolation,
        LeastPrivilege,
        Rotation,
    ] {
        assert_eq!(state(&cluster, rule), Met, "{rule:?}: {:?}", rules(&cluster));
    }
    assert_eq!(state(&cluster, Backups), Waived);
    assert_eq!(
        (state(&cluster, AutoUnseal), state(&cluster, Mfa)),
        (Failed, Failed)
    );
    let status = cluster.status.clone().unwrap();
    assert_eq!(status.unmet_rules.as_deref(), Some("AutoUnseal, MFA"));
    let said = condition(&cluster, "ProductionReady").unwrap();
    assert_eq!(
        (said.status.as_str(), said.reason.as_str()),
        ("False", "RulesFailed")
    );
    assert!(
        said.message.contains("8/10")
            && said.message.contains("AutoUnseal: main-0 has a shamir seal")
            && said.message.contains("MFA: "),
        "{}",
        said.message
    );

    let leader = status.leader.as_deref().unwrap_or_default();
    let leader: u32 = leader.trim_start_matches("main-").parse().unwrap();
    let token = stage.root_token(leader).await.unwrap();
    let root = stage.member(leader).await.unwrap().with_token(&token);
    let accessor = root.lookup_self().await.unwrap().accessor;
    let devices = root.audit_devices().await.unwrap();
    take_away(&stage, &root).await;
    until_each_fell(
        &stage,
        &root,
        &[
            (NoRootToken, accessor.as_str()),
            (Audit, "1 of 2 audit devices"),
            (NetworkIsolation, "is not there"),
            (LeastPrivilege, "not as declared: app"),
            (LeastPrivilege, "allow everything: everything"),
            (Rotation, "by-hand"),
        ],
    )
    .await;
    for rule in [NoRootToken, Audit, NetworkIsolation, LeastPrivilege, Rotation] {
        let words = format!("{} is not met any more", rule.as_str());
        event(&stage, "ReadinessFell", &[words.as_str(), "/10"]).await;
    }

    // What is declared or a default comes back by itself; the rest is put right by hand. An operator that starts looks at once.
    operator.stop().await;
    root.delete("auth/approle/role/by-hand").await.unwrap();
    root.delete_policy("everything").await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("the audit devices to be back", |c| state(c, Audit) == Met)
        .await
        .unwrap();
    assert_eq!(
        root.audit_devices().await.unwrap(),
        devices,
        "the default device that somebody disabled is back as it was"
    );
    event(
        &stage,
        "ConfigurationDrift",
        &["the default audit device stderr was not there and is enabled again"],
    )
    .await;
    assert_eq!(
        state(&cluster, NoRootToken),
        Failed,
        "the root token is still alive"
    );
    root.revoke_self().await.unwrap();
    stage
        .until("the score to rise again", |c| score(c) == "8/10")
        .await
        .unwrap();
    for rule in [NoRootToken, Audit, NetworkIsolation, LeastPrivilege, Rotation] {
        let words = format!("{} is met", rule.as_str());
        event(&stage, "ReadinessMet", &[words.as_str()]).await;
    }

    ten_of_ten(&stage).await;
    operator.stop().await;
    stage.end().await.unwrap();
}

/// With a second factor for people, and a waiver for who holds the keys.
async fn ten_of_ten(stage: &Stage) {
    let mut configuration = configuration();
    configuration["authMethods"] = json!([{"path": "people", "type": "userpass", "userpass": {"users": [
        {"name": "ana", "password": {"name": "ana", "key": "password"}, "token": {"policies": ["app"]}},
    ]}}]);
    configuration["mfa"] = json!({
        "totp": [{"name": "app", "issuer": "test"}],
        "enforcements": [{"name": "people", "methods": ["app"], "authMethods": ["people"]}],
    });
    let waivers = json!([
        {"rule": "Backups", "reason": "none in a test"},
        {"rule": "AutoUnseal", "reason": "the keys are in a safe"},
    ]);
    change(
        stage,
        json!({"configuration": configuration, "readiness": {"waivers": waivers}}),
    )
    .await;
    let cluster = stage.until("ten of ten", |c| score(c) == "10/10").await.unwrap();
    let ready = condition(&cluster, "ProductionReady")
        .context("no condition")
        .unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("True", "AllRulesMet")
    );
    let (waived, words) = rules(&cluster).remove(&AutoUnseal).unwrap();
    assert!(
        waived == Waived && words.contains("the keys are in a safe") && words.contains("shamir"),
        "a waiver shows its reason and what is waived: {words}"
    );
    assert_eq!(cluster.status.unwrap().unmet_rules, None);
    event(
        stage,
        "ReadinessMet",
        &["AutoUnseal is waived: the keys are in a safe"],
    )
    .await;
}
