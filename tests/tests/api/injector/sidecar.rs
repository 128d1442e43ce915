//! What a real API server makes of the sidecar: its mounts and resources.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::fixture::injector;
use super::{create, create_role, pod};

#[tokio::test]
async fn the_ca_beside_the_service_accounts_token_is_in_the_sidecar_exactly_if_it_may_be_annotated() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let annotations = json!({
        "vault.hashicorp.com/agent-inject": "true",
        "vault.hashicorp.com/agent-inject-secret-config": "secret/data/app",
        "vault.hashicorp.com/role": "legacy",
        "vault.hashicorp.com/service": "https://vault.example:8200",
        "vault.hashicorp.com/ca-cert": format!("{folder}/ca.crt"),
    });
    let admitted = create(&injector, &namespace, &annotations)
        .await
        .expect("the CA is there");
    let containers = admitted.spec.unwrap().init_containers.unwrap();
    let mounts = containers[0].volume_mounts.as_ref().unwrap();
    assert!(
        mounts.iter().any(|mount| mount.mount_path == folder),
        "Kubernetes should have mounted it into the sidecar, got {mounts:?}"
    );
    let mut without = pod(&annotations);
    without.spec.as_mut().unwrap().automount_service_account_token = Some(false);
    let pods: Api<Pod> = Api::namespaced(injector.client().await, &namespace);
    let refused = pods.create(&PostParams::default(), &without).await;
    let message = refused.expect_err("the CA is not there").to_string();
    assert!(
        message.contains("vault.hashicorp.com/ca-cert: there is no file"),
        "the annotation should be named, got {message}"
    );
}

#[tokio::test]
async fn annotated_resources_over_the_defaults_meet_the_api_servers_rules() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    create_role(&injector, &namespace, "app").await;
    for (key, value) in [
        ("agent-requests-mem", "128Mi"),
        ("agent-limits-mem", "8Mi"),
        ("agent-limits-cpu", "1m"),
    ] {
        let annotations = json!({
            "vault.hashicorp.com/agent-inject": "true",
            "vault.hashicorp.com/agent-inject-secret-config": "secret/data/app",
            (format!("vault.hashicorp.com/{key}")): value,
        });
        create(&injector, &namespace, &annotations)
            .await
            .unwrap_or_else(|error| panic!("{key}: {value} should be admitted: {error}"));
    }
}
