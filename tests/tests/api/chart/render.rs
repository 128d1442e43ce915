//! What the chart renders, without a server.

use std::fs;

use serde_json::{Value, json};
use vaultkeeper_tests::helm;

use super::{NAMESPACE, helm_command, kubernetes_version, named, of_kind, template};

#[test]
fn helm_lint_has_nothing_to_complain_about() {
    let (_home, mut command) = helm_command(&["lint", "--strict", "--kube-version", kubernetes_version()]);
    let said = helm::run(command.arg(helm::chart())).unwrap();
    assert!(
        said.contains("0 chart(s) failed") && !said.contains("[WARNING]") && !said.contains("[ERROR]"),
        "helm lint --strict should find nothing, it said: {said}"
    );
}

#[test]
fn a_value_that_is_misspelt_or_out_of_range_is_refused_by_its_name() {
    let digest = format!(
        r#"operator.image={{"repository":"r","digest":"sha256:{}"}}"#,
        "a".repeat(64)
    );
    // What is refused, the word that the message must hold, and the neighbour that is accepted.
    for (wrong, word, right) in [
        ("operator.replica=2", "replica", "operator.replicas=2"),
        ("operator.replicas=0", "replicas", "operator.replicas=1"),
        ("operator.replicas=11", "replicas", "operator.replicas=10"),
        (r#"injector.replicas="2""#, "replicas", "injector.replicas=2"),
        (
            r#"image.pullPolicy="Sometimes""#,
            "pullPolicy",
            r#"image.pullPolicy="Never""#,
        ),
        (
            r#"injector.webhook.failurePolicy="Retry""#,
            "failurePolicy",
            r#"injector.webhook.failurePolicy="Ignore""#,
        ),
        (
            "injector.webhook.timeoutSeconds=31",
            "timeoutSeconds",
            "injector.webhook.timeoutSeconds=30",
        ),
        (
            r#"operator.logFormat="xml""#,
            "logFormat",
            r#"operator.logFormat="text""#,
        ),
        (
            r#"operator.image={"repository":"r","digest":"sha256:1"}"#,
            "digest",
            &digest,
        ),
        (r#"image.tag="a b""#, "tag", r#"image.tag="1.2.3-rc.1""#),
        (
            r#"image.registry="https://r.example""#,
            "registry",
            r#"image.registry="r.example:5000/team""#,
        ),
        (
            r#"nameOverride="Upper""#,
            "nameOverride",
            r#"nameOverride="lower""#,
        ),
        (
            r#"injector.agent.resources.limits={"memory":"lots"}"#,
            "memory",
            r#"injector.agent.resources.limits={"memory":"0.5Gi","cpu":null}"#,
        ),
        (
            "injector.agent.resources=null",
            "resources",
            "injector.agent.resources.limits.cpu=null",
        ),
        (
            r#"injector.vaultAddress="vault:8200""#,
            "vaultAddress",
            r#"injector.vaultAddress="https://vault:8200""#,
        ),
        (
            r#"injector.vaultAddress="https://vault:8200/v1""#,
            "vaultAddress",
            r#"injector.vaultAddress="https://[::1]:65535/""#,
        ),
        ("crds.keeep=true", "keeep", "crds.keep=true"),
        (
            r#"monitoring.enabled="always""#,
            "monitoring",
            r#"monitoring.enabled="auto""#,
        ),
        (
            r#"monitoring.alerts.labels={"the-team":"a"}"#,
            "the-team",
            r#"monitoring.alerts.labels={"the_team":"a"}"#,
        ),
        (
            r#"admissionPolicies.enabled="no""#,
            "admissionPolicies",
            "admissionPolicies.enabled=true",
        ),
    ] {
        let refusal = template(&helm::chart(), &[wrong])
            .err()
            .unwrap_or_else(|| panic!("{wrong} should be refused"))
            .to_string();
        assert!(
            refusal.contains(word),
            "the refusal of {wrong} should name {word}, it says: {refusal}"
        );
        if let Err(error) = template(&helm::chart(), &[right]) {
            panic!("{right} should be accepted: {error:#}");
        }
    }
}

#[test]
fn the_crds_of_the_chart_are_those_that_the_types_generate() {
    let rendered = template(&helm::chart(), &[]).unwrap();
    let rendered = of_kind(&rendered, "CustomResourceDefinition");
    let mut files = 0;
    for entry in fs::read_dir(helm::repository().join("crds")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        files += 1;
        let text = fs::read_to_string(&path).unwrap();
        let copy = helm::chart()
            .join("files/crds")
            .join(path.file_name().unwrap_or_default());
        assert!(
            fs::read_to_string(&copy).unwrap_or_default() == text,
            "{} is not the same as {}: run `make crds`",
            copy.display(),
            path.display()
        );
        let generated: Value = serde_yaml::from_str(&text).unwrap();
        let found = rendered
            .iter()
            .find(|crd| crd["metadata"]["name"] == generated["metadata"]["name"])
            .unwrap_or_else(|| panic!("{} is not rendered", path.display()));
        assert!(
            found["spec"] == generated["spec"],
            "Helm should render the spec of {} unchanged",
            path.display()
        );
        assert_eq!(
            found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep",
            "an uninstall should not take every VaultCluster with it"
        );
    }
    assert_eq!(
        rendered.len(),
        files,
        "the chart should render the CRDs of crds/ and no others"
    );
}

#[test]
fn crds_are_left_out_or_not_kept_on_request() {
    let without = template(&helm::chart(), &["crds.install=false"]).unwrap();
    assert!(
        of_kind(&without, "CustomResourceDefinition").is_empty(),
        "crds.install=false should render none"
    );
    let dropped = template(&helm::chart(), &["crds.keep=false"]).unwrap();
    for crd in of_kind(&dropped, "CustomResourceDefinition") {
        assert!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"].is_null(),
            "crds.keep=false should let an uninstall remove them, got {}",
            crd["metadata"]
        );
    }
}

#[test]
fn registry_tag_and_digest_choose_the_images() {
    let images = |sets: &[&str]| {
        let objects = template(&helm::chart(), sets).unwrap();
        let container = |end: &str| {
            named(&objects, "Deployment", end)["spec"]["template"]["spec"]["containers"][0].clone()
        };
        let injector = container("-injector");
        let agent = injector["env"]
            .as_array()
            .and_then(|env| env.iter().find(|entry| entry["name"] == "AGENT_IMAGE").cloned())
            .expect("the injector is told the agent's image");
        json!([container("-operator")["image"], injector["image"], agent["value"]])
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        images(&[]),
        json!([
            format!("vaultkeeper/operator:{version}"),
            format!("vaultkeeper/injector:{version}"),
            format!("vaultkeeper/agent:{version}")
        ]),
        "the chart's appVersion should be the version of this workspace"
    );
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    assert_eq!(
        images(&[
            r#"image.registry="r.example:5000/team""#,
            r#"image.tag="next""#,
            r#"injector.image.tag="mine""#,
            &format!(r#"injector.agent.image.digest="{digest}""#),
        ]),
        json!([
            "r.example:5000/team/vaultkeeper/operator:next",
            "r.example:5000/team/vaultkeeper/injector:mine",
            format!("r.example:5000/team/vaultkeeper/agent@{digest}")
        ])
    );
}

#[test]
fn the_webhook_leaves_its_ca_to_the_injector_and_never_holds_up_our_own_pods() {
    let objects = template(&helm::chart(), &[]).unwrap();
    let webhooks = named(&objects, "MutatingWebhookConfiguration", "-injector")["webhooks"].clone();
    let webhook = &webhooks[0];
    assert_eq!(
        webhooks.as_array().map(Vec::len),
        Some(1),
        "there should be one webhook"
    );
    assert!(
        webhook["clientConfig"]["caBundle"].is_null(),
        "a caBundle in the template would be put back by every upgrade"
    );
    assert_eq!(
        [&webhook["failurePolicy"], &webhook["sideEffects"]],
        [&json!("Fail"), &json!("None")]
    );
    let excluded = &webhook["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(
        excluded,
        &json!({
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "kube-public", "kube-node-lease", NAMESPACE],
        }),
        "the system's namespaces and the release's own should be excluded"
    );
    assert_eq!(
        webhook["objectSelector"]["matchExpressions"][0],
        json!({"key": "app.kubernetes.io/managed-by", "operator": "NotIn", "values": ["vaultkeeper"]}),
        "Vault's own pods should start without the webhook"
    );
}

#[test]
fn without_the_injector_nothing_of_it_is_rendered() {
    let objects = template(&helm::chart(), &["injector.enabled=false"]).unwrap();
    let left: Vec<_> = objects
        .iter()
        .filter(|object| {
            object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .contains("injector")
        })
        .map(|object| &object["kind"])
        .collect();
    assert!(
        left.is_empty() && of_kind(&objects, "MutatingWebhookConfiguration").is_empty(),
        "injector.enabled=false should leave nothing, found {left:?}"
    );
    named(&objects, "Deployment", "-operator");
}

#[test]
fn a_single_replica_has_no_disruption_budget_that_would_block_a_drain() {
    let one = template(&helm::chart(), &["operator.replicas=1", "injector.replicas=1"]).unwrap();
    assert!(
        of_kind(&one, "PodDisruptionBudget").is_empty(),
        "with one replica a budget would hold up every drain"
    );
    let more = template(&helm::chart(), &[]).unwrap();
    assert_eq!(
        of_kind(&more, "PodDisruptionBudget").len(),
        2,
        "with several replicas each component should have one"
    );
}
