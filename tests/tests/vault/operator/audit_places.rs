//! The volume for audit logs, and what becomes of a pod that may not have a socket of the host.

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;

use super::stage::{DEADLINE, Stage, condition};

#[tokio::test]
async fn a_volume_for_audit_logs_comes_and_goes_with_the_one_for_the_data() {
    let stage = Stage::new().await.unwrap();
    let fields = json!({"auditVolume": {"size": "2Gi"}, "deletionPolicy": "Delete"});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let claim = claims.get("audit-main-0").await.unwrap();
    let requests = claim.spec.and_then(|s| s.resources).and_then(|r| r.requests);
    assert_eq!(requests.unwrap()["storage"].0, "2Gi");
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = maps.get("main-config").await.unwrap().data.unwrap();
    let rotation: Value = serde_json::from_str(&map["rotation.json"]).unwrap();
    assert_eq!(rotation, json!({"files": {}}), "nothing is declared yet");

    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    wait::until_async("both volume claims to be gone", DEADLINE, async || {
        for name in ["data-main-0", "audit-main-0"] {
            ensure!(claims.get_opt(name).await?.is_none(), "{name} is there");
        }
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

async fn enforce(stage: &Stage, level: &str) {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let change = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    namespaces
        .patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pod_that_pod_security_refuses_for_the_socket_of_syslog_is_told_and_comes_once_it_may() {
    let stage = Stage::new().await.unwrap();
    enforce(&stage, "restricted").await;
    let fields = json!({"pod": {"syslogSocket": "/dev/log"}});
    stage.create_cluster_with(1, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    let told = stage
        .until("the status to tell that the pod is refused", |cluster| {
            let available = condition(cluster, "Available");
            available.is_some_and(|c| c.message.contains("there is no pod: Pod Security restricted"))
        })
        .await
        .unwrap();
    let words = condition(&told, "Available").unwrap().message;
    for part in [
        "/dev/log",
        "pod-security.kubernetes.io/enforce",
        "spec.pod.syslogSocket",
    ] {
        assert!(words.contains(part), "{part} should be in: {words}");
    }
    enforce(&stage, "privileged").await;
    stage.until_available().await.unwrap();
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    wait::until_async("the pod with the socket", DEADLINE, async || {
        let pod = pods.get("main-0").await?;
        let name = pod.name_any();
        let volumes = pod.spec.unwrap_or_default().volumes.unwrap_or_default();
        let Some(source) = volumes.into_iter().find_map(|v| v.host_path) else {
            bail!("{name} has no path of the host")
        };
        ensure!(source.path == "/dev/log", "{source:?}");
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
