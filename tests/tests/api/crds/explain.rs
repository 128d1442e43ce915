//! What `kubectl explain` says, of every field.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use vaultkeeper_tests::wait;

use super::{client, kubectl, kubectl_as_it_is};

/// The schema of a kind as the API server publishes it: what `kubectl explain` reads.
async fn published(kind: &str) -> Value {
    let client = client().await;
    let path = "/openapi/v3/apis/vaultkeeper.dev/v1alpha1";
    wait::until_async(
        "the API server to publish the schema",
        Duration::from_secs(90),
        async || {
            let request = http::Request::get(path).body(Vec::new())?;
            let answer: Value = client.request(request).await?;
            let schemas = answer["components"]["schemas"].as_object();
            let schemas = schemas.context("no schemas are published yet")?;
            let wanted = format!("dev.vaultkeeper.v1alpha1.{kind}");
            schemas
                .get(&wanted)
                .cloned()
                .context("the kind is not published yet")
        },
    )
    .await
    .unwrap()
}

/// Every field below a schema: its path, and what is said of it.
fn fields(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let said = child["description"].as_str().unwrap_or_default();
        found.push((path.clone(), said.to_owned()));
        fields(child, &path, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            fields(&schema[inner], path, found);
        }
    }
}

fn of_kind(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        let said = schema["properties"][part]["description"].as_str();
        found.push((part.to_owned(), said.unwrap_or_default().to_owned()));
        fields(&schema["properties"][part], part, &mut found);
    }
    found
}

/// The fields that `kubectl explain --recursive` lists, by their indentation.
fn listed(text: &str) -> BTreeSet<String> {
    let mut path: Vec<String> = Vec::new();
    let mut found = BTreeSet::new();
    for line in text.lines().skip_while(|line| !line.starts_with("FIELDS")) {
        let Some((name, _)) = line.split_once("\t<") else {
            continue;
        };
        let depth = (name.len() - name.trim_start().len()) / 2;
        path.truncate(depth.saturating_sub(1));
        path.push(name.trim().to_owned());
        found.insert(path.join("."));
    }
    found
}

#[tokio::test]
async fn kubectl_explain_has_words_for_every_field() {
    for (kind, short) in [("VaultCluster", "vc"), ("VaultRole", "vr")] {
        let fields = of_kind(&published(kind).await);
        assert!(fields.len() > 20, "{kind} has more fields than {fields:?}");
        let silent: Vec<&String> = fields
            .iter()
            .filter(|(_, said)| said.len() < 5)
            .map(|(path, _)| path)
            .collect();
        assert!(silent.is_empty(), "nothing is said of these fields: {silent:?}");

        let text = kubectl_as_it_is(&["explain", short, "--recursive"]).await;
        let listed = listed(&text);
        let missing: Vec<&String> = fields
            .iter()
            .map(|(path, _)| path)
            .filter(|path| !listed.contains(*path))
            .collect();
        assert!(
            missing.is_empty(),
            "kubectl explain {short} --recursive should list {missing:?}, it says:\n{text}"
        );
    }
}

#[tokio::test]
async fn kubectl_explain_reaches_the_leaves() {
    for (field, wanted) in [
        ("vc.spec.readiness.waivers.rule", "NoRootToken"),
        ("vc.spec.readiness.waivers.reason", "Why it does not apply"),
        ("vc.status.readiness", "7/10"),
        ("vc.status.readinessRules.message", "what to do"),
        ("vc.spec.configuration.audit.file.path", "<string>"),
        ("vc.spec.seal.transit.address", "<string>"),
        ("vr.status.conditions.reason", "<string>"),
    ] {
        let said = kubectl(&["explain", field]).await.replace('\n', " ");
        let description = said.split("DESCRIPTION:").nth(1).unwrap_or_default();
        assert!(
            said.contains(wanted) && description.trim().len() > 20,
            "kubectl explain {field} should say {wanted:?}, it says:\n{said}"
        );
    }
}
