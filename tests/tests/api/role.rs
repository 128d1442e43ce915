//! The VaultRole controller on a real API server, up to the point where Vault itself is needed.
//!
//! One operator works for all tests of this file. No pod ever runs here, so that no VaultCluster gets further
//! than its CA.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use vaultkeeper_crds::annotations::FINALIZER;
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_operator::cluster::readiness::Memory;
use vaultkeeper_operator::connect::HttpsConnect;
use vaultkeeper_operator::context::{Context, HelperImage, KubernetesAuthEnvironment, Recent, Rules};
use vaultkeeper_operator::metrics::Metrics;
use vaultkeeper_operator::namespaces::Namespaces;
use vaultkeeper_operator::report::Reporter;
use vaultkeeper_operator::role::sweep::Sweep;
use vaultkeeper_operator::run::start_controllers;
use vaultkeeper_operator::sessions::Sessions;
use vaultkeeper_tests::wait;

use crate::crds;
use crate::shared::control_plane;

const DEADLINE: Duration = Duration::from_secs(90);
const ACCOUNT: &str = "vaultkeeper-operator";

/// The operator's namespace.
static OPERATOR: OnceCell<String> = OnceCell::const_new();

/// Starts the operator, in a thread with a runtime of its own: that of a test ends with the test.
async fn operator(client: &Client) -> &'static str {
    OPERATOR
        .get_or_init(|| async {
            let namespace = control_plane().await.create_namespace("operator").await.unwrap();
            let account: ServiceAccount =
                serde_json::from_value(json!({ "metadata": { "name": ACCOUNT } })).unwrap();
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
            accounts.create(&PostParams::default(), &account).await.unwrap();
            let own = namespace.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let client = control_plane().await.client().await.unwrap();
                    let ctx = Context {
                        reporter: Reporter::new(client.clone(), "test"),
                        client,
                        namespace: own,
                        service_account: ACCOUNT.to_owned(),
                        auth_environment: KubernetesAuthEnvironment::default(),
                        helper: HelperImage::default(),
                        vault: Arc::new(HttpsConnect),
                        sessions: Sessions::default(),
                        metrics: Arc::new(Metrics::new()),
                        readiness: Memory::default(),
                        recent: Recent::default(),
                        namespaces: Namespaces::default(),
                        sweep: Sweep::default(),
                        rules: Rules::default(),
                    };
                    start_controllers(Arc::new(ctx), CancellationToken::new())
                        .await
                        .unwrap();
                });
            });
            namespace
        })
        .await
}

/// Namespaces for a cluster and for an application.
struct Stage {
    client: Client,
    operator: &'static str,
    vault: String,
    app: String,
}

impl Stage {
    async fn new() -> Self {
        vaultkeeper_tests::install_crypto();
        let client = crds::client().await;
        let operator = operator(&client).await;
        let vault = control_plane().await.create_namespace("vault").await.unwrap();
        let app = control_plane().await.create_namespace("app").await.unwrap();
        Self {
            client,
            operator,
            vault,
            app,
        }
    }

    /// A VaultCluster whose access names these namespaces.
    async fn create_cluster(&self, namespaces: &[&str]) {
        self.create_cluster_that_is(false, namespaces).await;
    }

    async fn create_cluster_that_is(&self, paused: bool, namespaces: &[&str]) {
        let cluster: VaultCluster = serde_json::from_value(json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
            "metadata": { "name": "main" },
            "spec": {
                "version": "1.21.1", "replicas": 1, "profile": "Development",
                "storage": { "raft": { "size": "1Gi" } },
                "access": access(namespaces), "paused": paused,
            },
        }))
        .unwrap();
        self.clusters()
            .create(&PostParams::default(), &cluster)
            .await
            .unwrap();
    }

    async fn grant(&self, namespaces: &[&str]) {
        let change = json!({ "spec": { "access": access(namespaces) } });
        self.clusters()
            .patch("main", &PatchParams::default(), &Patch::Merge(&change))
            .await
            .unwrap();
    }

    async fn create_role(&self, name: &str, path: &str) -> VaultRole {
        let role: VaultRole = serde_json::from_value(json!({
            "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
            "metadata": { "name": name },
            "spec": {
                "cluster": { "name": "main", "namespace": self.vault },
                "policy": { "rules": [{ "path": path, "capabilities": ["read"] }] },
                "appRole": { "secretName": format!("{name}-vault") },
                "kubernetes": { "serviceAccounts": ["app"] },
            },
        }))
        .unwrap();
        self.roles().create(&PostParams::default(), &role).await.unwrap()
    }

    fn clusters(&self) -> Api<VaultCluster> {
        Api::namespaced(self.client.clone(), &self.vault)
    }

    fn roles(&self) -> Api<VaultRole> {
        Api::namespaced(self.client.clone(), &self.app)
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.app)
    }

    fn config_map_name(&self) -> String {
        names::ca_config_map(&self.vault, "main")
    }

    /// Waits until both conditions have these reasons; returns the role.
    async fn reasons(&self, name: &str, accepted: &str, ready: &str) -> VaultRole {
        wait::until_async(
            &format!("{name} to be {accepted} and {ready}"),
            DEADLINE,
            async || {
                let role = self.roles().get(name).await?;
                let found = (reason(&role, "Accepted"), reason(&role, "Ready"));
                ensure!(
                    found == (Some(accepted.into()), Some(ready.into())),
                    "its conditions are {found:?}"
                );
                Ok(role)
            },
        )
        .await
        .unwrap()
    }

    /// Names of the Secrets and ConfigMaps in the application's namespace that Kubernetes did not make.
    async fn objects(&self) -> BTreeSet<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.app);
        let all = ListParams::default();
        let secrets = secrets
            .list(&all)
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|secret| secret.name_any());
        let config_maps = self.config_maps().list(&all).await.unwrap().items;
        let config_maps = config_maps.into_iter().map(|config_map| config_map.name_any());
        secrets
            .chain(config_maps)
            .filter(|name| name != "kube-root-ca.crt")
            .collect()
    }

    async fn gone(&self, name: &str) {
        wait::until_async(&format!("{name} to be gone"), DEADLINE, async || {
            match self.roles().get_opt(name).await? {
                None => Ok(()),
                Some(role) => bail!("it is there: {:?} {:?}", role.metadata.finalizers, role.status),
            }
        })
        .await
        .unwrap();
    }
}

fn access(namespaces: &[&str]) -> Value {
    if namespaces.is_empty() {
        return json!([]);
    }
    json!([{ "namespaces": namespaces, "pathPrefixes": ["secret/data/{{namespace}}/"] }])
}

fn condition<'a>(role: &'a VaultRole, type_: &str) -> Option<&'a Condition> {
    role.status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

fn reason(role: &VaultRole, type_: &str) -> Option<String> {
    condition(role, type_).map(|condition| condition.reason.clone())
}

fn message(role: &VaultRole, type_: &str) -> String {
    condition(role, type_)
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

fn has_finalizer(role: &VaultRole) -> bool {
    role.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

#[tokio::test]
async fn a_role_for_a_cluster_that_is_not_there_says_so_writes_nothing_and_wakes_when_it_comes() {
    let stage = Stage::new().await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "ClusterNotFound", "ClusterNotFound").await;
    let text = message(&role, "Accepted");
    let name = format!("there is no VaultCluster {}/main", stage.vault);
    assert!(
        text.contains(&name) && text.contains("spec.cluster"),
        "field and cluster should be named: {text}"
    );
    assert_eq!(stage.objects().await, BTreeSet::new(), "nothing may be written");
    assert!(!has_finalizer(&role), "nothing holds its deletion up");

    stage.create_cluster(&[&stage.app]).await;
    let role = stage.reasons("app", "Allowed", "ClusterNotReady").await;
    assert!(has_finalizer(&role), "it is about to have something in Vault");
}

#[tokio::test]
async fn a_namespace_that_the_cluster_does_not_name_gets_a_refusal_with_the_remedy_and_nothing_else() {
    let stage = Stage::new().await;
    stage.create_cluster(&["somebody-else"]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "NotAllowed", "NotAllowed").await;
    let text = message(&role, "Ready");
    for part in [stage.app.as_str(), "spec.access[].namespaces"] {
        assert!(text.contains(part), "{part} should be in the message: {text}");
    }
    assert_eq!(stage.objects().await, BTreeSet::new(), "nothing may be written");
    assert!(!has_finalizer(&role), "nothing holds its deletion up");
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.app);
    wait::until_async("the event about the refusal", DEADLINE, async || {
        let events = events.list(&ListParams::default()).await?;
        let event = events
            .items
            .into_iter()
            .find(|event| event.reason.as_deref() == Some("Refused"));
        let event = event.context("there is none")?;
        ensure!(
            event.note.as_deref() == Some(text.as_str()),
            "its note is {:?}",
            event.note
        );
        ensure!(
            event.type_.as_deref() == Some("Warning"),
            "its type is {:?}",
            event.type_
        );
        Ok(())
    })
    .await
    .unwrap();

    stage.grant(&[&stage.app]).await;
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
}

#[tokio::test]
async fn a_path_outside_of_the_granted_prefix_is_refused_and_its_neighbour_is_taken() {
    let stage = Stage::new().await;
    stage.create_cluster(&[&stage.app]).await;
    stage
        .create_role("outside", &format!("secret/data/{}-two/x", stage.app))
        .await;
    stage
        .create_role("inside", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("outside", "NotAllowed", "NotAllowed").await;
    let text = message(&role, "Accepted");
    let prefix = format!("secret/data/{}/", stage.app);
    assert!(
        text.contains("spec.policy.rules[0].path") && text.contains(&prefix),
        "the field and what is allowed should be named: {text}"
    );
    stage.reasons("inside", "Allowed", "ClusterNotReady").await;
}

#[tokio::test]
async fn a_contradiction_is_refused_and_a_correction_is_taken() {
    let stage = Stage::new().await;
    stage.create_cluster(&[&stage.app]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
    // A name that the rules of the CRD know nothing of.
    let change = |name: &str| json!({ "spec": { "appRole": { "secretName": name } } });
    let params = PatchParams::default();
    stage
        .roles()
        .patch("app", &params, &Patch::Merge(&change("vault-keys.a.b")))
        .await
        .unwrap();
    let role = stage.reasons("app", "InvalidSpec", "InvalidSpec").await;
    assert!(
        message(&role, "Ready").contains("spec.appRole.secretName"),
        "{}",
        message(&role, "Ready")
    );
    assert_eq!(
        role.status.as_ref().unwrap().observed_generation,
        role.metadata.generation
    );
    assert!(
        has_finalizer(&role),
        "what it had stays: nothing was taken away by its cluster"
    );
    stage
        .roles()
        .patch("app", &params, &Patch::Merge(&change("app-vault")))
        .await
        .unwrap();
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
}

#[tokio::test]
async fn access_that_is_taken_away_ends_the_claim_of_a_role() {
    let stage = Stage::new().await;
    stage.create_cluster(&[&stage.app]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "Allowed", "ClusterNotReady").await;
    assert!(has_finalizer(&role), "it may have something in Vault");
    stage.grant(&[]).await;
    let role = stage.reasons("app", "NotAllowed", "NotAllowed").await;
    assert!(!has_finalizer(&role), "nothing of it is in Vault any more");
    stage.grant(&[&stage.app]).await;
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
}

#[tokio::test]
async fn address_and_ca_are_there_before_vault_runs_and_go_with_the_last_role() {
    let stage = Stage::new().await;
    stage.create_cluster(&[&stage.app]).await;
    let path = format!("secret/data/{}/x", stage.app);
    let first = stage.create_role("first", &path).await;
    let second = stage.create_role("second", &path).await;
    let wanted = BTreeSet::from([first.uid().unwrap(), second.uid().unwrap()]);
    let name = stage.config_map_name();
    let config_map = wait::until_async("the ConfigMap of both roles", DEADLINE, async || {
        let config_map = stage.config_maps().get(&name).await?;
        let owners: BTreeSet<String> = config_map
            .owner_references()
            .iter()
            .map(|owner| owner.uid.clone())
            .collect();
        ensure!(owners == wanted, "its owners are {owners:?}");
        Ok(config_map)
    })
    .await
    .unwrap();
    let data = config_map.data.unwrap();
    assert_eq!(data["address"], format!("https://main.{}.svc:8200", stage.vault));
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), stage.operator);
    let ca = secrets
        .get(&names::ca_secret(&stage.vault, "main"))
        .await
        .unwrap()
        .data
        .unwrap();
    assert_eq!(data["ca.crt"].as_bytes(), ca["ca.crt"].0, "the CA of the cluster");
    assert_eq!(
        data.len(),
        2,
        "nothing else of the CA's Secret, above all not its key"
    );

    // Edited by a person: put right.
    let change = json!({ "data": { "address": "https://elsewhere" } });
    stage
        .config_maps()
        .patch(&name, &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    wait::until_async("the address to be put right", DEADLINE, async || {
        let found = stage.config_maps().get(&name).await?.data.unwrap_or_default();
        ensure!(found == data, "its address is {:?}", found.get("address"));
        Ok(())
    })
    .await
    .unwrap();

    stage
        .roles()
        .delete("first", &DeleteParams::default())
        .await
        .unwrap();
    stage.gone("first").await;
    assert!(
        stage.config_maps().get_opt(&name).await.unwrap().is_some(),
        "the second role needs it"
    );
    stage
        .roles()
        .delete("second", &DeleteParams::default())
        .await
        .unwrap();
    stage.gone("second").await;
    wait::until_async(
        "the garbage collector to remove the ConfigMap",
        DEADLINE,
        async || {
            ensure!(stage.config_maps().get_opt(&name).await?.is_none(), "it is there");
            Ok(())
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_not_overwritten() {
    let stage = Stage::new().await;
    let name = stage.config_map_name();
    let foreign: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "mine": "yes" } })).unwrap();
    stage
        .config_maps()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    stage.create_cluster(&[&stage.app]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "Allowed", "NameTaken").await;
    assert!(
        message(&role, "Ready").contains(&name),
        "{}",
        message(&role, "Ready")
    );
    assert_eq!(
        stage.config_maps().get(&name).await.unwrap().data,
        foreign.data,
        "it is as it was"
    );
    stage
        .config_maps()
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
}

#[tokio::test]
async fn a_role_whose_cluster_is_gone_is_let_go() {
    let stage = Stage::new().await;
    stage.create_cluster(&[&stage.app]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "Allowed", "ClusterNotReady").await;
    assert!(has_finalizer(&role), "it may have something in Vault");
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    stage.reasons("app", "ClusterNotFound", "ClusterNotFound").await;
    stage
        .roles()
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    stage.gone("app").await;
}

#[tokio::test]
async fn a_paused_cluster_is_not_touched_until_it_goes_on() {
    let stage = Stage::new().await;
    // From its first moment: the operator learns of a pause through a watch.
    stage.create_cluster_that_is(true, &[&stage.app]).await;
    stage
        .create_role("app", &format!("secret/data/{}/x", stage.app))
        .await;
    let role = stage.reasons("app", "Allowed", "ClusterPaused").await;
    assert!(!has_finalizer(&role), "nothing was begun");
    let go_on = json!({ "spec": { "paused": false } });
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&go_on))
        .await
        .unwrap();
    stage.reasons("app", "Allowed", "ClusterNotReady").await;
}
