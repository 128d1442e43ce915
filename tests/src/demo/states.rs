//! Waiting for conditions of objects, and saying meanwhile what the objects say of themselves.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::place::Place;
use super::{SHOP_NAMESPACE, SYSTEM_NAMESPACE, VAULT_NAMESPACE};
use crate::helm;
use crate::progress::{Step, say};
use crate::wait;

/// Objects that are to get a condition.
#[derive(Clone, Copy)]
pub(super) struct Objects<'a> {
    /// Their namespace.
    pub(super) namespace: &'a str,
    /// `kind/name` of each.
    pub(super) names: &'a [&'a str],
    /// The condition's type.
    pub(super) condition: &'a str,
}

/// Waits until the condition of all objects is true. Every change of what they say is shown.
pub(super) fn wait_for(
    place: &Place,
    objects: Objects<'_>,
    deadline: Duration,
    step: &mut Step,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut last = String::new();
    loop {
        // kubectl watches for a moment: it comes back as soon as the condition is there.
        let waited = helm::run(
            place
                .kubectl()?
                .args(["wait", "--namespace", objects.namespace, "--timeout=2s"])
                .arg(format!("--for=condition={}", objects.condition))
                .args(objects.names),
        );
        let Err(error) = waited else {
            return Ok(());
        };
        let state = observe(place, objects).unwrap_or_else(|_| format!("    {error:#}"));
        if state == last {
            step.tick();
        } else {
            say(&state);
            last = state;
        }
        if start.elapsed() >= deadline {
            bail!(
                "waited {} s in vain; last seen:\n{last}",
                start.elapsed().as_secs()
            );
        }
        wait::pause();
    }
}

fn observe(place: &Place, objects: Objects<'_>) -> anyhow::Result<String> {
    let text = helm::run(
        place
            .kubectl()?
            .args(["get", "--namespace", objects.namespace, "--output=json"])
            .args(objects.names),
    )?;
    let seen: Value = serde_json::from_str(&text).context("kubectl printed something else than JSON")?;
    Ok(describe(&seen, objects.condition))
}

/// One line per object: the condition, and its reason and message.
fn describe(seen: &Value, condition: &str) -> String {
    let single = std::slice::from_ref(seen);
    let all = seen["items"].as_array().map_or(single, Vec::as_slice);
    let lines: Vec<String> = all.iter().map(|object| describe_one(object, condition)).collect();
    lines.join("\n")
}

fn describe_one(object: &Value, condition: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
    let found = object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == condition));
    match found {
        Some(found) => format!(
            "    {name}: {condition}={} {}: {}",
            text(&found["status"]),
            text(&found["reason"]),
            text(&found["message"])
        ),
        None => format!("    {name}: {condition} is not known yet"),
    }
}

/// Shows what a person would look at first after a failure. Errors of kubectl are shown, too.
pub(super) fn show(place: &Place) {
    say(&report(|question| helm::run(place.kubectl()?.args(question))));
}

/// The states of all objects, and the last lines of every program that the demo waits for.
fn report(ask: impl Fn(&[&str]) -> anyhow::Result<String>) -> String {
    let logs = ["logs", "--tail=20", "--prefix", "--namespace"];
    let with = |rest: &[&'static str]| [&logs[..], rest].concat();
    let questions = [
        vec!["get", "vaultclusters,vaultroles,pods", "--all-namespaces"],
        vec!["describe", "vaultclusters", "--namespace", VAULT_NAMESPACE],
        vec![
            "get",
            "events",
            "--all-namespaces",
            "--field-selector=type=Warning",
        ],
        with(&[
            SYSTEM_NAMESPACE,
            "--selector=app.kubernetes.io/component=operator",
        ]),
        with(&[
            SYSTEM_NAMESPACE,
            "--selector=app.kubernetes.io/component=injector",
        ]),
        with(&[VAULT_NAMESPACE, "statefulset/main", "--all-pods"]),
        with(&[SHOP_NAMESPACE, "deployment/app", "--container=vault-agent"]),
    ];
    let answers = questions.iter().map(|question| {
        let answer = ask(question).unwrap_or_else(|error| format!("{error:#}"));
        format!("\n$ kubectl {}\n{}", question.join(" "), answer.trim_end())
    });
    answers.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_object_is_shown_with_the_reason_that_it_gives() {
        let seen = json!({"kind": "List", "items": [
            {"kind": "VaultRole", "metadata": {"name": "app"}, "status": {"conditions": [
                {"type": "Accepted", "status": "True", "reason": "Allowed", "message": "fine"},
                {"type": "Ready", "status": "False", "reason": "VaultSealed", "message": "waiting"},
            ]}},
            {"kind": "VaultRole", "metadata": {"name": "new"}},
        ]});
        assert_eq!(
            describe(&seen, "Ready"),
            "    VaultRole app: Ready=False VaultSealed: waiting\n    VaultRole new: Ready is not known yet"
        );
    }

    #[test]
    fn a_single_object_is_shown_as_well() {
        let seen = json!({"kind": "VaultCluster", "metadata": {"name": "main"}, "status": {"conditions": [
            {"type": "Available", "status": "Unknown", "reason": "Starting", "message": "0/3"},
        ]}});
        assert_eq!(
            describe(&seen, "Available"),
            "    VaultCluster main: Available=Unknown Starting: 0/3"
        );
    }

    #[test]
    fn a_failure_shows_the_end_of_every_log_even_if_one_cannot_be_read() {
        let report = report(|question| {
            anyhow::ensure!(!question.contains(&SHOP_NAMESPACE), "no pod of the app yet");
            Ok(format!(
                "the answer to {}",
                question.last().copied().unwrap_or_default()
            ))
        });
        for wanted in [
            "$ kubectl get vaultclusters,vaultroles,pods --all-namespaces\nthe answer to",
            "the answer to --selector=app.kubernetes.io/component=operator",
            "the answer to --selector=app.kubernetes.io/component=injector",
            "--namespace vault statefulset/main --all-pods\nthe answer to",
            "--namespace shop deployment/app --container=vault-agent\nno pod of the app yet",
        ] {
            assert!(
                report.contains(wanted),
                "the report should hold {wanted:?}, it is:\n{report}"
            );
        }
        assert_eq!(
            report.matches("logs --tail=20").count(),
            4,
            "the last lines of each log, not all of it:\n{report}"
        );
    }
}
