//! What every alert has. Whether it fires when it should is tried with promtool (tests/tests/vault/alerts.rs).

use super::*;
use crate::cluster::validate::{tests::cluster, validate};

fn rules(extra: &str) -> Vec<Value> {
    let validated = validate(&cluster(extra)).unwrap();
    let alerts = validated.monitoring.as_ref().unwrap().alerts.as_ref().unwrap();
    group(&validated, alerts)["rules"].as_array().unwrap().clone()
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() {
    for rule in rules("") {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        assert_eq!(rule["labels"]["vaultcluster"], "main", "{name}");
        assert_eq!(rule["labels"]["namespace"], "vault", "{name}");
        let annotation = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        assert!(
            annotation("summary").starts_with("VaultCluster vault/main: "),
            "{name}"
        );
        assert!(
            annotation("description").contains("kubectl describe vc main -n vault"),
            "{name}"
        );
        assert_eq!(
            annotation("runbook_url"),
            format!("{RUNBOOKS}#{}", name.to_lowercase())
        );
    }
}

#[test]
fn the_guide_has_every_alert_and_no_other() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/alerts.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### Vault"))
        .collect();
    let of_cluster: Vec<&str> = documented
        .iter()
        .copied()
        .filter(|name| !name.starts_with("keeper"))
        .collect();
    let rules = rules("");
    let named: Vec<&str> = rules
        .iter()
        .filter_map(|rule| rule["alert"].as_str()?.strip_prefix("Vault"))
        .collect();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(
        sorted(of_cluster.iter().map(|n| format!("Vault{n}")).collect()),
        sorted(named.iter().map(|n| format!("Vault{n}")).collect()),
        "docs/alerts.md should have a heading ### for each alert"
    );
}

#[test]
fn two_clusters_of_one_prometheus_do_not_hear_each_other() {
    for rule in rules("") {
        let expression = rule["expr"].as_str().unwrap();
        let series = expression.matches('{').count();
        let of_members = expression.matches("job=\"vault/main\"").count();
        let of_operator = expression.matches("namespace=\"vault\", ").count();
        assert!(series > 0 && series == of_members + of_operator, "{expression}");
    }
}

#[test]
fn labels_of_the_user_reach_each_alert_and_change_none_of_ours() {
    for rule in rules("  monitoring: {alerts: {labels: {team: platform, severity: none}}}") {
        assert_eq!(rule["labels"]["team"], "platform", "{rule}");
        assert_ne!(rule["labels"]["severity"], "none", "{rule}");
    }
}

#[test]
fn thresholds_of_the_spec_are_those_of_the_rules() {
    let rules = rules(
        "  monitoring: {alerts: {tokenCreationFactor: 9, tokenCreationMinimum: 77, maxLeases: 5000, maxBackupAge: 1h}}",
    );
    let expression = |name: &str| {
        let rule = rules.iter().find(|rule| rule["alert"] == name).unwrap();
        rule["expr"].as_str().unwrap().to_owned()
    };
    let tokens = expression("VaultUnusualTokenCreation");
    assert!(tokens.contains("> 77)") && tokens.contains("> 9 * "), "{tokens}");
    let leases = expression("VaultLeasesExploding");
    assert!(
        leases.contains("> 5000)") && leases.contains("> 500)"),
        "{leases}"
    );
    assert!(expression("VaultBackupTooOld").ends_with("> 3600"));
}
