//! What everything else of this tier stands on: pods, sidecars, volumes, Services, DNS, exec and logs.

use std::process::Command;

use anyhow::ensure;
use vaultkeeper_tests::images::Image;
use vaultkeeper_tests::node::containerd;
use vaultkeeper_tests::wait;

use crate::shared::{Namespace, POD_DEADLINE, TESTBED, cluster};

const WEB: &str = include_str!("web.yaml");

#[test]
fn a_restricted_pod_with_a_native_sidecar_shares_a_volume_with_it_and_is_found_by_name() {
    let Some(cluster) = cluster() else { return };
    let namespace = Namespace::restricted(cluster, "smoke-web");
    namespace.apply(WEB);
    namespace.wait_for_pod("web");

    assert_eq!(
        namespace.kubectl(&["logs", "web", "-c", "app"]).unwrap().trim(),
        "the app sees: written by the sidecar",
        "the app starts once the sidecar's startup probe has passed"
    );
    let group = namespace
        .kubectl(&["exec", "web", "-c", "app", "--", "stat", "-c", "%g", "/data"])
        .unwrap();
    assert_eq!(group.trim(), "2000", "fsGroup should own the volume");
    let url = format!("http://web.{}.svc/", namespace.name);
    wait::until("the Service to lead to the pod", POD_DEADLINE, || {
        namespace.kubectl(&["exec", "web", "-c", "app", "--", "wget", "-q", "-O-", &url])
    })
    .map(|answer| {
        assert_eq!(
            answer.trim(),
            "written by the sidecar",
            "the answer through the Service {url}"
        );
    })
    .unwrap();
}

#[test]
fn a_pod_reaches_the_api_server_by_its_cluster_name_with_its_own_token() {
    let Some(cluster) = cluster() else { return };
    let namespace = Namespace::restricted(cluster, "smoke-api");
    namespace.apply(WEB);
    namespace.wait_for_pod("web");
    let in_pod = |args: &[&str]| {
        let mut all = vec!["exec", "web", "-c", "app", "--"];
        all.extend(args);
        namespace.kubectl(&all)
    };
    // On a busy machine an answer of the DNS may be late.
    wait::until("the name of the API server", POD_DEADLINE, || {
        let address = in_pod(&["nslookup", "kubernetes.default.svc.cluster.local"])?;
        ensure!(
            address.contains("10.96.0.1"),
            "the API server's Service should have the first address of its subnet, got:\n{address}"
        );
        // Busybox cannot speak the API server's TLS: that the name leads to an open port is what counts here.
        in_pod(&["sh", "-c", "nc kubernetes.default.svc 443 </dev/null"])
    })
    .unwrap();
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = in_pod(&["cat", token]).unwrap();
    assert_eq!(
        token.split('.').count(),
        3,
        "a ServiceAccount token should be mounted"
    );
}

#[test]
fn a_deleted_claim_takes_its_volume_and_its_folder_along() {
    let Some(cluster) = cluster() else { return };
    let namespace = Namespace::restricted(cluster, "smoke-claim");
    namespace.apply(WEB);
    namespace.wait_for_pod("web");
    let volume = namespace
        .kubectl(&["get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"])
        .unwrap();
    let folder = cluster.run().join("volumes").join(&volume);
    assert!(
        folder.join("www/index.html").is_file(),
        "{} should hold what the sidecar wrote",
        folder.display()
    );
    namespace
        .kubectl(&["delete", "pod/web", "pvc/data", "--grace-period=1"])
        .unwrap();
    wait::until("the volume's end", POD_DEADLINE, || {
        let volumes = namespace.kubectl(&["get", "pv", "-o", "name"])?;
        ensure!(!volumes.contains(&volume), "{volume} is still there");
        ensure!(!folder.exists(), "{} is still there", folder.display());
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_claim_can_grow() {
    let Some(cluster) = cluster() else { return };
    let namespace = Namespace::restricted(cluster, "smoke-grow");
    namespace.apply(WEB);
    namespace.wait_for_pod("web");
    namespace.apply(&WEB.replace("storage: 1Gi", "storage: 3Gi"));
    wait::until("the larger claim", POD_DEADLINE, || {
        let size = namespace.kubectl(&["get", "pvc", "data", "-o", "jsonpath={.status.capacity.storage}"])?;
        ensure!(size == "3Gi", "it has {size}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_image_that_is_there_is_not_imported_again() {
    let Some(cluster) = cluster() else { return };
    let image = Image::DemoApp.build().unwrap();
    assert!(
        !containerd::import(cluster.run(), &image).unwrap(),
        "the shared cluster has {} from its start",
        image.reference
    );
}

#[test]
fn a_test_reaches_the_cluster_with_a_client_of_its_own() {
    let Some(cluster) = cluster() else { return };
    let node = cluster
        .run_inside(|client| async move {
            let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(client);
            Ok(nodes.get("testbed").await?)
        })
        .unwrap();
    let version = node.status.unwrap().node_info.unwrap().kubelet_version;
    assert_eq!(version, "v1.36.3", "the kubelet's version");
}

#[test]
fn tools_of_the_testbed_use_its_cluster_whatever_kubeconfig_the_environment_names() {
    let Some(cluster) = cluster() else { return };
    let ours = cluster
        .kubectl_text(
            &["get", "namespace", "kube-system", "-o=jsonpath={.metadata.uid}"],
            "",
        )
        .unwrap();
    // The environment of a user who works with another cluster.
    let testbed = |args: &[&str]| {
        let output = Command::new(TESTBED)
            .args(args)
            .env("KUBECONFIG", "/nowhere/another-cluster")
            .env("HELM_KUBECONTEXT", "another-cluster")
            .env("HELM_KUBEAPISERVER", "https://192.0.2.1:6443")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "testbed {args:?} should succeed: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let name = cluster.name();
    let uid = "-o=jsonpath={.metadata.uid}";
    let seen = testbed(&["kubectl", "--name", &name, "get", "namespace", "kube-system", uid]);
    assert_eq!(seen, ours, "kubectl should reach the testbed's cluster");
    testbed(&["helm", "--name", &name, "list", "--all-namespaces"]);
}
