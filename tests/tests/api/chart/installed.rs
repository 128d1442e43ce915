//! The chart in a real API server of its own: its webhook would refuse other tests' pods, since no injector runs here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use vaultkeeper_crds::VaultRole;
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::helm;
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::servers::{self, Server};
use vaultkeeper_tests::wait;

use super::{NAMESPACE, RELEASE, documents, helm_command, named, template};
use crate::shared::TESTBED;

/// Name of the webhook configuration of the release.
const WEBHOOK: &str = "keeper-system-keeper-injector";
/// On a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// Name of a CRD of the chart.
const CRD: &str = "vaultclusters.vaultkeeper.dev";
/// Pods of this namespace are excluded, so that pod.yaml can be tried without an injector.
const EXCLUDE_SHOP: &str =
    r#"injector.webhook.excludedNamespaces=["kube-system","kube-public","kube-node-lease","shop"]"#;

struct Installed {
    control_plane: ControlPlane,
    _reaper: Reaper,
}

static INSTALLED: OnceCell<Installed> = OnceCell::const_new();

/// An API server into which Helm has installed the chart and kubectl has applied the quickstart. No pod ever runs in it.
pub(super) async fn installed() -> &'static ControlPlane {
    let start = || async {
        let control_plane = empty("api-chart").await?;
        let shared = Installed {
            control_plane: control_plane.0,
            _reaper: control_plane.1,
        };
        install(&shared.control_plane, &helm::chart(), &[EXCLUDE_SHOP])?;
        kubectl(
            &shared.control_plane,
            &["apply", "--validate=strict", "-f", &example("quickstart.yaml")],
        )?;
        until_it_counts(&shared.control_plane).await?;
        anyhow::Ok(shared)
    };
    let shared = INSTALLED
        .get_or_init(|| async {
            start()
                .await
                .unwrap_or_else(|error| panic!("the chart cannot be installed: {error:#}"))
        })
        .await;
    &shared.control_plane
}

/// Waits until the API server, which learns of roles and webhooks through watches, goes by those of the chart.
async fn until_it_counts(control_plane: &ControlPlane) -> anyhow::Result<()> {
    for account in ["keeper-operator", "keeper-injector"] {
        let client = control_plane
            .client_for_service_account(NAMESPACE, account)
            .await?;
        wait::until_async("the roles to count", DEADLINE, async || {
            // Both may watch these everywhere.
            let roles: Api<VaultRole> = Api::all(client.clone());
            Ok(roles.list(&ListParams::default()).await.map(drop)?)
        })
        .await?;
    }
    let namespace = control_plane.create_namespace("webhook").await?;
    let client = control_plane.client().await?;
    account(&client, &namespace).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let asked = pod("asked", json!({"vaultkeeper.dev/agent-inject": "true"}));
    wait::until_async("the webhook to be asked", DEADLINE, async || {
        let answer = pods.create(&dry, &asked).await;
        ensure!(answer.is_err(), "the pod is admitted while no injector runs");
        Ok(())
    })
    .await
}

async fn empty(kind: &str) -> anyhow::Result<(ControlPlane, Reaper)> {
    let run = RunDir::create(kind)?;
    let reaper = Reaper::start(Path::new(TESTBED), &run)?;
    let mut options = Options::loopback()?;
    options.controller_manager = false;
    Ok((ControlPlane::start(options, &run).await?, reaper))
}

/// `helm upgrade --install`; not `--wait`, since nothing runs pods here.
fn install(control_plane: &ControlPlane, chart: &Path, sets: &[&str]) -> anyhow::Result<String> {
    let (_home, mut command) = helm_command(&["upgrade", "--install", RELEASE]);
    command
        .arg(chart)
        .args(["--namespace", NAMESPACE, "--create-namespace", "--kubeconfig"])
        .arg(&control_plane.files().admin_kubeconfig);
    for set in sets {
        command.args(["--set-json", set]);
    }
    helm::run(&mut command)
}

fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(servers::path(Server::Kubectl)?);
    command
        .env_remove("KUBECONFIG")
        .arg("--kubeconfig")
        .arg(&control_plane.files().admin_kubeconfig)
        .args(arguments);
    helm::run(&mut command)
}

fn example(file: &str) -> String {
    helm::repository()
        .join("examples")
        .join(file)
        .display()
        .to_string()
}

fn is_forbidden<T>(answer: &kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

fn pod(name: &str, annotations: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }))
    .unwrap()
}

async fn webhook(client: &Client) -> MutatingWebhookConfiguration {
    Api::all(client.clone()).get(WEBHOOK).await.unwrap()
}

#[tokio::test]
async fn every_example_is_accepted_with_strict_validation() {
    let control_plane = installed().await;
    for file in std::fs::read_dir(helm::repository().join("examples")).unwrap() {
        let file = file.unwrap().path();
        // Under another name: the quickstart's VaultCluster is there, and some of its fields are fixed.
        // Not in VaultRoles, whose cluster is fixed, too.
        let renamed = tempfile::NamedTempFile::new().unwrap();
        let rename = |document: &str| {
            let is_cluster = document.contains("kind: VaultCluster");
            document.replace(
                "name: main",
                if is_cluster { "name: another" } else { "name: main" },
            )
        };
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("---\n").map(rename).collect::<Vec<_>>().join("---\n");
        std::fs::write(renamed.path(), text).unwrap();
        let path = renamed.path().display().to_string();
        let answer = kubectl(
            control_plane,
            &["apply", "--validate=strict", "--dry-run=server", "-f", &path],
        );
        if let Err(error) = answer {
            panic!("{} should be accepted: {error:#}", file.display());
        }
    }
}

#[tokio::test]
async fn only_pods_with_an_annotation_of_ours_depend_on_the_injector() {
    let control_plane = installed().await;
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.create_namespace("apps").await.unwrap();
    account(&client, &namespace).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let post = PostParams::default();

    pods.create(&post, &pod("plain", json!({"other": "true"})))
        .await
        .expect("a pod without an annotation of ours should start while the injector is away");
    // Misspelt keys, too: only the injector can say so.
    for key in ["vault.hashicorp.com/agent-inject", "vaultkeeper.dev/agent-injekt"] {
        let answer = pods.create(&post, &pod("annotated", json!({key: "true"}))).await;
        assert!(
            matches!(&answer, Err(kube::Error::Api(status)) if status.message.contains("injector.vaultkeeper.dev")),
            "a pod with {key} should be refused while the injector is away, and the webhook named: {answer:?}"
        );
    }
    let mut member = pod("member", json!({"vaultkeeper.dev/x": "y"}));
    member.metadata.labels = Some(
        [(
            "app.kubernetes.io/managed-by".to_owned(),
            "vaultkeeper".to_owned(),
        )]
        .into(),
    );
    pods.create(&post, &member)
        .await
        .expect("a pod that the operator manages should never wait for the injector");
}

#[tokio::test]
async fn our_own_pods_meet_the_restricted_pod_security_standard() {
    let control_plane = installed().await;
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.create_namespace("restricted").await.unwrap();
    account(&client, &namespace).await;
    kubectl(
        control_plane,
        &[
            "label",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=restricted",
        ],
    )
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let post = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    // The API server learns of a label through a watch.
    wait::until_async("the namespace to be restricted", DEADLINE, async || {
        let loose = pods.create(&post, &pod("loose", json!({}))).await;
        ensure!(
            is_forbidden(&loose),
            "the namespace should refuse a pod without a security context, got {loose:?}"
        );
        Ok(())
    })
    .await
    .unwrap();

    let chart = template(&helm::chart(), &[]).unwrap();
    let quickstart = documents(&std::fs::read_to_string(example("quickstart.yaml")).unwrap());
    for deployment in [
        named(&chart, "Deployment", "-operator"),
        named(&chart, "Deployment", "-injector"),
        named(&quickstart, "Deployment", "app"),
    ] {
        let mut spec = deployment["spec"]["template"]["spec"].clone();
        spec["serviceAccountName"] = json!("default");
        let name = &deployment["metadata"]["name"];
        let wanted: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        if let Err(error) = pods.create(&post, &wanted).await {
            panic!("{name} should be allowed by PSS restricted: {error}");
        }
    }
}

#[tokio::test]
async fn the_operator_reads_secrets_by_name_and_gives_away_no_role_but_token_review() {
    let control_plane = installed().await;
    let operator = control_plane
        .client_for_service_account(NAMESPACE, "keeper-operator")
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::namespaced(operator.clone(), "shop");
    let one = secrets.get_opt("absent").await;
    assert!(
        matches!(one, Ok(None)),
        "a Secret may be read by its name, got {one:?}"
    );
    let list = secrets.list(&ListParams::default()).await;
    assert!(
        is_forbidden(&list),
        "listing Secrets should be refused, got {list:?}"
    );

    let bindings: Api<ClusterRoleBinding> = Api::all(operator);
    let bind = |name: &str, role: &str| -> ClusterRoleBinding {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("vaultkeeper:reviewer:shop.{name}"),
                "labels": {"app.kubernetes.io/managed-by": "vaultkeeper"},
            },
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "shop"}],
        }))
        .unwrap()
    };
    let post = PostParams::default();
    let review = bindings
        .create(&post, &bind("review", "system:auth-delegator"))
        .await;
    assert!(
        review.is_ok(),
        "system:auth-delegator may be given to a Vault, got {review:?}"
    );
    let admin = bindings.create(&post, &bind("admin", "cluster-admin")).await;
    assert!(
        is_forbidden(&admin),
        "cluster-admin may not be given away, got {admin:?}"
    );
}

#[tokio::test]
async fn the_operator_labels_members_and_isolates_them_and_changes_no_pod() {
    let control_plane = installed().await;
    let namespace = control_plane.create_namespace("labels").await.unwrap();
    let admin = control_plane.client().await.unwrap();
    account(&admin, &namespace).await;
    let made: Api<Pod> = Api::namespaced(admin, &namespace);
    let mut member = pod("main-0", json!({}));
    let mark = ("vaultkeeper.dev/cluster".to_owned(), "main".to_owned());
    member.labels_mut().extend([mark]);
    made.create(&PostParams::default(), &member).await.unwrap();
    let operator = control_plane
        .client_for_service_account(NAMESPACE, "keeper-operator")
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(operator.clone(), &namespace);
    let (params, state) = (PatchParams::default(), "vaultkeeper.dev/state");
    let label = Patch::Merge(json!({"metadata": {"labels": {state: "active"}}}));
    pods.patch_status("main-0", &params, &label).await.unwrap();
    assert_eq!(
        made.get("main-0")
            .await
            .unwrap()
            .labels()
            .get(state)
            .map(String::as_str),
        Some("active")
    );
    let image = Patch::Merge(json!({"spec": {"containers": [{"name": "app", "image": "other"}]}}));
    let changed = pods.patch("main-0", &params, &image).await;
    assert!(
        is_forbidden(&changed),
        "changing a pod should be refused, got {changed:?}"
    );
    let past_it = pods.patch_status("main-0", &params, &image).await;
    let runs = made.get("main-0").await.unwrap().spec.unwrap().containers;
    assert_eq!(
        runs[0].image.as_deref(),
        Some("app"),
        "the subresource changes no image either: {past_it:?}"
    );

    let policies: Api<NetworkPolicy> = Api::namespaced(operator, &namespace);
    let policy: NetworkPolicy =
        serde_json::from_value(json!({"metadata": {"name": "main", "labels": {"app.kubernetes.io/managed-by": "vaultkeeper"}}, "spec": {"podSelector": {}}})).unwrap();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    policies.delete("main", &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn the_operator_makes_tokens_for_itself_and_for_nobody_else() {
    let control_plane = installed().await;
    // RBAC answers with the names of the ServiceAccount's rights; a TokenRequest would need a token of its own.
    let may = |name: &str| {
        let request = format!("serviceaccounts/{name}");
        let user = format!("system:serviceaccount:{NAMESPACE}:keeper-operator");
        let answer = kubectl(
            control_plane,
            &[
                "auth",
                "can-i",
                "create",
                &request,
                "--subresource=token",
                "--namespace",
                NAMESPACE,
                "--as",
                &user,
            ],
        );
        answer.map(|text| text.trim().to_owned())
    };
    assert_eq!(
        may("keeper-operator").unwrap(),
        "yes",
        "its own login needs a token of its own"
    );
    assert!(
        may("keeper-injector").is_err(),
        "a token of another ServiceAccount should be refused"
    );
}

#[tokio::test]
async fn the_injector_writes_its_own_ca_and_no_other_webhook() {
    let control_plane = installed().await;
    let injector = control_plane
        .client_for_service_account(NAMESPACE, "keeper-injector")
        .await
        .unwrap();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(injector.clone());
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"touched": "true"}}}));
    let own = configurations.patch(WEBHOOK, &dry, &patch).await;
    assert!(own.is_ok(), "its own configuration may be patched, got {own:?}");
    let other = configurations.patch("other", &dry, &patch).await;
    assert!(
        is_forbidden(&other),
        "another's configuration should be refused, got {other:?}"
    );

    let secrets: Api<Secret> = Api::namespaced(injector, NAMESPACE);
    let own = secrets.get_opt("keeper-injector-tls").await;
    assert!(matches!(own, Ok(None)), "its own Secret may be read, got {own:?}");
    let keys = secrets.get_opt("vault-keys.vault.main").await;
    assert!(
        is_forbidden(&keys),
        "the unseal keys should be out of its reach, got {keys:?}"
    );
}

#[tokio::test]
async fn an_upgrade_brings_new_crds_and_leaves_the_ca_of_the_webhook_alone() {
    let (control_plane, _reaper) = empty("api-upgrade").await.unwrap();
    let client = control_plane.client().await.unwrap();
    let (_folder, older) = older_chart();
    install(&control_plane, &older, &[]).unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let short_names = |crd: CustomResourceDefinition| crd.spec.names.short_names;
    assert_eq!(
        short_names(crds.get(CRD).await.unwrap()),
        None,
        "the older chart had no short name"
    );

    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let patch = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca_bundle()}]);
    configurations
        .patch(
            WEBHOOK,
            &PatchParams::default(),
            &Patch::<MutatingWebhookConfiguration>::Json(serde_json::from_value(patch).unwrap()),
        )
        .await
        .unwrap();
    let written = webhook(&client).await.webhooks.unwrap()[0]
        .client_config
        .ca_bundle
        .clone();
    assert!(written.is_some(), "the injector's CA should have been written");

    install(&control_plane, &helm::chart(), &[]).unwrap();
    assert_eq!(
        short_names(crds.get(CRD).await.unwrap()),
        Some(vec!["vc".to_owned()]),
        "an upgrade of the release should upgrade the CRD"
    );
    let kept = webhook(&client).await.webhooks.unwrap()[0]
        .client_config
        .ca_bundle
        .clone();
    assert_eq!(kept, written, "an upgrade should not take the CA away");

    uninstall(&control_plane).unwrap();
    assert!(
        crds.get_opt(CRD).await.unwrap().is_some(),
        "an uninstall should leave the CRDs, and so the VaultClusters"
    );
    install(&control_plane, &helm::chart(), &[])
        .expect("a later install should take over the CRDs that were kept");
}

fn uninstall(control_plane: &ControlPlane) -> anyhow::Result<String> {
    let (_home, mut command) =
        helm_command(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--kubeconfig"]);
    helm::run(command.arg(&control_plane.files().admin_kubeconfig))
}

/// A copy of the chart as it might have been before: one CRD lacks its short name.
fn older_chart() -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("vaultkeeper");
    helm::run(Command::new("cp").arg("-r").arg(helm::chart()).arg(&copy)).unwrap();
    let file = copy.join("files/crds/vaultclusters.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let older = text.replace("    shortNames:\n    - vc\n", "");
    assert_ne!(older, text, "the CRD should have a short name to take away");
    std::fs::write(&file, older).unwrap();
    (folder, copy)
}

/// A CA bundle that the API server accepts: base64 of a certificate in PEM.
fn ca_bundle() -> String {
    use base64::Engine as _;
    let ca = vaultkeeper_tests::certs::Ca::new("some-injector").unwrap();
    base64::engine::general_purpose::STANDARD.encode(ca.cert_pem())
}

/// Pods need a ServiceAccount; no controller makes the `default` one here.
pub(super) async fn account(client: &Client, namespace: &str) {
    let account = k8s_openapi::api::core::v1::ServiceAccount {
        metadata: ObjectMeta {
            name: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        ..Default::default()
    };
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
}
