//! Before a cluster that is not ours is changed: nobody else's things are touched, and a person has said yes.

use std::io::{IsTerminal as _, stdin};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::place::{MARK, Place};
use super::{RELEASE, SHOP_NAMESPACE, SYSTEM_NAMESPACE, VAULT_NAMESPACE};
use crate::helm;
use crate::progress::say;

/// The label in examples/quickstart.yaml that tells its namespaces from others of the same name.
const QUICKSTART_LABEL: &str = "vaultkeeper.dev/example";

/// Names the user's cluster and what is going to happen to it, and goes on only after a `yes`.
pub(super) fn to_install(place: &Place) -> anyhow::Result<()> {
    refuse_what_is_not_the_demos(place)?;
    ask(
        place,
        &format!(
            "It installs or upgrades the Helm release {RELEASE} in namespace {SYSTEM_NAMESPACE}, with its\n\
             CustomResourceDefinitions and webhook, and applies examples/quickstart.yaml: namespaces\n\
             {VAULT_NAMESPACE} and {SHOP_NAMESPACE}."
        ),
    )
}

/// Goes on only after a `yes` typed by a person.
pub(super) fn ask(place: &Place, what: &str) -> anyhow::Result<()> {
    let Place::Current { context, server } = place else {
        return Ok(());
    };
    ensure!(
        stdin().is_terminal(),
        "CLUSTER=current asks before it changes the cluster {context} ({server}), and nobody is there to answer"
    );
    say(&format!(
        "This changes the cluster of context {context} at {server}.\n{what}"
    ));
    ask_for_yes()
}

/// An error if the next line is anything else than `yes`.
pub(super) fn ask_for_yes() -> anyhow::Result<()> {
    say("Type yes to go on:");
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("cannot read the answer")?;
    ensure!(answer.trim() == "yes", "nothing was changed");
    Ok(())
}

/// The quickstart's namespaces that are there. An error if one of their names, or that of the Helm release, is taken:
/// it may hold somebody's Vault, or be the operator of all Vaults of the cluster.
pub(super) fn refuse_what_is_not_the_demos(place: &Place) -> anyhow::Result<Vec<&'static str>> {
    refuse_foreign_release(place)?;
    let mut ours = Vec::new();
    for name in [VAULT_NAMESPACE, SHOP_NAMESPACE] {
        let text = helm::run(place.kubectl()?.args([
            "get",
            "namespace",
            name,
            "--ignore-not-found",
            "--output=json",
        ]))?;
        if is_foreign_namespace(&text)? {
            bail!(
                "the cluster has a namespace {name} that is not the quickstart's (it lacks the label {QUICKSTART_LABEL}): \
                 nothing was changed"
            );
        }
        if !text.trim().is_empty() {
            ours.push(name);
        }
    }
    Ok(ours)
}

fn refuse_foreign_release(place: &Place) -> anyhow::Result<()> {
    let of_release = ["--namespace", SYSTEM_NAMESPACE, "--output=json"];
    let mut list = place.helm()?;
    list.args(["list", "--all", &format!("--filter=^{RELEASE}$")]);
    let releases: Value =
        serde_json::from_str(&helm::run(list.args(of_release))?).context("helm list printed no JSON")?;
    if releases.as_array().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let mut get = place.helm()?;
    get.args(["get", "values", RELEASE]);
    let values: Value =
        serde_json::from_str(&helm::run(get.args(of_release))?).context("helm get values printed no JSON")?;
    ensure!(
        is_the_demos_release(&values),
        "the cluster has a Helm release {RELEASE} in namespace {SYSTEM_NAMESPACE} that the demo did not install (its values \
         lack operator.podAnnotations.{MARK}): nothing was changed. The demo needs a cluster without Vaultkeeper"
    );
    Ok(())
}

/// Whether the values that a release was given are the demo's. `null`: it was given none.
fn is_the_demos_release(values: &Value) -> bool {
    values["operator"]["podAnnotations"][MARK].is_string()
}

/// Whether kubectl's answer shows a namespace without the quickstart's label. Empty: there is none.
fn is_foreign_namespace(answer: &str) -> anyhow::Result<bool> {
    if answer.trim().is_empty() {
        return Ok(false);
    }
    let namespace: Value = serde_json::from_str(answer).context("kubectl printed no JSON")?;
    Ok(namespace["metadata"]["labels"][QUICKSTART_LABEL] != "quickstart")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_quickstarts_own_namespaces_are_used_again() {
        for (answer, foreign) in [
            ("", false),
            (
                r#"{"metadata":{"name":"vault","labels":{"vaultkeeper.dev/example":"quickstart"}}}"#,
                false,
            ),
            (r#"{"metadata":{"name":"vault","labels":{"team":"a"}}}"#, true),
            (r#"{"metadata":{"name":"vault"}}"#, true),
        ] {
            assert_eq!(
                is_foreign_namespace(answer).unwrap(),
                foreign,
                "the answer {answer:?}"
            );
        }
    }

    #[test]
    fn only_a_release_with_the_demos_own_mark_is_the_demos() {
        for (values, ours) in [
            (
                json!({"operator": {"podAnnotations": {"testbed/image": "sha256:a"}}}),
                true,
            ),
            (json!({"operator": {"podAnnotations": {"team": "a"}}}), false),
            (json!({"image": {"registry": "registry.example.com"}}), false),
            (Value::Null, false),
        ] {
            assert_eq!(is_the_demos_release(&values), ours, "the values {values}");
        }
    }
}
