//! Each alert fires for what it is meant for, and its neighbour is quiet: tried with Prometheus' own promtool.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_operator::cluster::build::monitoring::prometheus_rule;
use vaultkeeper_operator::cluster::validate::validate;
use vaultkeeper_tests::helm;
use vaultkeeper_tests::servers::{self, Server};

use crate::chart::{named, template};

/// Series with their values, minute by minute.
type Input = &'static [(&'static str, &'static str)];

struct Case {
    alert: &'static str,
    /// When it is looked at.
    at: &'static str,
    /// The labels that it has then, beside its name.
    fires: &'static str,
    series: Input,
}

/// Labels of a critical alert of the cluster.
const CRITICAL: &str = r#"namespace="vault", severity="critical", vaultcluster="main""#;
const WARNING: &str = r#"namespace="vault", severity="warning", vaultcluster="main""#;
/// Nothing fires.
const QUIET: &str = "";

fn case(alert: &'static str, at: &'static str, fires: &'static str, series: Input) -> Case {
    Case {
        alert,
        at,
        fires,
        series,
    }
}

/// A name of the table in the form of Prometheus: `M0:` is a series of the member main-0, `O:` one of the operator about the
/// cluster, `X:` one of the operator about another cluster.
fn series(name: &str) -> String {
    let Some((whose, metric)) = name.split_once(':') else {
        return name.to_owned();
    };
    match whose {
        "O" => format!("vaultkeeper_cluster_{metric}{{namespace=\"vault\", cluster=\"main\"}}"),
        "X" => format!("vaultkeeper_cluster_{metric}{{namespace=\"vault\", cluster=\"other\"}}"),
        member => format!(
            "{metric}{{job=\"vault/main\", namespace=\"vault\", pod=\"main-{}\"}}",
            &member[1..]
        ),
    }
}

fn of_a_cluster() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |alert, at, fires, series| cases.push(case(alert, at, fires, series));
    add(
        "VaultSealed",
        "5m",
        CRITICAL,
        &[
            ("M0:vault_core_unsealed", "1x2 0x9"),
            ("M1:vault_core_unsealed", "1x10"),
        ],
    );
    add("VaultSealed", "5m", CRITICAL, &[("O:members_sealed", "1x10")]);
    add(
        "VaultSealed",
        "3m",
        QUIET,
        &[("M0:vault_core_unsealed", "1x2 0x9")],
    );
    add(
        "VaultSealed",
        "5m",
        QUIET,
        &[
            ("M0:vault_core_unsealed", "1x10"),
            ("O:members_sealed", "0x10"),
            ("X:members_sealed", "1x10"),
        ],
    );
    add(
        "VaultNoActiveMember",
        "5m",
        CRITICAL,
        &[("M0:vault_core_active", "0x10"), ("M1:vault_core_active", "0x10")],
    );
    add("VaultNoActiveMember", "5m", CRITICAL, &[("O:available", "0x10")]);
    add(
        "VaultNoActiveMember",
        "5m",
        QUIET,
        &[
            ("M0:vault_core_active", "1x10"),
            ("M1:vault_core_active", "0x10"),
            ("O:available", "1x10"),
        ],
    );
    add(
        "VaultMembersNotReady",
        "20m",
        WARNING,
        &[("O:members_ready", "2x30"), ("O:members_wanted", "3x30")],
    );
    add(
        "VaultMembersNotReady",
        "5m",
        QUIET,
        &[("O:members_ready", "2x30"), ("O:members_wanted", "3x30")],
    );
    add(
        "VaultMembersNotReady",
        "20m",
        QUIET,
        &[("O:members_ready", "3x30"), ("O:members_wanted", "3x30")],
    );
    add(
        "VaultFewerVotersThanExpected",
        "20m",
        WARNING,
        &[("O:voters", "2x30"), ("O:members_wanted", "3x30")],
    );
    add(
        "VaultFewerVotersThanExpected",
        "20m",
        QUIET,
        &[("O:voters", "3x30"), ("O:members_wanted", "3x30")],
    );
    // Of Consul nobody is told to vote.
    add(
        "VaultFewerVotersThanExpected",
        "20m",
        QUIET,
        &[("O:members_wanted", "3x30")],
    );
    add(
        "VaultQuorumAtRisk",
        "10m",
        CRITICAL,
        &[("O:failure_tolerance", "0x20"), ("O:members_wanted", "3x20")],
    );
    add(
        "VaultQuorumAtRisk",
        "10m",
        QUIET,
        &[("O:failure_tolerance", "1x20"), ("O:members_wanted", "3x20")],
    );
    add(
        "VaultQuorumAtRisk",
        "10m",
        QUIET,
        &[("O:failure_tolerance", "0x20"), ("O:members_wanted", "1x20")],
    );
    add("VaultNotScraped", "20m", WARNING, &[("M0:up", "0x30")]);
    add("VaultNotScraped", "20m", WARNING, &[]);
    add(
        "VaultNotScraped",
        "20m",
        QUIET,
        &[("M0:up", "0x30"), ("M1:up", "1x30")],
    );
    add(
        "VaultUnusualTokenCreation",
        "1525m",
        WARNING,
        &[("M0:vault_token_creation", "0+10x1500 15600+600x40")],
    );
    add(
        "VaultUnusualTokenCreation",
        "1525m",
        QUIET,
        &[("M0:vault_token_creation", "0+600x1540")],
    );
    add(
        "VaultUnusualTokenCreation",
        "1525m",
        QUIET,
        &[("M0:vault_token_creation", "0+1x1500 1520+20x40")],
    );
    add(
        "VaultRootTokenAlive",
        "20m",
        WARNING,
        &[("O:root_tokens", "1x30")],
    );
    add("VaultRootTokenAlive", "10m", QUIET, &[("O:root_tokens", "1x30")]);
    add(
        "VaultRootTokenAlive",
        "20m",
        QUIET,
        &[("O:root_tokens", "0x30"), ("X:root_tokens", "1x30")],
    );
    add("VaultSealLatched", "1m", CRITICAL, &[("O:seal_latched", "1x10")]);
    add("VaultSealLatched", "1m", QUIET, &[("O:seal_latched", "0x10")]);
    add(
        "VaultAuditDeviceFailing",
        "8m",
        CRITICAL,
        &[("M0:vault_audit_log_request_failure", "0x5 1x5")],
    );
    add(
        "VaultAuditDeviceFailing",
        "8m",
        CRITICAL,
        &[("M0:vault_audit_log_response_failure", "0x5 1x5")],
    );
    add(
        "VaultAuditDeviceFailing",
        "8m",
        QUIET,
        &[
            ("M0:vault_audit_log_request_failure", "1x12"),
            ("M0:vault_audit_log_response_failure", "0x12"),
        ],
    );
    add(
        "VaultLeasesExploding",
        "20m",
        WARNING,
        &[
            ("M0:vault_expire_num_leases", "100001x30"),
            ("M0:vault_core_active", "1x30"),
        ],
    );
    add(
        "VaultLeasesExploding",
        "20m",
        QUIET,
        &[
            ("M0:vault_expire_num_leases", "100000x30"),
            ("M0:vault_core_active", "1x30"),
        ],
    );
    // What a former active member last said.
    add(
        "VaultLeasesExploding",
        "20m",
        QUIET,
        &[
            ("M0:vault_expire_num_leases", "200000x30"),
            ("M0:vault_core_active", "0x30"),
            ("M1:vault_expire_num_leases", "9x30"),
            ("M1:vault_core_active", "1x30"),
        ],
    );
    add(
        "VaultLeasesExploding",
        "1475m",
        WARNING,
        &[
            ("M0:vault_expire_num_leases", "6000x1439 20000x60"),
            ("M0:vault_core_active", "1x1500"),
        ],
    );
    add(
        "VaultLeasesExploding",
        "1475m",
        QUIET,
        &[
            ("M0:vault_expire_num_leases", "15000x1439 20000x60"),
            ("M0:vault_core_active", "1x1500"),
        ],
    );
    let life = |end| -> Input {
        match end {
            100 => &[
                ("O:certificate_not_before_timestamp_seconds", "0x1700"),
                ("O:certificate_not_after_timestamp_seconds", "100000x1700"),
            ],
            _ => &[
                ("O:certificate_not_before_timestamp_seconds", "0x1700"),
                ("O:certificate_not_after_timestamp_seconds", "120000x1700"),
            ],
        }
    };
    // 78000 of 100000 seconds, then of 120000; later 96000 of them.
    add("VaultCertificateNotRenewed", "1300m", WARNING, life(100));
    add("VaultCertificateNotRenewed", "1300m", QUIET, life(120));
    add("VaultCertificateNearItsEnd", "1600m", CRITICAL, life(100));
    add("VaultCertificateNearItsEnd", "1600m", QUIET, life(120));
    add(
        "VaultBackupTooOld",
        "1570m",
        WARNING,
        &[(
            r#"vaultkeeper_backup_last_success_timestamp_seconds{namespace="vault", name="main"}"#,
            "0x1600",
        )],
    );
    add(
        "VaultBackupTooOld",
        "1570m",
        QUIET,
        &[(
            r#"vaultkeeper_backup_last_success_timestamp_seconds{namespace="vault", name="main"}"#,
            "60000x1600",
        )],
    );
    add(
        "VaultRotationsOverdue",
        "40m",
        WARNING,
        &[("O:rotations_overdue", "2x60")],
    );
    add(
        "VaultRotationsOverdue",
        "40m",
        QUIET,
        &[("O:rotations_overdue", "0x60")],
    );
    add(
        "VaultClusterNotReconciled",
        "20m",
        WARNING,
        &[("O:configured", "0x30")],
    );
    add(
        "VaultClusterNotReconciled",
        "20m",
        QUIET,
        &[("O:configured", "1x30"), ("X:configured", "0x30")],
    );
    cases
}

fn of_the_chart() -> Vec<Case> {
    const LEADER: &str = r#"vaultkeeper_leader{job="keeper-system/keeper-operator", pod="a"}"#;
    const OTHER: &str = r#"vaultkeeper_leader{job="keeper-system/keeper-operator", pod="b"}"#;
    const FAILED: &str = r#"vaultkeeper_reconciles_total{job="keeper-system/keeper-operator", kind="VaultRole", result="error"}"#;
    const WELL: &str = r#"vaultkeeper_reconciles_total{job="keeper-system/keeper-operator", kind="VaultRole", result="success"}"#;
    const LAST: &str = r#"vaultkeeper_last_success_timestamp_seconds{job="keeper-system/keeper-operator"}"#;
    const SOME: &str = r#"vaultkeeper_cluster_members_wanted{job="keeper-system/keeper-operator", namespace="vault", cluster="main"}"#;
    const MALFORMED: &str =
        r#"vaultkeeper_malformed_objects_total{job="keeper-system/keeper-operator", kind="VaultRole"}"#;
    const UP: &str = r#"up{job="keeper-system/keeper-injector"}"#;
    const INVALID: &str =
        r#"vaultkeeper_injector_admissions_total{job="keeper-system/keeper-injector", outcome="invalid"}"#;
    const ENDS: &str = r#"vaultkeeper_injector_certificate_expiry_timestamp_seconds{job="keeper-system/keeper-injector", certificate="leaf"}"#;
    const OF_ROLES: &str = r#"kind="VaultRole", severity="warning", team="platform""#;
    const ALONE: &str = r#"severity="critical", team="platform""#;
    vec![
        case(
            "VaultkeeperOperatorDown",
            "10m",
            ALONE,
            &[(LEADER, "0x20"), (OTHER, "0x20")],
        ),
        case(
            "VaultkeeperOperatorDown",
            "10m",
            QUIET,
            &[(LEADER, "0x20"), (OTHER, "1x20")],
        ),
        case(
            "VaultkeeperReconcilesFail",
            "50m",
            OF_ROLES,
            &[(FAILED, "0+6x60"), (WELL, "0+4x60")],
        ),
        case(
            "VaultkeeperReconcilesFail",
            "50m",
            QUIET,
            &[(FAILED, "0+4x60"), (WELL, "0+6x60")],
        ),
        case(
            "VaultkeeperReconcilesStopped",
            "50m",
            ALONE,
            &[(LAST, "60x60"), (SOME, "3x60")],
        ),
        case(
            "VaultkeeperReconcilesStopped",
            "50m",
            QUIET,
            &[(LAST, "1200x60"), (SOME, "3x60")],
        ),
        // There is nothing to do.
        case("VaultkeeperReconcilesStopped", "50m", QUIET, &[(LAST, "60x60")]),
        case(
            "VaultkeeperReconcilesStopped",
            "50m",
            QUIET,
            &[(LAST, "0x60"), (SOME, "3x60")],
        ),
        case(
            "VaultkeeperMalformedObjects",
            "9m",
            OF_ROLES,
            &[(MALFORMED, "0x5 1x5")],
        ),
        case("VaultkeeperMalformedObjects", "9m", QUIET, &[(MALFORMED, "1x10")]),
        case("VaultkeeperInjectorDown", "10m", ALONE, &[(UP, "0x20")]),
        case("VaultkeeperInjectorDown", "10m", QUIET, &[(UP, "1x20")]),
        case(
            "VaultkeeperInjectorInvalidRequests",
            "9m",
            r#"severity="warning", team="platform""#,
            &[(INVALID, "0x5 1x5")],
        ),
        case(
            "VaultkeeperInjectorInvalidRequests",
            "9m",
            QUIET,
            &[(INVALID, "7x10")],
        ),
        case(
            "VaultkeeperInjectorCertificateNearItsEnd",
            "10m",
            ALONE,
            &[(ENDS, "80000x20")],
        ),
        case(
            "VaultkeeperInjectorCertificateNearItsEnd",
            "10m",
            QUIET,
            &[(ENDS, "90000x20")],
        ),
    ]
}

/// What promtool reads: a test for each case.
fn tests(cases: &[Case]) -> Value {
    let test = |(number, case): (usize, &Case)| {
        let Case {
            alert,
            at,
            fires,
            series: input,
        } = case;
        let input: Vec<Value> = input
            .iter()
            .map(|(name, values)| json!({"series": series(name), "values": values}))
            .collect();
        let sample = format!(r#"ALERTS{{alertname="{alert}", alertstate="firing", {fires}}}"#);
        let expected = if fires.is_empty() {
            json!([])
        } else {
            json!([{"labels": sample, "value": 1}])
        };
        json!({
            "name": format!("{number} {alert}"),
            "interval": "1m",
            "input_series": input,
            "promql_expr_test": [{
                "expr": format!(r#"ALERTS{{alertname="{alert}", alertstate="firing"}}"#),
                "eval_time": at,
                "exp_samples": expected,
            }],
        })
    };
    let tests: Vec<Value> = cases.iter().enumerate().map(test).collect();
    json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests})
}

fn rules_of_a_cluster() -> Value {
    let text = "apiVersion: vaultkeeper.dev/v1alpha1\nkind: VaultCluster\nmetadata: {name: main, namespace: vault, uid: u-1}\nspec:\n  version: 1.21.1\n  storage: {raft: {}}\n";
    let cluster: VaultCluster = serde_yaml::from_str(text).unwrap();
    let validated = validate(&cluster).unwrap();
    let rule = prometheus_rule(&validated, validated.monitoring.as_ref().unwrap());
    rule.expect("there are alerts")["spec"].clone()
}

fn rules_of_the_chart() -> Value {
    let sets = [
        "monitoring.enabled=true",
        r#"monitoring.alerts.labels={"team":"platform"}"#,
    ];
    let objects = template(&helm::chart(), &sets).unwrap();
    named(&objects, "PrometheusRule", "keeper")["spec"].clone()
}

fn names(rules: &Value) -> Vec<String> {
    let groups = rules["groups"].as_array().unwrap();
    let of_groups = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    of_groups
        .map(|rule| rule["alert"].as_str().unwrap().to_owned())
        .collect()
}

fn run(arguments: &[&str], folder: &TempDir) {
    let promtool = servers::path(Server::Promtool).unwrap();
    let output = Command::new(promtool)
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn try_all(rules: &Value, cases: &[Case]) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, value: &Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    write("rules.yaml", rules);
    write("tests.yaml", &tests(cases));
    run(
        &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"],
        &folder,
    );
    run(&["test", "rules", "tests.yaml"], &folder);
}

/// Each alert of these rules has a case in which it fires and one in which it does not, and there are no other cases.
fn assert_complete(rules: &Value, cases: &[Case]) {
    let names = names(rules);
    for name in &names {
        let of_it = |fires: bool| {
            let mut found = cases.iter().filter(|case| case.alert == name);
            found.any(|case| case.fires.is_empty() != fires)
        };
        assert!(of_it(true), "there should be a case in which {name} fires");
        assert!(of_it(false), "there should be a case in which {name} is quiet");
    }
    for case in cases {
        assert!(
            names.iter().any(|name| name == case.alert),
            "there is no {}",
            case.alert
        );
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet() {
    assert_complete(&rules_of_a_cluster(), &of_a_cluster());
    assert_complete(&rules_of_the_chart(), &of_the_chart());
}

#[test]
#[ignore = "minutes: promtool has to be built"]
fn every_alert_of_a_cluster_fires_when_it_should_and_only_then() {
    try_all(&rules_of_a_cluster(), &of_a_cluster());
}

#[test]
#[ignore = "minutes: promtool has to be built"]
fn every_alert_of_the_chart_fires_when_it_should_and_only_then() {
    try_all(&rules_of_the_chart(), &of_the_chart());
}
