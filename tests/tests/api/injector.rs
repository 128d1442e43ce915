//! The injector behind a real API server, with the chart's own webhook, match condition and RBAC.

mod ca_change;
mod fixture;
mod origin;
mod sidecar;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vaultkeeper_crds::VaultRole;
use vaultkeeper_injector::role_source::Roles;
use vaultkeeper_injector::stored_ca;
use vaultkeeper_tests::wait;

use fixture::{CONFIGURATION, DEADLINE, Injector, injector};

/// A pod of ServiceAccount `default` with these annotations, which meets Pod Security `restricted`.
fn pod(annotations: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "generateName": "app-", "annotations": annotations },
        "spec": {
            "containers": [{
                "name": "app",
                "image": "registry.example/app",
                "securityContext": {
                    "runAsNonRoot": true,
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
            }],
        },
    }))
    .unwrap()
}

fn role(name: &str) -> VaultRole {
    serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1",
        "kind": "VaultRole",
        "metadata": { "name": name },
        "spec": {
            "cluster": { "name": "main", "namespace": "vault" },
            "policy": { "rules": [{ "path": "secret/data/app", "capabilities": ["read"] }] },
            "kubernetes": { "serviceAccounts": ["default"] },
        },
    }))
    .unwrap()
}

async fn create_role(injector: &Injector, namespace: &str, name: &str) {
    let roles: Api<VaultRole> = Api::namespaced(injector.client().await, namespace);
    roles.create(&PostParams::default(), &role(name)).await.unwrap();
}

async fn create(injector: &Injector, namespace: &str, annotations: &Value) -> kube::Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(injector.client().await, namespace);
    pods.create(&PostParams::default(), &pod(annotations)).await
}

fn sidecars(pod: &Pod) -> Vec<&str> {
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    init.into_iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
        .collect()
}

#[tokio::test]
async fn a_pod_is_injected_right_after_its_role_was_made() {
    let injector = injector().await;
    let namespace = injector.namespace(Some("restricted")).await;
    create_role(&injector, &namespace, "app").await;
    let annotations = json!({
        "vault.hashicorp.com/agent-inject": "true",
        "vault.hashicorp.com/agent-inject-secret-config": "secret/data/app",
    });
    let pod = create(&injector, &namespace, &annotations)
        .await
        .expect("the injected pod should meet restricted");
    assert_eq!(
        sidecars(&pod),
        ["vault-agent"],
        "one native sidecar should be there"
    );
    let spec = pod.spec.as_ref().unwrap();
    let mounts = spec.containers[0].volume_mounts.as_ref().unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| mount.name == "vault-secrets" && mount.mount_path == "/vault/secrets"),
        "the app should see the files, got {mounts:?}"
    );
    let volumes = spec.volumes.as_ref().unwrap();
    let ca = volumes.iter().find_map(|volume| volume.config_map.as_ref());
    assert_eq!(
        ca.unwrap().name,
        "vaultkeeper.vault.main",
        "the CA should be that of the role's cluster"
    );
}

#[tokio::test]
async fn a_pod_that_no_role_binds_is_refused_with_the_remedy() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let refused = create(
        &injector,
        &namespace,
        &json!({ "vaultkeeper.dev/agent-inject": "true" }),
    )
    .await;
    let message = refused.expect_err("nothing binds the ServiceAccount").to_string();
    let remedy = format!("no VaultRole in namespace {namespace} binds ServiceAccount default: create one");
    assert!(
        message.contains(&remedy),
        "the message should say what to do, got {message}"
    );
}

#[tokio::test]
async fn a_broken_template_is_refused_by_the_annotations_name() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    create_role(&injector, &namespace, "app").await;
    let annotations = json!({
        "vault.hashicorp.com/agent-inject": "true",
        "vault.hashicorp.com/agent-inject-template-config": "a\n{{ with secret \"x\" }}",
    });
    let refused = create(&injector, &namespace, &annotations).await;
    let message = refused.expect_err("the template has no end").to_string();
    assert!(
        message.contains(
            "vault.hashicorp.com/agent-inject-template-config: the template does not parse: line 2"
        ),
        "annotation and line should be named, got {message}"
    );
}

#[tokio::test]
async fn kubectl_shows_a_warning_for_a_misspelt_annotation() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let shown = injector.kubectl_create(
        &namespace,
        &pod(&json!({ "vault.hashicorp.com/agent-injct": "true" })),
    );
    assert!(
        shown.contains("Warning:") && shown.contains("did you mean vault.hashicorp.com/agent-inject?"),
        "kubectl should show the warning, it printed {shown}"
    );
}

#[tokio::test]
async fn a_pod_without_an_annotation_of_ours_never_reaches_the_webhook() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let before = injector.admissions().await;
    create(
        &injector,
        &namespace,
        &json!({ "example.com/agent-inject": "true" }),
    )
    .await
    .unwrap();
    create(&injector, &namespace, &Value::Null).await.unwrap();
    assert_eq!(
        injector.admissions().await,
        before,
        "these two should not be asked about"
    );
    create(
        &injector,
        &namespace,
        &json!({ "vaultkeeper.dev/agent-inject": "false" }),
    )
    .await
    .unwrap();
    assert_eq!(injector.admissions().await, before + 1, "this one should be");
}

#[tokio::test]
async fn a_bundle_that_somebody_wiped_is_written_again() {
    let injector = injector().await;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(injector.client().await);
    let wipe = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    let wipe: Patch<()> = Patch::Json(serde_json::from_value(wipe).unwrap());
    let wiped = configurations
        .patch(CONFIGURATION, &PatchParams::default(), &wipe)
        .await
        .unwrap();
    let ca = injector.ca().await;
    assert_ne!(bundle(&wiped), Some(&ca), "the bundle should be gone for now");
    let repaired = || async {
        let found = configurations.get(CONFIGURATION).await?;
        anyhow::ensure!(bundle(&found) == Some(&ca), "caBundle is {:?}", bundle(&found));
        Ok(())
    };
    wait::until_async("caBundle to be the stored CA again", DEADLINE, repaired)
        .await
        .unwrap();
    let namespace = injector.namespace(None).await;
    // The API server learns of the change through a watch.
    let asked = || async {
        let answer = create(
            &injector,
            &namespace,
            &json!({ "vaultkeeper.dev/agent-inject": "false" }),
        )
        .await;
        answer.map_err(anyhow::Error::from)
    };
    wait::until_async("the webhook to answer again", DEADLINE, asked)
        .await
        .unwrap();
}

fn bundle(configuration: &MutatingWebhookConfiguration) -> Option<&ByteString> {
    configuration
        .webhooks
        .as_ref()?
        .first()?
        .client_config
        .ca_bundle
        .as_ref()
}

#[tokio::test]
async fn a_deleted_ca_is_stored_again_unchanged() {
    let injector = injector().await;
    let before = injector.ca().await;
    let secrets: Api<Secret> = Api::namespaced(injector.client().await, fixture::NAMESPACE);
    secrets
        .delete(fixture::TLS_SECRET, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let stored = || async {
        secrets
            .get(fixture::TLS_SECRET)
            .await
            .map_err(anyhow::Error::from)
    };
    wait::until_async("the CA to be stored again", DEADLINE, stored)
        .await
        .unwrap();
    assert_eq!(
        injector.ca().await,
        before,
        "running replicas should go on being trusted"
    );
}

#[tokio::test]
async fn replicas_that_start_together_agree_on_one_ca() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let client = injector.client().await;
    let replicas = (0..8).map(|_| stored_ca::obtain(&client, &namespace, "shared", None));
    let found = futures::future::try_join_all(replicas).await.unwrap();
    for authority in &found {
        assert_eq!(
            authority.certificate(),
            found[0].certificate(),
            "all should have the one that is stored"
        );
    }
}

#[tokio::test]
async fn a_secret_with_something_else_in_it_is_not_overwritten() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    let client = injector.client().await;
    let mut foreign = Secret::default();
    foreign.metadata.name = Some("shared".to_owned());
    Api::namespaced(client.clone(), &namespace)
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    let error = stored_ca::obtain(&client, &namespace, "shared", None)
        .await
        .expect_err("there is no CA in it");
    assert!(
        error.to_string().contains("Secret shared") && error.to_string().contains("delete it"),
        "got {error}"
    );
}

#[tokio::test]
async fn a_ca_that_somebody_replaced_is_taken_over() {
    let injector = injector().await;
    let client = injector.client().await;
    let elsewhere = injector.namespace(None).await;
    let new = stored_ca::obtain(&client, &elsewhere, "other", None)
        .await
        .unwrap();
    let other = Api::<Secret>::namespaced(client.clone(), &elsewhere)
        .get("other")
        .await
        .unwrap();
    let data = json!({ "data": other.data });
    Api::<Secret>::namespaced(client, fixture::NAMESPACE)
        .patch(fixture::TLS_SECRET, &PatchParams::default(), &Patch::Merge(&data))
        .await
        .unwrap();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(injector.client().await);
    let wanted = ByteString(new.certificate().as_bytes().to_vec());
    let trusted = || async {
        let found = configurations.get(CONFIGURATION).await?;
        anyhow::ensure!(
            bundle(&found) == Some(&wanted),
            "caBundle is {:?}",
            bundle(&found)
        );
        Ok(())
    };
    wait::until_async("caBundle to be the new CA", DEADLINE, trusted)
        .await
        .unwrap();
    let namespace = injector.namespace(None).await;
    let asked = || async {
        let answer = create(
            &injector,
            &namespace,
            &json!({ "vaultkeeper.dev/agent-inject": "false" }),
        )
        .await;
        answer.map_err(anyhow::Error::from)
    };
    wait::until_async("the webhook to answer under the new CA", DEADLINE, asked)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_that_the_watch_has_not_delivered_is_found_by_asking() {
    let injector = injector().await;
    let namespace = injector.namespace(None).await;
    // Nobody runs its watch: all it knows is what it asks for.
    let roles = Roles::of_cluster(injector.client().await);
    create_role(&injector, &namespace, "young").await;
    assert!(
        roles.known(&namespace).is_empty(),
        "without a watch nothing is known"
    );
    let asked = roles
        .ask(&namespace)
        .await
        .unwrap()
        .expect("there is a cluster to ask");
    let names: Vec<_> = asked.iter().map(|binding| binding.name.as_str()).collect();
    assert_eq!(names, ["young"], "the role should be found at once");
}
