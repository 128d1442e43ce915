//! Vaults that somebody else runs: one that is set up by hand as docs/external.md says, and one that wants our tokens.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
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
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::kubernetes;
use vaultkeeper_vault::sys::mounts::MountRequest;
use vaultkeeper_vault::{Client, ExposeSecret as _, SecretString};

use super::hostile::{Hostile, Trick};
use super::stage::{DEADLINE, Stage, condition, reason};
use crate::client_support::{split, unseal};

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
        let server = VaultServer::start(Config::single("theirs").unwrap(), &ca, &run)
            .await
            .unwrap();
        let client = Client::builder(server.url())
            .ca_pem(server.ca_pem())
            .build()
            .unwrap();
        let made = client.init(&split(1, 1)).await.unwrap();
        unseal(&client, &made.keys).await;
        Self {
            root: client.with_token(&made.root_token),
            shares: made.keys,
            server,
            _run: run,
        }
    }

    /// What its owner does once, before any VaultCluster names it.
    async fn prepare(&self, stage: &Stage) {
        for kind in ["kubernetes", "approle"] {
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

fn allow(url: &str) -> Rules {
    Rules {
        external_addresses: AllowedAddresses(vec![url.parse().unwrap()]),
        ..Rules::default()
    }
}

fn external(name: &str, address: &str, ca: &Value) -> Value {
    json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": name},
        "spec": {"version": "1.21.1", "external": {"address": address, "ca": ca}},
    })
}

async fn create(stage: &Stage, cluster: Value) {
    let cluster: VaultCluster = serde_json::from_value(cluster).unwrap();
    stage
        .clusters()
        .create(&PostParams::default(), &cluster)
        .await
        .unwrap();
}

/// Waits until a VaultCluster of this name says so.
async fn until(stage: &Stage, name: &str, type_: &str, wanted: &str) -> anyhow::Result<VaultCluster> {
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

async fn create_role(stage: &Stage, cluster: &str) {
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
async fn until_role(stage: &Stage, wanted: &str) {
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

async fn delete_role(stage: &Stage) {
    roles(stage)
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    wait::until_async("the role to be gone", DEADLINE, async || {
        match roles(stage).get_opt("app").await? {
            None => Ok(()),
            Some(role) => bail!("it is there: {:?}", role.status),
        }
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
    let audience = names::operator_audience(&told.uid().unwrap());
    let status: VaultClusterStatus = told.status.clone().unwrap();
    assert_eq!(status.login_audience.as_deref(), Some(audience.as_str()));
    assert_eq!(reason(&told, "Available"), "Serves", "it serves all the same");
    let said = condition(&told, "Configured").unwrap().message;
    assert!(said.contains(&audience), "the audience is in the message: {said}");
    follow(&theirs.root, &said).await;
    let serving = until(&stage, "main", "Configured", "InPlace").await.unwrap();
    let row = &serving.status.unwrap().members[0];
    assert_eq!(
        (row.state.as_str(), row.version.as_deref()),
        ("Active", Some("1.21.1"))
    );
    assert!(
        theirs.root.mounts().await.unwrap().contains_key("secret/"),
        "the declared engine is mounted"
    );

    // Roles are served, and clients are told where.
    create_role(&stage, "main").await;
    until_role(&stage, "InPlace").await;
    let own = format!("secret/data/{}/app", stage.namespace);
    theirs
        .root
        .write(&own, &json!({"data": {"password": "hunter2"}}))
        .await
        .unwrap();
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
        (told.address, told.auth_path.as_str()),
        (theirs.server.url(), "kubernetes")
    );

    assert_nothing_runs_here(&stage).await;

    // Its owner seals it: that is told, and not undone.
    theirs.root.seal().await.unwrap();
    until(&stage, "main", "Available", "Sealed").await.unwrap();
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
    delete_role(&stage).await;
    let name = names::vault_name(&stage.namespace, "app");
    let policies = theirs.root.list_policies().await.unwrap();
    assert!(!policies.contains(&name), "the policy is there: {policies:?}");
    stage
        .clusters()
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    wait::until_async("the VaultCluster to be gone", DEADLINE, async || {
        ensure!(stage.clusters().get_opt("main").await?.is_none(), "it is there");
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        theirs.root.mounts().await.unwrap().contains_key("secret/"),
        "what was configured stays"
    );
    operator.stop().await;
    stage.end().await.unwrap();
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

#[tokio::test]
async fn a_hostile_address_gets_no_connection_unless_it_is_allowed_and_no_token_unless_it_is_verified() {
    let stage = Stage::new().await.unwrap();
    let hostile = Hostile::start(Trick::Echo).await;
    let ca = |ca: &Ca| json!({"bundle": ca.cert_pem()});
    create(&stage, external("evil", &hostile.url, &ca(&hostile.ca))).await;
    create_role(&stage, "evil").await;
    let access = json!({"spec": {"access": [{"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]}});
    let patched = stage
        .clusters()
        .patch(
            "evil",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&access),
        )
        .await;
    patched.unwrap();

    // Not on the list: nothing at all.
    let operator = stage.start_operator(&Points::record());
    let told = until(&stage, "evil", "Accepted", "AddressNotAllowed")
        .await
        .unwrap();
    let said = condition(&told, "Accepted").unwrap().message;
    for part in [hostile.url.as_str(), "operator.externalAddresses"] {
        assert!(said.contains(part), "{part} should be named: {said}");
    }
    until_role(&stage, "AddressNotAllowed").await;
    operator.stop().await;
    assert_eq!(
        hostile.connections(),
        0,
        "an address that is not allowed should not even see a connection"
    );

    // Allowed, but it is not who the spec says: no request.
    let another = Ca::new("another-ca").unwrap();
    let change = json!({"spec": {"external": {"ca": {"bundle": another.cert_pem()}}}});
    let patched = stage
        .clusters()
        .patch(
            "evil",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&change),
        )
        .await;
    patched.unwrap();
    let operator = stage.start_operator_with(&Points::record(), allow(&hostile.url));
    wait::until_async("the handshake to fail", DEADLINE, async || {
        let cluster = stage.clusters().get("evil").await?;
        let said = condition(&cluster, "Available").context("no condition")?;
        ensure!(said.reason == "VaultTLSFailed", "{said:?}");
        ensure!(
            said.observed_generation == cluster.metadata.generation,
            "{said:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    assert!(hostile.connections() > 0, "it was called");
    assert_eq!(
        hostile.received().len(),
        0,
        "a server that is not verified should receive nothing: {:?}",
        hostile.received()
    );
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_token_that_a_hostile_vault_was_shown_opens_nothing_else_and_follows_no_redirect() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let accomplice = Hostile::start(Trick::Echo).await;
    let hostile = Hostile::start(Trick::Redirect(accomplice.url.clone())).await;
    let ca = json!({"bundle": format!("{}{}", hostile.ca.cert_pem(), accomplice.ca.cert_pem())});
    create(&stage, external("evil", &hostile.url, &ca)).await;
    let rules = Rules {
        external_addresses: AllowedAddresses(vec![
            hostile.url.parse().unwrap(),
            accomplice.url.parse().unwrap(),
        ]),
        ..Rules::default()
    };
    let operator = stage.start_operator_with(&Points::record(), rules);
    stage.until_available().await.unwrap();

    wait::until_async("a login to be redirected", DEADLINE, async || {
        ensure!(!hostile.tokens().is_empty(), "no token yet");
        Ok(())
    })
    .await
    .unwrap();
    until(&stage, "evil", "Configured", "LoginRefused").await.unwrap();
    assert_eq!(accomplice.connections(), 0, "nobody should follow a redirect");

    hostile.play(Trick::Echo);
    let before = hostile.tokens().len();
    wait::until_async("a login whose token is repeated", DEADLINE, async || {
        ensure!(
            hostile.tokens().len() > before + 1,
            "{} tokens",
            hostile.tokens().len()
        );
        Ok(())
    })
    .await
    .unwrap();
    let evil = until(&stage, "evil", "Configured", "LoginRefused").await.unwrap();
    let tokens = hostile.tokens();
    let token = tokens.last().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    let status = serde_json::to_string(&evil.status).unwrap();
    assert!(!status.contains(signature), "the token is repeated in the status");
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    let leaks = |e: &Event| e.note.as_ref().is_some_and(|n| n.contains(signature));
    assert!(!events.iter().any(leaks), "the token is repeated in an event");

    for request in hostile.received() {
        assert!(
            request.line.contains("/sys/health") || request.line.contains("/login"),
            "without a login nothing else should be sent: {}",
            request.line
        );
        assert!(
            !request.text.to_lowercase().contains("x-vault-token"),
            "the operator's token of another Vault was sent: {}",
            request.line
        );
    }

    // The very token is good for nothing else: neither the operator's own cluster nor the API server takes it.
    let jwt = SecretString::from(token.as_str());
    let member = stage.member(0).await.unwrap();
    let refused = member
        .kubernetes(names::KUBERNETES_AUTH_PATH)
        .login(OPERATOR_ROLE, &jwt)
        .await
        .expect_err("a token for one Vault must not open another");
    assert!(refused.is_denied(), "expected a denial, got {refused}");
    let environment = stage.environment();
    let ca = reqwest::Certificate::from_pem(environment.ca_cert.as_ref().unwrap().as_bytes()).unwrap();
    let api = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()
        .unwrap();
    let answer = api
        .get(format!("{}/api/v1/namespaces", environment.host))
        .bearer_auth(jwt.expose_secret())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401, "nor the API server");
    operator.stop().await;
    stage.end().await.unwrap();
}
