//! `docs/security.md` lists every right and every policy of the chart, and none that is not there.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use vaultkeeper_tests::helm;

use super::{of_kind, template_as};

/// The release of the README.
const SYSTEM: &str = "vaultkeeper-system";
const RELEASE: &str = "vaultkeeper";

fn guide() -> String {
    fs::read_to_string(helm::repository().join("docs/security.md")).expect("there is docs/security.md")
}

fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The first two cells of a rule's line.
fn cells(rule: &Value) -> (String, String) {
    let mut resources = Vec::new();
    for group in words(&rule["apiGroups"]) {
        for resource in words(&rule["resources"]) {
            let slash = if group.is_empty() { "" } else { "/" };
            resources.push(format!("`{group}{slash}{resource}`"));
        }
    }
    let names = words(&rule["resourceNames"]);
    let named: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let what = match named.as_slice() {
        [] => resources.join(", "),
        names => format!("{} named {}", resources.join(", "), names.join(", ")),
    };
    (what, words(&rule["verbs"]).join(", "))
}

/// The lines of the tables below the heading that holds `heading`, each as its cells.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let start = text
        .find(&format!("# {heading}\n"))
        .unwrap_or_else(|| panic!("docs/security.md should have the heading {heading}"));
    let section = &text[start + 2..];
    let section = section.split("\n#").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn every_right_of_the_chart_is_justified_in_the_guide_and_no_other() {
    let text = guide();
    let objects = template_as(RELEASE, SYSTEM, &helm::chart(), &[]).unwrap();
    let mut roles = 0;
    for kind in ["ClusterRole", "Role"] {
        for role in of_kind(&objects, kind) {
            roles += 1;
            let heading = format!(
                "{kind} `{}`",
                role["metadata"]["name"].as_str().unwrap_or_default()
            );
            let rules = role["rules"].as_array().expect("a role has rules");
            let granted: BTreeSet<_> = rules.iter().map(cells).collect();
            let mut justified = BTreeSet::new();
            for line in table(&text, &heading) {
                let [what, verbs, why] = line.as_slice() else {
                    panic!("a line below {heading} should have three cells: {line:?}");
                };
                assert!(why.len() > 10, "{heading}, {what}: there should be a reason");
                justified.insert((what.clone(), verbs.clone()));
            }
            assert_eq!(
                justified, granted,
                "below {heading}: listed on the left, granted on the right"
            );
        }
    }
    assert_eq!(
        text.matches("\n### ").count(),
        roles,
        "every heading of the third level should be a role of the chart"
    );
}

#[test]
fn every_admission_policy_of_the_chart_is_in_the_guide_and_no_other() {
    let objects = template_as(RELEASE, SYSTEM, &helm::chart(), &[]).unwrap();
    let mut refused = BTreeSet::new();
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        let name = policy["metadata"]["name"].as_str().unwrap_or_default();
        let short = name.strip_prefix("vaultkeeper-system-vaultkeeper-");
        let short = short.expect("a policy's name begins with that of the release");
        for validation in policy["spec"]["validations"]
            .as_array()
            .expect("a policy validates")
        {
            let message = validation["message"].as_str().expect("a refusal has a message");
            refused.insert((format!("`{short}`"), message.to_owned()));
        }
    }
    let listed: BTreeSet<_> = table(&guide(), "What the admission policies add")
        .into_iter()
        .map(|line| match line.as_slice() {
            [policy, message, closes] if !closes.is_empty() => (policy.clone(), message.replace('`', "")),
            other => panic!("a line about a policy should have three cells: {other:?}"),
        })
        .collect();
    assert_eq!(listed, refused, "listed on the left, in the chart on the right");
}

#[test]
fn every_policy_is_bound_refuses_what_it_cannot_judge_and_names_one_account_of_ours() {
    let objects = template_as(RELEASE, SYSTEM, &helm::chart(), &[]).unwrap();
    let bindings = of_kind(&objects, "ValidatingAdmissionPolicyBinding");
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    assert!(!policies.is_empty(), "there should be policies");
    assert_eq!(bindings.len(), policies.len(), "each policy has one binding");
    for policy in policies {
        let name = &policy["metadata"]["name"];
        let bound = bindings
            .iter()
            .find(|binding| binding["spec"]["policyName"] == *name);
        let bound = bound.unwrap_or_else(|| panic!("{name} should be bound"));
        assert_eq!(words(&bound["spec"]["validationActions"]), ["Deny"], "{name}");
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let condition = policy["spec"]["matchConditions"][0]["expression"]
            .as_str()
            .unwrap_or_default();
        let account = ["operator", "injector"].into_iter().find(|component| {
            condition.ends_with(&format!(
                "== 'system:serviceaccount:{SYSTEM}:vaultkeeper-{component}'"
            ))
        });
        assert!(
            account.is_some(),
            "{name} should judge one of our ServiceAccounts only: {condition}"
        );
    }
}

#[test]
fn without_admission_policies_none_is_rendered() {
    let objects = template_as(
        RELEASE,
        SYSTEM,
        &helm::chart(),
        &["admissionPolicies.enabled=false"],
    )
    .unwrap();
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert!(of_kind(&objects, kind).is_empty(), "there should be no {kind}");
    }
}
