//! The control plane itself: what the other tests of this tier rely on.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::shared::control_plane;

#[tokio::test]
async fn the_api_server_reports_the_version_that_the_go_mod_pins() {
    let client = control_plane().await.client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    let go_mod = include_str!("../../servers/kubernetes/go.mod");
    assert!(
        go_mod.contains(&format!("k8s.io/kubernetes {}", version.git_version)),
        "the API server should be the pinned one, it says {}",
        version.git_version
    );
}

#[tokio::test]
async fn a_user_without_a_role_is_refused() {
    let client = control_plane()
        .await
        .client_for_user("nobody-in-particular", &[])
        .await
        .unwrap();
    let answer = Api::<ConfigMap>::namespaced(client, "default")
        .list(&ListParams::default())
        .await;
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        other => panic!("a user without a role should get 403, got {other:?}"),
    }
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let control_plane = control_plane().await;
    let namespace = control_plane.create_namespace("rbac").await.unwrap();
    let admin = control_plane.client().await.unwrap();
    let post = PostParams::default();
    let account = serde_json::from_value(json!({"metadata": {"name": "reader"}})).unwrap();
    Api::<ServiceAccount>::namespaced(admin.clone(), &namespace)
        .create(&post, &account)
        .await
        .unwrap();
    let role = serde_json::from_value(json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    }));
    Api::<Role>::namespaced(admin.clone(), &namespace)
        .create(&post, &role.unwrap())
        .await
        .unwrap();
    let binding = serde_json::from_value(json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }));
    Api::<RoleBinding>::namespaced(admin, &namespace)
        .create(&post, &binding.unwrap())
        .await
        .unwrap();

    let client = control_plane
        .client_for_service_account(&namespace, "reader")
        .await
        .unwrap();
    // The API server learns of a new role through a watch: "not yet" is not "no".
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    vaultkeeper_tests::wait::until_async(
        "the role to count",
        std::time::Duration::from_secs(90),
        || async {
            config_maps
                .list(&ListParams::default())
                .await
                .map_err(anyhow::Error::from)
        },
    )
    .await
    .unwrap();
    let pods = Api::<Pod>::namespaced(client, &namespace)
        .list(&ListParams::default())
        .await;
    assert!(
        matches!(&pods, Err(kube::Error::Api(status)) if status.code == 403),
        "listing pods is not in the role and should be refused, got {pods:?}"
    );
}

#[tokio::test]
async fn a_second_control_plane_runs_beside_the_first_and_leaves_nothing_behind() {
    use vaultkeeper_tests::control_plane::{ControlPlane, Options};
    use vaultkeeper_tests::run_dir::RunDir;

    let first = control_plane().await;
    let run = RunDir::create("api-second").unwrap();
    let reaper = vaultkeeper_tests::reaper::Reaper::start(crate::shared::TESTBED.as_ref(), &run).unwrap();
    let mut options = Options::loopback().unwrap();
    options.controller_manager = false;
    let second = ControlPlane::start(options, &run).await.unwrap();
    let name = first.create_namespace("only-here").await.unwrap();
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(second.client().await.unwrap());
    assert!(
        namespaces.get_opt(&name).await.unwrap().is_none(),
        "what is made in one control plane should not be seen in another"
    );
    let started = run.processes().unwrap();
    assert_eq!(
        started.len(),
        2,
        "etcd and the API server are recorded, found {started:?}"
    );
    // Without stopping anything: as if the owner had been killed.
    second.detach();
    reaper.reap().unwrap();
    for (name, id) in started {
        assert!(!id.is_running(), "{name} should have ended with its run");
    }
    assert!(!run.path().exists(), "the run's folder should be gone");
}

#[tokio::test]
async fn an_api_server_that_ends_at_once_says_why() {
    use vaultkeeper_tests::control_plane::{ControlPlane, Options};
    use vaultkeeper_tests::run_dir::RunDir;

    let run = RunDir::create("api-broken").unwrap();
    let _reaper = vaultkeeper_tests::reaper::Reaper::start(crate::shared::TESTBED.as_ref(), &run).unwrap();
    let mut options = Options::loopback().unwrap();
    options.api_args.push("--authorization-mode=Telepathy".to_owned());
    let error = ControlPlane::start(options, &run).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("kube-apiserver") && text.contains("Telepathy"),
        "the error should carry the end of the API server's log, got: {text}"
    );
}
