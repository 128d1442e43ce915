//! The Helm chart: what it renders, and what it does to a real API server.

mod confined;
mod installed;
mod monitoring;
mod rbac;
mod render;
mod security_guide;
mod settings;

use std::path::Path;
use std::process::Command;

use serde::Deserialize as _;
use serde_json::Value;
use tempfile::TempDir;
use vaultkeeper_tests::helm;

/// The namespace of the release in these tests. Other than any default, so that a hard-coded one is found.
pub(crate) const NAMESPACE: &str = "keeper-system";
/// The release's name.
const RELEASE: &str = "keeper";

/// The Kubernetes version of the testbed: without a server to ask, Helm assumes an old one.
fn kubernetes_version() -> &'static str {
    include_str!("../../servers/kubernetes/go.mod")
        .split_once("k8s.io/kubernetes v")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .expect("tests/servers/kubernetes/go.mod names the version of Kubernetes")
}

/// A helm command with folders of its own, that goes with the returned folder.
fn helm_command(arguments: &[&str]) -> (TempDir, Command) {
    let home = TempDir::new().unwrap();
    let mut command = helm::command(home.path()).unwrap();
    command.args(arguments);
    (home, command)
}

/// `helm template` of a chart: its objects, or Helm's complaint.
pub(crate) fn template(chart: &Path, sets: &[&str]) -> anyhow::Result<Vec<Value>> {
    template_as(RELEASE, NAMESPACE, chart, sets)
}

/// `helm template` of a chart for a release of this name in this namespace.
fn template_as(release: &str, namespace: &str, chart: &Path, sets: &[&str]) -> anyhow::Result<Vec<Value>> {
    let (_home, mut command) = helm_command(&["template", release, "--namespace", namespace]);
    command.args(["--kube-version", kubernetes_version()]).arg(chart);
    for set in sets {
        command.args(["--set-json", set]);
    }
    Ok(documents(&helm::run(&mut command)?))
}

/// The objects of a YAML text with several documents.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("what Helm printed should be YAML"))
        .filter(|object| !object.is_null())
        .collect()
}

/// The objects of one kind.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The object of this kind whose name ends so.
pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, end: &str) -> &'a Value {
    of_kind(objects, kind)
        .into_iter()
        .find(|object| {
            object["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(end))
        })
        .unwrap_or_else(|| panic!("the chart should render a {kind} named …{end}"))
}
