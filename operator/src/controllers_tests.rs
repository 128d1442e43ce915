//! Tests of what a reconcile has around it.

use super::*;

#[test]
fn labels_and_secret_names_lead_back_to_their_cluster() {
    let mut pod: PartialObjectMeta<Pod> = PartialObjectMeta::default();
    pod.metadata.namespace = Some("vault".to_owned());
    assert!(cluster_of(&pod).is_none(), "a pod of somebody else");
    pod.metadata.labels = Some([(CLUSTER.to_owned(), "main".to_owned())].into());
    let found = cluster_of(&pod).unwrap();
    assert_eq!(
        (found.namespace.as_deref(), found.name.as_str()),
        (Some("vault"), "main")
    );
    let ca = vaultkeeper_crds::names::ca_secret("vault", "main");
    assert_eq!(cluster_of_ca_secret(&ca), Some(("vault", "main")));
    let keys = vaultkeeper_crds::names::key_secret("vault", "main");
    assert_eq!(cluster_of_ca_secret(&keys), None, "the shares are not the CA");
}

#[test]
fn a_status_alone_wakes_no_controller_and_an_annotation_does() {
    let role = |status: serde_json::Value, annotation: &str| -> VaultRole {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": "app", "generation": 1, "annotations": { "a": annotation } },
            "spec": { "cluster": { "name": "main", "namespace": "vault" }, "policy": {} },
            "status": status,
        }))
        .unwrap()
    };
    let (bare, done) = (
        serde_json::json!({}),
        serde_json::json!({ "vaultName": "shop.app" }),
    );
    assert_eq!(
        wish(&role(bare.clone(), "x")),
        wish(&role(done, "x")),
        "its own write must not wake it"
    );
    assert_ne!(
        wish(&role(bare.clone(), "x")),
        wish(&role(bare, "y")),
        "a person changed an annotation"
    );
}

fn driver() -> Arc<Driver> {
    // Nothing here may talk to an API server: every call fails the test.
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, std::io::Error>(std::io::Error::other("a call was made"))
    });
    let client = kube::Client::new(nobody, "default");
    Arc::new(Driver {
        ctx: Arc::new(Context {
            reporter: crate::report::Reporter::new(client.clone(), "test"),
            client,
            namespace: "operator".to_owned(),
            service_account: "operator".to_owned(),
            auth_environment: crate::context::KubernetesAuthEnvironment::default(),
            helper: crate::context::HelperImage::default(),
            vault: Arc::new(crate::connect::HttpsConnect),
            sessions: crate::sessions::Sessions::default(),
            metrics: Arc::new(crate::metrics::Metrics::new()),
            readiness: crate::cluster::readiness::Memory::default(),
            recent: crate::context::Recent::default(),
            namespaces: crate::namespaces::Namespaces::default(),
            sweep: crate::role::sweep::Sweep::default(),
            rules: crate::context::Rules::default(),
        }),
        retries: Retries::default(),
    })
}

fn guard(spec: serde_json::Value) -> Arc<Guarded<VaultRole>> {
    let object = serde_json::json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": "app", "namespace": "shop", "uid": "u" },
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

#[tokio::test(start_paused = true)]
async fn controllers_that_are_stopped_before_their_first_list_end() {
    for begun in [false, true] {
        let shutdown = CancellationToken::new();
        let controllers = start_controllers(Arc::clone(&driver().ctx), shutdown.clone());
        if begun {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        shutdown.cancel();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), controllers).await;
        assert!(
            matches!(ended, Ok(Ok(()))),
            "no API server answers, and they should end all the same: {ended:?}"
        );
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_counted_and_left_alone() {
    let driver = driver();
    let object = guard(serde_json::json!({ "cluster": 7 }));
    let action = guarded(
        "VaultRole",
        object,
        Arc::clone(&driver),
        |_: Arc<VaultRole>, _| async { Err(role::Error::Incomplete("it was reconciled")) },
        |_, _, _, _| Action::await_change(),
    )
    .await
    .unwrap();
    assert_eq!(
        action,
        Action::await_change(),
        "only another version of it can help"
    );
    let text = driver.ctx.metrics.encode().unwrap();
    assert!(
        text.contains(r#"malformed_objects_total{kind="VaultRole"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_panic_concerns_one_object_and_is_tried_again() {
    let driver = driver();
    let spec = serde_json::json!({ "cluster": { "name": "main", "namespace": "vault" }, "policy": {} });
    let failed = guarded(
        "VaultRole",
        guard(spec),
        Arc::clone(&driver),
        |role: Arc<VaultRole>, _| async move {
            assert!(role.metadata.name.is_none(), "a defect");
            Err(role::Error::Incomplete("x"))
        },
        |_, _, _, _| Action::await_change(),
    )
    .await
    .unwrap_err();
    assert_ne!(
        failed.0,
        Action::await_change(),
        "it is tried again after a pause"
    );
    let text = driver.ctx.metrics.encode().unwrap();
    assert!(text.contains(r#"reason="Panicked"} 1"#), "{text}");
}
