//! Whom the NetworkPolicy lets in, and what leaves.

use serde_json::{Value, json};

use super::*;
use crate::cluster::validate::{tests::cluster, validate};

fn policy(extra: &str) -> Option<Value> {
    let policy = network_policy(&validate(&cluster(extra)).unwrap(), "vaultkeeper-system");
    policy.map(|p| serde_json::to_value(p.spec).unwrap())
}

fn named(namespace: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}})
}

/// Peers that may reach the API and are no members.
fn users(extra: &str) -> Vec<Value> {
    let policy = policy(extra).unwrap();
    policy["ingress"][1]["from"].as_array().unwrap().clone()
}

fn leaves(extra: &str) -> Vec<Value> {
    policy(extra).unwrap()["egress"].as_array().unwrap().clone()
}

#[test]
fn a_hardened_cluster_is_isolated_and_a_development_one_is_not() {
    assert!(policy("").is_some());
    assert!(policy("  networkPolicy: {enabled: false}").is_none());
    assert!(policy("  profile: Development").is_none());
    assert!(policy("  profile: Development\n  networkPolicy: {enabled: true}").is_some());
}

#[test]
fn it_denies_both_directions_for_the_members_and_nobody_else() {
    let policy = policy("").unwrap();
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let selected = &policy["podSelector"]["matchLabels"];
    assert_eq!(selected["vaultkeeper.dev/cluster"], "main");
    assert_eq!(
        policy["ingress"].as_array().unwrap().len(),
        2,
        "members and users: {policy}"
    );
}

#[test]
fn only_members_reach_the_port_of_the_members() {
    let policy = policy("").unwrap();
    let port = |n: u16| json!({"port": n, "protocol": "TCP"});
    assert_eq!(policy["ingress"][0]["ports"], json!([port(8200), port(8201)]));
    assert_eq!(
        policy["ingress"][0]["from"][0]["podSelector"], policy["podSelector"],
        "the members themselves"
    );
    assert_eq!(policy["ingress"][1]["ports"], json!([port(8200)]));
}

#[test]
fn the_operator_and_the_namespaces_with_access_are_let_in() {
    let users = users("  access: [{namespaces: [shop, bar]}, {namespaces: [shop]}]");
    let operator = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vaultkeeper-system"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "vaultkeeper", "app.kubernetes.io/component": "operator"}},
    });
    assert_eq!(users, [operator, named("bar"), named("shop")]);
}

#[test]
fn a_name_that_no_namespace_can_have_does_not_spoil_the_policy() {
    let users = users("  access: [{namespaces: ['*', 'Shop', 'a.b', '-a', shop]}]");
    assert_eq!(users[1..], [named("shop")]);
}

#[test]
fn named_clients_are_let_in() {
    let users =
        users("  networkPolicy: {clients: [{namespace: ci}, {cidr: 10.0.0.0/8}, {podLabels: {app: a}}]}");
    assert_eq!(
        users[1..],
        [
            named("ci"),
            json!({"ipBlock": {"cidr": "10.0.0.0/8"}}),
            json!({"podSelector": {"matchLabels": {"app": "a"}}}),
        ]
    );
    assert!(
        users.iter().all(|u| u.as_object().is_some_and(|u| !u.is_empty())),
        "an empty peer would mean everybody: {users:?}"
    );
}

#[test]
fn prometheus_reaches_the_metrics_only_and_nobody_does_unless_it_is_named() {
    let named = "prometheus: [{namespaceLabels: {team: obs}, podLabels: {app: prometheus}}]";
    let last = |extra: &str| {
        let rules = policy(extra).unwrap()["ingress"].clone();
        let rules = rules.as_array().unwrap();
        (rules.len(), rules.last().unwrap().clone())
    };
    let peer = json!({"namespaceSelector": {"matchLabels": {"team": "obs"}}, "podSelector": {"matchLabels": {"app": "prometheus"}}});
    let at = |port: u16| json!({"from": [peer], "ports": [{"port": port, "protocol": "TCP"}]});
    assert_eq!(last(&format!("  networkPolicy: {{{named}}}")), (3, at(8202)));
    assert_eq!(
        last(&format!(
            "  networkPolicy: {{{named}}}\n  monitoring: {{enabled: false}}"
        )),
        (3, at(8200)),
        "it brings a token there"
    );
    assert_eq!(last("").0, 2, "an empty list of peers would let everybody in");
}

#[test]
fn what_leaves_is_said() {
    let ports = |rule: &Value| -> Vec<i64> {
        let ports = rule["ports"].as_array().unwrap();
        ports.iter().filter_map(|p| p["port"].as_i64()).collect()
    };
    let usual = leaves("");
    let all: Vec<Vec<i64>> = usual.iter().map(ports).collect();
    assert_eq!(all, [vec![8200, 8201], vec![53, 53, 5353, 5353], vec![443, 6443]]);
    let named = leaves(
        "  networkPolicy: {egress: [{to: [{cidr: 10.1.0.0/16}], ports: [{port: 5432}]}, {to: [{namespace: ldap}]}]}",
    );
    assert_eq!(
        named[3],
        json!({"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 5432, "protocol": "TCP"}]})
    );
    assert_eq!(named[4], json!({"to": [super::namespace("ldap")]}));
}

#[test]
fn what_the_spec_declares_stays_reachable() {
    let ports = |extra: &str| leaves(extra)[2]["ports"].clone();
    let transit = ports(
        "  seal: {transit: {address: 'https://kms.example.com:8200', keyName: auto, tokenSecret: {name: unseal, key: token}}}",
    );
    assert!(
        transit
            .as_array()
            .unwrap()
            .contains(&json!({"port": 8200, "protocol": "TCP"})),
        "{transit}"
    );
    let udp = ports(
        "  configuration: {audit: [{path: out, socket: {address: 'logs.example.com:9090', type: Udp}}]}",
    );
    assert_eq!(
        udp,
        json!([{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}, {"port": 9090, "protocol": "UDP"}]),
        "a port of its own protocol, beside those that are always open"
    );
    let cloud = leaves("  seal: {awskms: {region: r, kmsKeyId: k}}");
    assert_eq!(cloud[3]["to"][0]["ipBlock"]["cidr"], "169.254.0.0/16");
    assert_eq!(leaves("").len(), 3, "no metadata service without a cloud seal");
}
