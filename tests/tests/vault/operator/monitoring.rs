//! Metrics and alerts on a real cluster: Prometheus' objects come and go with the spec and its operator, real members are
//! scraped through what they say, and every metric that an alert names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::{helm, wait};

use super::stage::{DEADLINE, Operator, Stage, change, reason};

/// The real definitions, for which no Prometheus operator runs here.
const DEFINITIONS: [&str; 3] = [
    include_str!("data/prometheus-podmonitors.yaml"),
    include_str!("data/prometheus-prometheusrules.yaml"),
    include_str!("data/prometheus-servicemonitors.yaml"),
];
const MONITORED: &str = "Monitored";

fn objects(stage: &Stage, kind: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind));
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &kind)
}

async fn install_definitions(stage: &Stage) {
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    for text in DEFINITIONS {
        let definition = serde_yaml::from_str(text).unwrap();
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
}

/// A scrape of one member, done as a PodMonitor says.
struct Scraper {
    endpoint: Value,
    ca: Vec<u8>,
    port: u16,
}

impl Scraper {
    /// What the PodMonitor says, with the Secret and the port that it names.
    async fn new(stage: &Stage) -> Self {
        let monitor = objects(stage, "PodMonitor").get("main").await.unwrap();
        let endpoint = monitor.data["spec"]["podMetricsEndpoints"][0].clone();
        let reference = &endpoint["tlsConfig"]["ca"]["secret"];
        let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let secret = secrets.get(reference["name"].as_str().unwrap()).await.unwrap();
        let ca = secret.data.unwrap()[reference["key"].as_str().unwrap()].0.clone();
        let labels: BTreeMap<String, String> =
            serde_json::from_value(monitor.data["spec"]["selector"]["matchLabels"].clone()).unwrap();
        let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let found = pods
            .list(&kube::api::ListParams::default().labels(&selector.join(",")))
            .await
            .unwrap();
        assert_eq!(found.items.len(), 3, "the PodMonitor selects the members");
        let containers = &found.items[0].spec.as_ref().unwrap().containers;
        let mut ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
        let named = ports.find(|port| port.name.as_deref() == endpoint["port"].as_str());
        let port = u16::try_from(named.expect("the port has its name").container_port).unwrap();
        Self { endpoint, ca, port }
    }

    fn client(&self, address: SocketAddr) -> reqwest::Client {
        let server_name = self.endpoint["tlsConfig"]["serverName"].as_str().unwrap();
        reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&self.ca).unwrap())
            .resolve(server_name, address)
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap()
    }

    /// A request without a token, at a port of the member.
    async fn ask(&self, stage: &Stage, pod: &str, port: u16, path: &str) -> anyhow::Result<(u16, String)> {
        let address = stage
            .kubelet
            .address(pod)
            .await
            .context("the member has no address")?;
        let address = SocketAddr::new(address, port);
        let server_name = self.endpoint["tlsConfig"]["serverName"]
            .as_str()
            .unwrap_or_default();
        let scheme = self.endpoint["scheme"].as_str().unwrap_or_default();
        let url = format!("{scheme}://{server_name}:{port}{path}");
        let answer = self.client(address).get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// What the member tells Prometheus.
    async fn scrape(&self, stage: &Stage, pod: &str) -> anyhow::Result<String> {
        let path = self.endpoint["path"].as_str().unwrap_or_default();
        let format = self.endpoint["params"]["format"][0].as_str().unwrap_or_default();
        let (status, text) = self
            .ask(stage, pod, self.port, &format!("{path}?format={format}"))
            .await?;
        ensure!(status == 200, "{pod} answers {status}: {text}");
        Ok(text)
    }
}

/// Names of series in the text of a scrape.
fn names_in(text: &str) -> BTreeSet<String> {
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(name)
        .collect()
}

/// Names of metrics in expressions of Prometheus.
fn names_of(expression: &str) -> BTreeSet<String> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("vault_") || word.starts_with("vaultkeeper_"))
        .map(str::to_owned)
        .collect()
}

/// The value of a series of a member, whatever its labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut of_name = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
    of_name.next()?.rsplit(' ').next()?.parse().ok()
}

/// Metrics in the expressions of all alerts.
async fn named_by_alerts(stage: &Stage) -> BTreeSet<String> {
    let rule = objects(stage, "PrometheusRule").get("main").await.unwrap();
    let rules = rule.data["spec"]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .clone();
    assert!(rules.len() > 10, "there are more alerts: {rules:?}");
    rules
        .iter()
        .flat_map(|rule| names_of(rule["expr"].as_str().unwrap()))
        .collect()
}

/// Metrics of Vault in the dashboard of the chart; of those of ours a test of the chart knows.
fn named_by_the_dashboard() -> BTreeSet<String> {
    let text = std::fs::read_to_string(helm::chart().join("files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .flat_map(|target| names_of(target["expr"].as_str().unwrap()))
        .filter(|name| name.starts_with("vault_"))
        .collect()
}

async fn until_all_are_told(stage: &Stage, scraper: &Scraper, operator: &Operator, named: &BTreeSet<String>) {
    wait::until_async("every metric that an alert names", DEADLINE, async || {
        let mut told = names_in(&operator.metrics()?);
        for ordinal in 0..3 {
            told.extend(names_in(
                &scraper.scrape(stage, &format!("main-{ordinal}")).await?,
            ));
        }
        let missing: Vec<&String> = named.difference(&told).collect();
        ensure!(missing.is_empty(), "nobody tells {missing:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn real_members_tell_every_metric_that_an_alert_names_also_when_they_are_sealed() {
    let stage = Stage::new().await.unwrap();
    let peers = json!({"prometheus": [{"namespace": "monitoring"}]});
    let fields = json!({"networkPolicy": peers, "monitoring": {"labels": {"release": "kps"}}});
    stage.create_cluster_with(3, fields).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage
        .until("the want of a Prometheus operator to be told", |c| {
            reason(c, MONITORED) == "PrometheusOperatorMissing"
        })
        .await
        .unwrap();
    stage.until_available().await.unwrap();

    // Prometheus' operator is installed later.
    install_definitions(&stage).await;
    stage
        .until("the objects to be there", |c| reason(c, MONITORED) == "InPlace")
        .await
        .unwrap();
    let rule = objects(&stage, "PrometheusRule").get("main").await.unwrap();
    let labels = rule.metadata.labels.clone().unwrap_or_default();
    assert_eq!(labels.get("release").map(String::as_str), Some("kps"));
    assert_eq!(
        rule.metadata.owner_references.unwrap_or_default()[0].kind,
        "VaultCluster"
    );

    let scraper = Scraper::new(&stage).await;
    let mut named = named_by_alerts(&stage).await;
    named.extend(named_by_the_dashboard());
    // Told once there are backups.
    named.remove("vaultkeeper_backup_last_success_timestamp_seconds");
    // A root token is made and is alive.
    let root = stage.root(0).await.unwrap();
    until_all_are_told(&stage, &scraper, &operator, &named).await;
    wait::until_async("the root token to be counted", DEADLINE, async || {
        match value(&operator.metrics()?, "vaultkeeper_cluster_root_tokens") {
            Some(roots) if roots >= 1.0 => Ok(()),
            other => bail!("it tells of {other:?}"),
        }
    })
    .await
    .unwrap();

    // What else the listener of the metrics does without a token: nothing that the other one does not.
    let api = vaultkeeper_crds::names::API_PORT;
    for (port, path, expected) in [
        (scraper.port, "/v1/secret/data/x", 403),
        (scraper.port, "/v1/sys/policies/acl", 403),
        (scraper.port, "/v1/sys/pprof/heap", 403),
        (scraper.port, "/v1/sys/in-flight-req", 403),
        (api, "/v1/sys/metrics?format=prometheus", 403),
    ] {
        let (status, text) = scraper.ask(&stage, "main-0", port, path).await.unwrap();
        assert_eq!(status, expected, "{port} {path}: {text}");
    }
    let log = stage.kubelet.log_tail("main-0", 2000).await.unwrap();
    assert!(!log.contains("error starting listener"), "{log}");

    // The active member is sealed on purpose: it is the one that tells so.
    let active = stage.leader().await.unwrap();
    assert_eq!(
        value(
            &scraper.scrape(&stage, &active).await.unwrap(),
            "vault_core_unsealed"
        ),
        Some(1.0)
    );
    let ordinal: u32 = active.rsplit('-').next().unwrap().parse().unwrap();
    drop(root);
    stage.root(ordinal).await.unwrap().seal().await.unwrap();
    wait::until_async("the sealed member to tell so", DEADLINE, async || {
        let text = scraper.scrape(&stage, &active).await?;
        ensure!(
            value(&text, "vault_core_unsealed") == Some(0.0),
            "{active} says it is unsealed"
        );
        let text = operator.metrics()?;
        for series in [
            "vaultkeeper_cluster_members_sealed",
            "vaultkeeper_cluster_seal_latched",
        ] {
            ensure!(
                value(&text, series) == Some(1.0),
                "{series} is {:?}",
                value(&text, series)
            );
        }
        Ok(())
    })
    .await
    .unwrap();

    // Switched off, nothing is left.
    change(&stage, json!({"monitoring": {"alerts": {"enabled": false}}})).await;
    wait::until_async("the alerts to be gone", DEADLINE, async || {
        ensure!(
            objects(&stage, "PrometheusRule").get_opt("main").await?.is_none(),
            "they are there"
        );
        objects(&stage, "PodMonitor").get("main").await?;
        Ok(())
    })
    .await
    .unwrap();
    change(&stage, json!({"monitoring": {"enabled": false}})).await;
    wait::until_async("the PodMonitor to be gone", DEADLINE, async || {
        ensure!(
            objects(&stage, "PodMonitor").get_opt("main").await?.is_none(),
            "it is there"
        );
        Ok(())
    })
    .await
    .unwrap();
    stage
        .until("the condition to be gone", |c| reason(c, MONITORED).is_empty())
        .await
        .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}
