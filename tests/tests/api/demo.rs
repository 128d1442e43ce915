//! The demo on a cluster that is not ours.

use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use serde_json::json;
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;

use crate::shared::TESTBED;

#[tokio::test]
async fn neither_the_demo_nor_its_end_touches_somebody_elses_namespace() {
    let run = RunDir::create("api-demo").unwrap();
    let _reaper = Reaper::start(TESTBED.as_ref(), &run).unwrap();
    let mut options = Options::loopback().unwrap();
    options.controller_manager = false;
    let control_plane = ControlPlane::start(options, &run).await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client().await.unwrap());
    let theirs = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &theirs).await.unwrap();

    for verb in ["demo", "demo-down"] {
        let output = Command::new(TESTBED)
            .args([verb, "--cluster=current"])
            .env("KUBECONFIG", &control_plane.files().admin_kubeconfig)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("namespace shop that is not the quickstart's"),
            "{verb} should refuse before it asks anything, it says: {said}"
        );
    }
    let left = namespaces.get("shop").await.unwrap();
    assert!(
        left.metadata.deletion_timestamp.is_none(),
        "the namespace should not be touched: {left:?}"
    );
}
