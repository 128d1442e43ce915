//! What the spec says about pods, their network and the server's configuration reaches real pods and servers.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::certificates::until_current;
use super::kubelet_stand_in::KubeletStandIn;
use super::stage::{DEADLINE, Stage, change, condition, reason};

async fn restrict(stage: &Stage) {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let body = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let patched = namespaces
        .patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&body))
        .await;
    patched.unwrap();
}

#[tokio::test]
async fn every_setting_of_a_pod_reaches_it_and_is_admitted_under_the_restricted_standard() {
    let stage = Stage::new().await.unwrap();
    restrict(&stage).await;
    let class = format!("vault-{}", stage.namespace);
    let classes: Api<PriorityClass> = Api::all(stage.client.clone());
    let object = json!({"metadata": {"name": class}, "value": 1000});
    classes
        .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
    let accounts = Api::namespaced(stage.client.clone(), &stage.namespace);
    let account: k8s_openapi::api::core::v1::ServiceAccount = serde_json::from_value(
        json!({"metadata": {"name": "identity"}, "automountServiceAccountToken": false}),
    )
    .unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let digest = format!("registry.example.com/vault@sha256:{}", "a".repeat(64));
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    let pod = json!({
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "spread": {"hosts": "Required", "zones": "Required"},
        "affinity": affinity,
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "vault", "effect": "NoSchedule"}],
        "nodeSelector": {"pool": "vault"},
        "priorityClassName": class,
        "imagePullSecrets": ["registry"],
        "labels": {"team": "platform"},
        "annotations": {"example.com/note": "yes"},
        "serviceAccount": {"annotations": {"example.com/identity": "vault"}},
    });
    stage
        .create_cluster_with(1, json!({"image": digest, "pod": pod}))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();

    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let found = serde_json::to_value(pods.get("main-0").await.unwrap()).unwrap();
    let spec = &found["spec"];
    assert_eq!(spec["containers"][0]["image"], digest);
    assert_eq!(spec["containers"][0]["resources"], pod["resources"]);
    assert_eq!(spec["affinity"], affinity);
    assert_eq!(spec["nodeSelector"], pod["nodeSelector"]);
    assert_eq!(spec["priorityClassName"], class);
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(spec["serviceAccountName"], "main");
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let account = accounts.get("main").await.unwrap();
    assert_eq!(account.annotations()["example.com/identity"], "vault");
    assert!(
        spec["tolerations"]
            .as_array()
            .unwrap()
            .contains(&pod["tolerations"][0]),
        "{}",
        spec["tolerations"]
    );
    let spread: BTreeMap<&str, &str> = spec["topologySpreadConstraints"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| Some((c["topologyKey"].as_str()?, c["whenUnsatisfiable"].as_str()?)))
        .collect();
    assert_eq!(
        spread,
        BTreeMap::from([
            ("kubernetes.io/hostname", "DoNotSchedule"),
            ("topology.kubernetes.io/zone", "DoNotSchedule")
        ])
    );
    let token = spec["volumes"].as_array().unwrap().iter().find_map(|volume| {
        let sources = volume["projected"]["sources"].as_array()?;
        sources
            .iter()
            .find_map(|s| s["serviceAccountToken"]["expirationSeconds"].as_i64())
    });
    assert!(
        token.is_some_and(|seconds| seconds > 0),
        "a projected token that expires, though the ServiceAccount says none is to be mounted: {}",
        spec["volumes"]
    );
    assert_eq!(found["metadata"]["labels"]["team"], "platform");
    assert_eq!(found["metadata"]["annotations"]["example.com/note"], "yes");
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn no_state_of_a_member_fails_its_liveness_probe() {
    let stage = Stage::new().await.unwrap();
    let probes = KubeletStandIn::start(&stage).unwrap();
    stage.create_cluster(3).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let cluster = stage
        .until("three voters", |c| {
            c.status.as_ref().is_some_and(|s| s.voters == Some(3))
        })
        .await
        .unwrap();
    // One is removed from the cluster. Of the other two, one is sealed for long enough to be seen, and the last one
    // has no leader any more.
    let leader = cluster.status.and_then(|s| s.leader).unwrap();
    let ordinal: u32 = leader.trim_start_matches("main-").parse().unwrap();
    let root = stage.root(ordinal).await.unwrap();
    let removed = if ordinal == 2 { "main-1" } else { "main-2" };
    root.remove_peer(removed).await.unwrap();
    root.seal().await.unwrap();
    wait::until_async("every state to be seen", DEADLINE, async || {
        let seen: Vec<u16> = probes.looks().iter().map(|l| l.health).collect();
        for (code, state) in [
            (501, "uninitialised"),
            (503, "sealed"),
            (429, "standby"),
            (200, "active"),
            (530, "removed"),
            (474, "cut off from its leader"),
        ] {
            ensure!(seen.contains(&code), "no member was seen {state}: {seen:?}");
        }
        Ok(())
    })
    .await
    .unwrap();
    let failed: Vec<_> = probes
        .looks()
        .into_iter()
        .filter(|l| !(200..400).contains(&l.liveness))
        .collect();
    assert!(
        failed.is_empty(),
        "a kubelet would have killed a member: {failed:?}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn settings_of_the_server_are_merged_and_a_collision_is_told_while_the_members_go_on() {
    let stage = Stage::new().await.unwrap();
    let headers = json!({"default": {"X-Vaultkeeper-Test": ["merged"]}});
    let settings = json!({
        "max_lease_ttl": "87600h",
        "default_lease_ttl": "24h",
        "log_requests_level": "info",
        "listener": {"tcp": {"max_request_size": 1_048_576, "custom_response_headers": headers}},
        "storage": {"raft": {"max_entry_size": 2_097_152}},
        "telemetry": {"usage_gauge_period": "5m"},
        "user_lockout": {"all": {"lockout_threshold": "7"}},
    });
    stage
        .create_cluster_with(1, json!({"serverConfig": settings}))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();

    let root = stage.root(0).await.unwrap();
    let state = root.read("sys/config/state/sanitized").await.unwrap();
    let state: Value = state.data.decode().unwrap();
    assert_eq!(state["max_lease_ttl"], 87_600 * 3600, "{state}");
    assert_eq!(
        (
            &state["telemetry"]["usage_gauge_period"],
            &state["telemetry"]["prometheus_retention_time"],
        ),
        (&json!(300_000_000_000_i64), &json!(86_400_000_000_000_i64)),
        "beside what monitoring needs: {state}"
    );
    assert_eq!(state["log_requests_level"], "info", "{state}");
    assert_eq!(
        state["listeners"][0]["config"]["max_request_size"], 1_048_576,
        "the listener of the operator was extended: {state}"
    );
    let metrics = &state["listeners"][1]["config"];
    assert!(
        metrics["max_request_size"].is_null(),
        "not at the metrics: {state}"
    );
    assert_eq!(state["listeners"].as_array().map(Vec::len), Some(2), "{state}");
    assert_eq!(state["storage"]["raft"]["max_entry_size"], "2097152", "{state}");

    let first = until_current(&stage, None).await;
    let names = json!({"managed": {"extraDnsNames": ["vault.example.com"]}});
    change(
        &stage,
        json!({"serverConfig": {"listener": {"tcp": {"tls_min_version": "tls10"}}}, "tls": names}),
    )
    .await;
    let refused = stage
        .until("the collision to be told", |c| {
            reason(c, "Configured") == "ServerConfigRefused"
        })
        .await
        .unwrap();
    let message = condition(&refused, "Configured").unwrap().message;
    assert!(
        message.contains("spec.serverConfig.listener.tcp.tls_min_version is written by the operator"),
        "the key and the remedy: {message}"
    );
    let rolled_out = condition(&refused, "RolledOut").unwrap();
    assert_eq!(
        (rolled_out.status.as_str(), rolled_out.reason.as_str()),
        ("False", "NotApplied"),
        "who waits for this spec must not be told that it runs"
    );
    // A certificate that is due is renewed all the same.
    let second = until_current(&stage, Some(&first)).await;
    assert_eq!(
        until_current(&stage, Some(&first)).await,
        second,
        "one and not many"
    );
    stage.kubelet.kill("main-0").await.unwrap();
    wait::until_async("the member to be unsealed all the same", DEADLINE, async || {
        let status = stage.member(0).await?.seal_status().await?;
        ensure!(!status.sealed, "it is sealed");
        Ok(())
    })
    .await
    .unwrap();
    change(
        &stage,
        json!({"serverConfig": {"listener": {"tcp": {"tls_min_version": null}}}}),
    )
    .await;
    stage.until_available().await.unwrap();
    stage
        .until("the configuration to be in place", |c| {
            reason(c, "Configured") != "ServerConfigRefused"
        })
        .await
        .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn the_network_policy_comes_and_goes_with_the_spec_and_no_sealed_member_blocks_a_drain() {
    let stage = Stage::new().await.unwrap();
    let peers = json!([{"namespaceLabels": {"team": "observability"}, "podLabels": {"app": "prometheus"}}]);
    let egress = json!([{"to": [{"cidr": "10.1.0.0/16"}], "ports": [{"port": 5432}]}]);
    stage.create_cluster_with(
        1,
        json!({"networkPolicy": {"enabled": true, "clients": [{"cidr": "fd00::/8"}], "prometheus": peers, "egress": egress}}),
    )
    .await
    .unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let policy = serde_json::to_value(policies.get("main").await.unwrap()).unwrap();
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(
        policy["spec"]["ingress"]
            .to_string()
            .contains(&stage.operator_namespace),
        "the operator is let in: {policy}"
    );

    change(&stage, json!({"networkPolicy": {"enabled": false}})).await;
    wait::until_async("the policy to go", DEADLINE, async || {
        ensure!(policies.get_opt("main").await?.is_none(), "it is there");
        Ok(())
    })
    .await
    .unwrap();
    change(&stage, json!({"networkPolicy": {"enabled": true}})).await;
    wait::until_async("the policy to come back", DEADLINE, async || {
        policies.get_opt("main").await?.context("it is not there")
    })
    .await
    .unwrap();

    let budgets: Api<PodDisruptionBudget> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let budget = budgets.get("main").await.unwrap().spec.unwrap();
    assert_eq!(
        budget.unhealthy_pod_eviction_policy.as_deref(),
        Some("AlwaysAllow")
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_before_the_names_is_replaced() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster_with(1, json!({})).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let tls = names::tls_secret("main");
    let before = secrets.get(&tls).await.unwrap().data.unwrap();
    // Any other names: the operator of before knew fewer.
    change(
        &stage,
        json!({"tls": {"managed": {"extraDnsNames": ["vault.example.com"]}}}),
    )
    .await;
    let operator = stage.start_operator(&Points::record());
    wait::until_async("a new certificate of the same CA", DEADLINE, async || {
        let now = secrets.get(&tls).await?.data.context("no data")?;
        ensure!(now["tls.crt"] != before["tls.crt"], "it is the old one");
        ensure!(now[names::CA_KEY] == before[names::CA_KEY], "another CA");
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
