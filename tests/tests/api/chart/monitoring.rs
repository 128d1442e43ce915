//! What the chart tells Prometheus and Grafana of the operator and the injector.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::Value;
use vaultkeeper_injector::metrics::Metrics as InjectorMetrics;
use vaultkeeper_operator::metrics::{ClusterNumbers, Metrics};
use vaultkeeper_tests::{helm, wait};

use super::{NAMESPACE, documents, helm_command, kubernetes_version, named, of_kind, template};

const DEADLINE: Duration = Duration::from_secs(60);
const ON: &str = "monitoring.enabled=true";
/// The real definitions, for which no Prometheus operator runs here.
const DEFINITIONS: [(&str, &str); 3] = [
    (
        "podmonitors",
        include_str!("../../vault/operator/data/prometheus-podmonitors.yaml"),
    ),
    (
        "prometheusrules",
        include_str!("../../vault/operator/data/prometheus-prometheusrules.yaml"),
    ),
    (
        "servicemonitors",
        include_str!("../../vault/operator/data/prometheus-servicemonitors.yaml"),
    ),
];

fn kinds(objects: &[Value]) -> usize {
    of_kind(objects, "PodMonitor").len() + of_kind(objects, "PrometheusRule").len()
}

#[test]
fn the_objects_are_rendered_where_the_kinds_are_known_unless_they_are_switched_off() {
    let chart = helm::chart();
    assert_eq!(
        kinds(&template(&chart, &[]).unwrap()),
        0,
        "nobody said that the kinds are known"
    );
    assert_eq!(kinds(&template(&chart, &[ON]).unwrap()), 3);
    assert_eq!(
        kinds(&template(&chart, &[ON, "injector.enabled=false"]).unwrap()),
        2
    );
    assert_eq!(
        kinds(&template(&chart, &[ON, "monitoring.alerts.enabled=false"]).unwrap()),
        2
    );
    let with_kinds = |more: &[&str]| {
        let (_home, mut command) = helm_command(&["template", "keeper", "--namespace", NAMESPACE]);
        command.args(["--kube-version", kubernetes_version()]);
        command
            .args(["--api-versions", "monitoring.coreos.com/v1"])
            .args(more);
        documents(&helm::run(command.arg(&chart)).unwrap())
    };
    assert_eq!(kinds(&with_kinds(&[])), 3, "auto");
    assert_eq!(kinds(&with_kinds(&["--set", "monitoring.enabled=false"])), 0);
}

#[test]
fn prometheus_finds_the_pods_of_each_component_and_a_port_that_they_have() {
    let objects = template(&helm::chart(), &[ON]).unwrap();
    for component in ["operator", "injector"] {
        let monitor = named(&objects, "PodMonitor", component);
        let deployment = named(&objects, "Deployment", component);
        let pod = &deployment["spec"]["template"];
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(wanted.len() >= 3, "no others' pods: {wanted:?}");
        for (key, value) in wanted {
            assert_eq!(&pod["metadata"]["labels"][key], value, "{component}: {key}");
        }
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
        assert!(
            ports.iter().any(|port| port["name"] == endpoint["port"]),
            "{component} has no port {}",
            endpoint["port"]
        );
        assert_eq!(endpoint["honorLabels"], true, "{component}");
    }
}

/// Names of metrics in expressions of Prometheus.
fn names_of(expression: &str) -> impl Iterator<Item = String> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("vaultkeeper_"))
        .map(str::to_owned)
}

/// Every name that our programs tell.
fn told() -> BTreeSet<String> {
    let metrics = Metrics::new();
    let known = ClusterNumbers {
        voters: Some(3),
        failure_tolerance: Some(1),
        root_tokens: Some(0),
        certificate_begins: Some(0),
        certificate_ends: Some(1),
        ..ClusterNumbers::default()
    };
    metrics.cluster("vault", "main", known);
    metrics.succeeded("VaultRole", Duration::ZERO, 1);
    metrics.failed("VaultRole", "Failed", Duration::ZERO);
    metrics.malformed("VaultRole");
    let injector = InjectorMetrics::default();
    injector.expires("leaf", jiff_now());
    let text = metrics.encode().unwrap() + &injector.text().unwrap();
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(name)
        .collect()
}

fn jiff_now() -> k8s_openapi::jiff::Timestamp {
    k8s_openapi::jiff::Timestamp::now()
}

#[test]
fn every_metric_of_ours_in_the_charts_alerts_and_in_the_dashboard_is_told() {
    let objects = template(&helm::chart(), &[ON]).unwrap();
    let rules = named(&objects, "PrometheusRule", "keeper");
    let mut asked = BTreeSet::new();
    for rule in rules["spec"]["groups"][0]["rules"].as_array().unwrap() {
        asked.extend(names_of(rule["expr"].as_str().unwrap()));
    }
    assert!(asked.len() >= 7, "{asked:?}");
    let text = fs::read_to_string(helm::chart().join("files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            asked.extend(names_of(target["expr"].as_str().unwrap()));
        }
    }
    let told = told();
    let missing: Vec<&String> = asked.difference(&told).collect();
    assert!(missing.is_empty(), "nobody tells {missing:?}, there are {told:?}");
}

#[test]
fn the_guide_has_every_alert_of_the_chart_and_no_other() {
    let objects = template(&helm::chart(), &[ON]).unwrap();
    let rules = named(&objects, "PrometheusRule", "keeper");
    let rules = rules["spec"]["groups"][0]["rules"].as_array().unwrap();
    let of_chart: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    let text = fs::read_to_string(helm::repository().join("docs/alerts.md")).unwrap();
    let headings = text.lines().filter_map(|line| line.strip_prefix("### "));
    let documented: BTreeSet<&str> = headings.filter(|name| name.starts_with("Vaultkeeper")).collect();
    assert_eq!(documented, of_chart);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(
            url.ends_with(&format!("docs/alerts.md#{}", name.to_lowercase())),
            "{url}"
        );
    }
}

#[test]
fn grafana_finds_the_dashboard_by_its_label_only_where_it_is_wanted() {
    let config_maps = |sets: &[&str]| {
        let objects = template(&helm::chart(), sets).unwrap();
        of_kind(&objects, "ConfigMap")
            .into_iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(config_maps(&[]).is_empty());
    let made = config_maps(&["monitoring.dashboard.enabled=true"]);
    let [dashboard] = made.as_slice() else {
        panic!("one ConfigMap: {made:?}")
    };
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = dashboard["data"]["vaultkeeper.json"].as_str().unwrap();
    let parsed: Value = serde_json::from_str(text).unwrap();
    assert_eq!(parsed["uid"], "vaultkeeper");
}

#[tokio::test]
async fn a_real_api_server_with_the_real_definitions_takes_the_objects() {
    let control_plane = crate::shared::control_plane().await;
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.create_namespace("monitored").await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (plural, text) in DEFINITIONS {
        let definition = serde_yaml::from_str(text).unwrap();
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
        let name = format!("{plural}.monitoring.coreos.com");
        wait::until_async("the definition to be served", DEADLINE, async || {
            let status = definitions.get(&name).await?.status;
            let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
            let is_served = conditions
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True");
            ensure!(is_served, "not yet");
            Ok(())
        })
        .await
        .unwrap();
    }
    let objects = template(&helm::chart(), &[ON]).unwrap();
    for kind in ["PodMonitor", "PrometheusRule"] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        for object in of_kind(&objects, kind) {
            let mut object = object.clone();
            object["metadata"]["namespace"] = namespace.as_str().into();
            let sent: DynamicObject = serde_json::from_value(object.clone()).unwrap();
            let kept = wait::until_async("the object to be taken", DEADLINE, async || {
                match api.create(&PostParams::default(), &sent).await {
                    Ok(kept) => Ok(kept),
                    // The path of a new definition is there a moment later.
                    Err(kube::Error::Api(status)) if status.code == 404 => bail!("{status:?}"),
                    Err(error) => panic!("{kind} should be taken: {error}"),
                }
            })
            .await
            .unwrap();
            assert_eq!(
                kept.data["spec"], object["spec"],
                "{kind}: nothing that the definition does not know"
            );
        }
    }
}
