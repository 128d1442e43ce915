//! Vaults that somebody else runs, set up by hand as docs/external.md says.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::cluster::VaultClusterStatus;
use vaultkeeper_crds::{VaultCluster, VaultRole, names};
use vaultkeeper_operator::cluster::external::AllowedAddresses;
use vaultkeeper_operator::context::Rules;
use vaultkeeper_operator::sessions::OPERATOR_ROLE;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::helm;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::vault_server::VaultServer;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::{cert, kubernetes};
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, SecretString};

use super::ownership::delete_and_wait;
use super::roles::delete_role;
use super::stage::{DEADLINE, Stage, condition, reason, write_secret};
use crate::client_support::{PATIENCE, unseal, unsealed};

/// Somebody's Vault, with a CA and keys of its own.
struct Theirs {
    server: VaultServer,
    root: Client,
    shares: Vec<SecretString>,
    _run: OwnedRun,
}

impl Theirs {
    async fn start() -> Self {
        let run = OwnedRun::create("external", crate::TESTBED).unwrap();
        let ca = Ca::new("their-ca").unwrap();
        let (server, client, made) = unsealed("theirs", &ca, &run).await;
        Self {
            root: client.with_token(&made.root_token),
            shares: made.keys,
            server,
            _run: run,
        }
    }

    /// What its owner does once, before any VaultCluster names it.
    async fn prepare(&self, stage: &Stage) {
        for kind in ["kubernetes", "approle", "cert"] {
            let method = MountRequest {
                kind: kind.to_owned(),
                ..MountRequest::default()
            };
            self.root.enable_auth_method(kind, &method).await.unwrap();
        }
        let environment = stage.environment();
        let config = kubernetes::Config {
            kubernetes_host: environment.host.clone(),
            kubernetes_ca_cert: environment.ca_cert.clone().unwrap(),
            disable_local_ca_jwt: true,
            ..kubernetes::Config::default()
        };
        let auth = self.root.kubernetes("kubernetes");
        auth.write_config(&config, environment.token_reviewer_jwt.as_ref())
            .await
            .unwrap();
        self.root.write_policy(OPERATOR_ROLE, &policy()).await.unwrap();
    }
}

/// The policy in the guide.
fn policy() -> String {
    let guide = std::fs::read_to_string(helm::repository().join("docs/external.md")).unwrap();
    let block = guide.split("```hcl\n").nth(1).expect("a block of HCL");
    block.split("```").next().unwrap().to_owned()
}

/// Does what a condition says: `vault write <path> key=value …`.
async fn follow(root: &Client, message: &str) {
    let command = message.split("vault write ").nth(1).expect("a command");
    let mut words = command.split_whitespace();
    let path = words.next().unwrap();
    let settings: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
    root.write(path, &settings).await.unwrap();
}

pub(super) fn allow(url: &str) -> Rules {
    Rules {
        external_addresses: AllowedAddresses(vec![url.parse().unwrap()]),
        ..Rules::default()
    }
}

pub(super) fn external(name: &str, address: &str, ca: &Value) -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": name},
        "spec": {"version": "1.21.1", "external": {"address": address, "ca": ca}},
    })
}

pub(super) async fn create(stage: &Stage, cluster: Value) {
    let cluster: VaultCluster = serde_json::from_value(cluster).unwrap();
    stage
        .clusters()
        .create(&PostParams::default(), &cluster)
        .await
        .unwrap();
}

/// Waits until a VaultCluster of this name says so.
pub(super) async fn until(
    stage: &Stage,
    name: &str,
    type_: &str,
    wanted: &str,
) -> anyhow::Result<VaultCluster> {
    wait::until_async("a condition of an external cluster", DEADLINE, async || {
        let cluster = stage.clusters().get(name).await?;
        ensure!(
            reason(&cluster, type_) == wanted,
            "{type_} should be {wanted}: {}",
            serde_json::to_string(&cluster.status)?
        );
        Ok(cluster)
    })
    .await
}

pub(super) async fn create_role(stage: &Stage, cluster: &str) {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": {"name": "app"},
        "spec": {
            "cluster": {"name": cluster, "namespace": stage.namespace},
            "policy": {"rules": [{"path": format!("secret/data/{}/app", stage.namespace), "capabilities": ["read"]}]},
            "appRole": {"secretName": "app-credentials"},
            "kubernetes": {"serviceAccounts": ["app"]},
        },
    }))
    .unwrap();
    roles(stage).create(&PostParams::default(), &role).await.unwrap();
}

fn roles(stage: &Stage) -> Api<VaultRole> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// Waits until the role says so of `Ready`.
pub(super) async fn until_role(stage: &Stage, wanted: &str) {
    wait::until_async("the role to say so", DEADLINE, async || {
        let role = roles(stage).get("app").await?;
        let conditions = role.status.unwrap_or_default().conditions;
        let ready = conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .context("no condition")?;
        ensure!(
            ready.reason == wanted,
            "it is {}: {}",
            ready.reason,
            ready.message
        );
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_vault_elsewhere_that_was_set_up_after_the_guide_serves_roles_and_keeps_its_keys_to_itself() {
    let (stage, theirs) = tokio::join!(Stage::new(), Theirs::start());
    let stage = stage.unwrap();
    theirs.prepare(&stage).await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let ca: Secret = serde_json::from_value(
        json!({"metadata": {"name": "their-ca"}, "stringData": {"ca.crt": theirs.server.ca_pem()}}),
    )
    .unwrap();
    secrets.create(&PostParams::default(), &ca).await.unwrap();
    let mut cluster = external(
        "main",
        &theirs.server.url(),
        &json!({"secret": {"name": "their-ca", "key": "ca.crt"}}),
    );
    cluster["spec"]["configuration"] =
        json!({"secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}]});
    cluster["spec"]["access"] =
        json!([{"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]);
    create(&stage, cluster).await;
    let operator = stage.start_operator_with(&Points::record(), allow(&theirs.server.url()));

    // It says what its owner has to do, and that is enough.
    let told = until(&stage, "main", "Configured", "LoginRefused").await.unwrap();
    let audience = names::external_audience(&told.uid().unwrap(), &theirs.server.url());
    let status: VaultClusterStatus = told.status.clone().unwrap();
    assert_eq!(status.login_audience.as_deref(), Some(audience.as_str()));
    assert_eq!(reason(&told, "Available"), "Serves", "it serves all the same");
    let said = condition(&told, "Configured").unwrap().message;
    assert!(said.contains(&audience), "the audience is in the message: {said}");
    follow(&theirs.root, &said).await;
    let serving = until(&stage, "main", "Configured", "InPlace").await.unwrap();
    let row = &serving.status.as_ref().unwrap().members[0];
    assert_eq!(
        (row.state.as_str(), row.version.as_deref()),
        ("Active", Some("1.21.1"))
    );
    assert!(
        theirs.root.mounts().await.unwrap().contains_key("secret/"),
        "the declared engine is mounted"
    );

    // Roles are served, and clients are told where.
    let name = names::vault_name(&stage.namespace, "app");
    create_role(&stage, "main").await;
    until_role(&stage, "InPlace").await;
    let own = format!("secret/data/{}/app", stage.namespace);
    write_secret(&theirs.root, &own, &json!({"data": {"password": "hunter2"}})).await;
    let stored = secrets.get("app-credentials").await.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(stored[key].0.clone()).unwrap();
    let secret_id = SecretString::from(text("secret-id"));
    let login = theirs
        .root
        .approle("approle")
        .login(&text("role-id"), &secret_id)
        .await
        .unwrap();
    let app = theirs.root.with_token(&login.client_token);
    let read = app.read(&own).await.unwrap();
    assert!(read.data.json().contains("hunter2"), "its own secret is readable");
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = maps
        .get(&names::ca_config_map(&stage.namespace, "main"))
        .await
        .unwrap();
    let data = map.data.unwrap();
    assert_eq!(data["address"], theirs.server.url());
    assert!(data["ca.crt"].contains("BEGIN CERTIFICATE"), "{data:?}");
    let told = roles(&stage).get("app").await.unwrap().status.unwrap().external;
    let told = told.expect("injected pods are told where to log in");
    assert_eq!(
        (told.address.clone(), told.auth_path.as_str()),
        (theirs.server.url(), "kubernetes")
    );

    // Another CA comes to be trusted beside the first: that reaches clients while the role itself is at rest.
    let both = format!(
        "{}{}",
        theirs.server.ca_pem(),
        Ca::new("next-ca").unwrap().cert_pem()
    );
    let next = json!({"stringData": {"ca.crt": both}});
    secrets
        .patch("their-ca", &PatchParams::default(), &Patch::Merge(&next))
        .await
        .unwrap();

    // A pod logs in with a token for this Vault alone, and never with one that the API server takes.
    stage.create_account(&stage.namespace, "app").await.unwrap();
    let login = async |audiences: &[&str]| {
        let token = stage.token(&stage.namespace, "app", audiences).await.unwrap();
        let method = theirs.root.without_token().kubernetes("kubernetes");
        method.login(&name, &token).await
    };
    let audience = names::client_audience(&serving.uid().unwrap(), &theirs.server.url());
    assert_eq!(told.audience, audience);
    login(&[&audience]).await.expect("a token of that audience");
    let refused = login(&[]).await.expect_err("one that the API server takes");
    assert!(refused.is_denied(), "{refused}");

    assert_nothing_runs_here(&stage).await;

    wait::until_async("the next CA to reach the clients", DEADLINE, async || {
        let map = maps.get(&names::ca_config_map(&stage.namespace, "main")).await?;
        let ca = map.data.unwrap_or_default().remove("ca.crt").unwrap_or_default();
        ensure!(ca.matches("BEGIN CERTIFICATE").count() == 2, "{ca}");
        Ok(())
    })
    .await
    .unwrap();

    // Its owner seals it: that is told, and not undone.
    theirs.root.seal().await.unwrap();
    until(&stage, "main", "Available", "VaultSealed").await.unwrap();
    operator.until_passes(1).await.unwrap();
    let plain = theirs.root.without_token();
    assert!(
        plain.seal_status().await.unwrap().sealed,
        "nobody unseals it here"
    );
    unseal(&plain, &theirs.shares).await;
    until(&stage, "main", "Available", "Serves").await.unwrap();
    until(&stage, "main", "Configured", "InPlace").await.unwrap();

    // The role takes what is its own with it, the cluster nothing at all.
    delete_role(&stage).await.unwrap();
    let policies = theirs.root.list_policies().await.unwrap();
    assert!(!policies.contains(&name), "the policy is there: {policies:?}");
    delete_and_wait(&stage).await;
    assert!(
        theirs.root.mounts().await.unwrap().contains_key("secret/"),
        "what was configured stays"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_others_made_in_a_vault_elsewhere_is_neither_changed_nor_removed() {
    let (stage, theirs) = tokio::join!(Stage::new(), Theirs::start());
    let stage = stage.unwrap();
    theirs.prepare(&stage).await;
    let mut cluster = external(
        "main",
        &theirs.server.url(),
        &json!({"bundle": theirs.server.ca_pem()}),
    );
    let access = json!([{"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]);
    cluster["spec"]["access"] = access;
    create(&stage, cluster).await;
    // A person's work under the very name that a VaultRole will have.
    let name = names::vault_name(&stage.namespace, "app");
    let hand_made = "path \"secret/*\" { capabilities = [\"read\"] }";
    theirs.root.write_policy(&name, hand_made).await.unwrap();
    let app_role = format!("auth/approle/role/{name}");
    theirs
        .root
        .write(&app_role, &json!({"token_policies": [name]}))
        .await
        .unwrap();
    let secret_ids = format!("{app_role}/secret-id");
    theirs.root.write(&secret_ids, &json!({})).await.unwrap();
    let before = theirs.root.list(&secret_ids).await.unwrap();
    let operator = stage.start_operator_with(&Points::record(), allow(&theirs.server.url()));
    let told = until(&stage, "main", "Configured", "LoginRefused").await.unwrap();
    follow(&theirs.root, &condition(&told, "Configured").unwrap().message).await;
    until(&stage, "main", "Configured", "InPlace").await.unwrap();

    // Another VaultCluster for the same Vault has an audience of its own, which nobody there has let in.
    let second = external(
        "second",
        &theirs.server.url(),
        &json!({"bundle": theirs.server.ca_pem()}),
    );
    create(&stage, second).await;
    until(&stage, "second", "Configured", "LoginRefused")
        .await
        .unwrap();

    let untouched = async |after: &str| {
        assert_eq!(
            theirs.root.read_policy(&name).await.unwrap(),
            hand_made,
            "{after}"
        );
        let now = theirs.root.list(&secret_ids).await.unwrap();
        assert_eq!(now, before, "its secret-ids, {after}");
    };
    create_role(&stage, "main").await;
    until_role(&stage, "NameTaken").await;
    untouched("while a VaultRole wants the name").await;
    delete_role(&stage).await.unwrap();
    untouched("after that VaultRole is gone").await;

    // Given up by its owner, it is the VaultRole's, and put right also where only the policy was taken away.
    theirs.root.delete(&app_role).await.unwrap();
    theirs.root.delete_policy(&name).await.unwrap();
    create_role(&stage, "main").await;
    until_role(&stage, "InPlace").await;
    let ours = theirs.root.read_policy(&name).await.unwrap();
    assert!(ours.contains("# Owner: the Kubernetes cluster "), "{ours}");
    theirs.root.delete_policy(&name).await.unwrap();
    touch(&stage, "policy").await;
    wait::until_async("the policy to come back", DEADLINE, async || {
        ensure!(theirs.root.read_policy(&name).await? == ours, "another one");
        Ok(())
    })
    .await
    .unwrap();

    // Another Kubernetes cluster has a VaultRole of the same name and has come to be its owner.
    let another = ours.replace("Kubernetes cluster ", "Kubernetes cluster 0");
    theirs.root.write_policy(&name, &another).await.unwrap();
    touch(&stage, "owner").await;
    until_role(&stage, "NameTaken").await;
    delete_role(&stage).await.unwrap();
    assert_eq!(theirs.root.read_policy(&name).await.unwrap(), another);
    assert!(
        theirs.root.read(&app_role).await.is_ok(),
        "its AppRole role stays"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_logs_in_at_a_vault_elsewhere_unless_somebody_else_has_the_name() {
    let (stage, theirs) = tokio::join!(Stage::new(), Theirs::start());
    let stage = stage.unwrap();
    theirs.prepare(&stage).await;
    let mut cluster = external(
        "main",
        &theirs.server.url(),
        &json!({"bundle": theirs.server.ca_pem()}),
    );
    cluster["spec"]["access"] =
        json!([{"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]);
    create(&stage, cluster).await;
    let operator = stage.start_operator_with(&Points::record(), allow(&theirs.server.url()));
    let told = until(&stage, "main", "Configured", "LoginRefused").await.unwrap();
    follow(&theirs.root, &condition(&told, "Configured").unwrap().message).await;
    until(&stage, "main", "Configured", "InPlace").await.unwrap();

    // A person's role for certificates under that name.
    let name = names::vault_name(&stage.namespace, "app");
    let method = theirs.root.cert("cert");
    let hand_made = cert::Role {
        certificate: theirs.server.ca_pem().to_owned(),
        ..cert::Role::default()
    };
    method.write_role(&name, &hand_made).await.unwrap();
    let wish = json!({"secretName": "app-tls"});
    super::certificate_login::create_role(&stage, "app", &wish)
        .await
        .unwrap();
    until_role(&stage, "NameTaken").await;
    let there = method.read_role(&name).await.unwrap();
    assert_eq!(there.certificate.trim(), hand_made.certificate.trim(), "it stays");
    method.delete_role(&name).await.unwrap();
    until_role(&stage, "InPlace").await;

    let held = super::certificate_login::held(&stage, "app-tls").await.unwrap();
    let client = Client::builder(theirs.server.url())
        .ca_pem(&held.cas)
        .client_certificate(&held.certificate, held.key.clone())
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()
        .unwrap();
    let auth = client.cert("cert").login(Some(&name)).await.unwrap();
    assert!(auth.policies.contains(&name), "{:?}", auth.policies);
    let noted = super::certificate_login::noted(&stage, "app").await.unwrap();
    delete_role(&stage).await.unwrap();
    let gone = method
        .read_role(&name)
        .await
        .expect_err("it goes with its VaultRole");
    assert!(gone.is_not_found(), "{gone}");
    let lists = theirs.root.list("auth/cert/crls").await.unwrap();
    assert_eq!(lists.len(), 1, "one list of ours: {lists:?}");
    let revoked = method.read_crl(&lists[0]).await.unwrap();
    assert_eq!(
        revoked.map(|serials| serials.len()),
        Some(noted.issued.len()),
        "every certificate that was issued: {noted:?}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Lets the operator look at the role again.
async fn touch(stage: &Stage, word: &str) {
    let change = json!({"metadata": {"annotations": {"test.invalid/touched": word}}});
    roles(stage)
        .patch("app", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
}

/// No pod, no name and no key is made for a Vault that runs elsewhere.
async fn assert_nothing_runs_here(stage: &Stage) {
    let all = ListParams::default();
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(sets.list(&all).await.unwrap().items.is_empty(), "no members");
    let services: Api<Service> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(services.list(&all).await.unwrap().items.is_empty(), "no Services");
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    let kept = secrets.list(&all).await.unwrap();
    let kept: Vec<String> = kept.iter().map(kube::ResourceExt::name_any).collect();
    assert!(kept.is_empty(), "no keys and no CA: {kept:?}");
}
