//! What of `spec.serverConfig` is merged, and what is refused.

use super::*;
use crate::cluster::build::config;
use crate::cluster::validate::{tests::cluster, validate};

fn rendered() -> String {
    config::render(&validate(&cluster("")).unwrap())
}

fn settings(yaml: &str) -> Map<String, Value> {
    serde_yaml::from_str(yaml).unwrap()
}

fn merged(yaml: &str) -> String {
    merge(&rendered(), &settings(yaml)).unwrap()
}

fn refused(yaml: &str) -> String {
    merge(&rendered(), &settings(yaml))
        .expect_err("the setting must be refused")
        .key
}

#[test]
fn nothing_to_merge_changes_nothing() {
    assert_eq!(merged("{}"), rendered());
}

#[test]
fn plain_settings_come_after_those_of_the_operator() {
    let text =
        merged("{max_lease_ttl: 87600h, log_requests_level: info, disable_cache: true, cache_size: 4096}");
    assert!(text.starts_with(&rendered()), "{text}");
    for line in [
        "max_lease_ttl = \"87600h\"",
        "disable_cache = true",
        "cache_size = 4096",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_setting_of_a_block_lands_inside_of_it() {
    let text = merged(
        "{listener: {tcp: {max_request_size: 1048576, telemetry: {unauthenticated_metrics_access: true}}}}",
    );
    let listener = text.split("listener \"tcp\" {").nth(1).unwrap();
    let listener = listener.split("\n}\n").next().unwrap();
    assert!(listener.contains("\n  max_request_size = 1048576\n"), "{text}");
    assert!(
        listener.contains("\n  telemetry {\n    unauthenticated_metrics_access = true\n  }"),
        "{text}"
    );
    assert_eq!(
        text.matches("listener \"tcp\"").count(),
        rendered().matches("listener \"tcp\"").count(),
        "{text}"
    );
    let metrics = text.split("listener \"tcp\" {").nth(2).unwrap();
    assert!(
        !metrics.contains("max_request_size"),
        "not at the metrics: {text}"
    );
}

#[test]
fn the_storage_may_be_tuned_and_not_be_replaced() {
    let text = merged("{storage: {raft: {max_entry_size: 2097152}}}");
    assert!(text.contains("\n  max_entry_size = 2097152\n}\n"), "{text}");
    assert_eq!(refused("{storage: {file: {path: /tmp}}}"), "storage.file");
    assert_eq!(refused("{storage: {raft: {path: /tmp}}}"), "storage.raft.path");
}

#[test]
fn new_blocks_are_added_with_their_label() {
    let text = merged(
        "{listener: {unix: {address: /tmp/v}}, sentinel: {additional_enabled_modules: []}, user_lockout: {all: {lockout_threshold: '5'}}}",
    );
    assert!(
        text.contains("\nlistener \"unix\" {\n  address = \"/tmp/v\"\n}\n"),
        "{text}"
    );
    assert!(
        text.contains("\nsentinel {\n  additional_enabled_modules = []\n}\n"),
        "{text}"
    );
    assert!(
        text.contains("\nuser_lockout \"all\" {\n  lockout_threshold = \"5\"\n}\n"),
        "{text}"
    );
}

#[test]
fn a_setting_that_the_operator_writes_is_refused_by_its_full_name() {
    for (yaml, key) in [
        ("{cluster_name: x}", "cluster_name"),
        ("{disable_mlock: false}", "disable_mlock"),
        (
            "{listener: {tcp: {tls_min_version: tls10}}}",
            "listener.tcp.tls_min_version",
        ),
        (
            "{listener: {tcp: {address: '0.0.0.0:1'}}}",
            "listener.tcp.address",
        ),
        (
            "{storage: {raft: {retry_join: {leader_api_addr: x}}}}",
            "storage.raft.retry_join",
        ),
    ] {
        assert_eq!(refused(yaml), key);
    }
}

#[test]
fn what_would_take_the_ground_from_under_the_operator_is_refused() {
    for key in [
        "seal",
        "api_addr",
        "cluster_addr",
        "disable_standby_reads",
        "service_registration",
        "ha_storage",
    ] {
        assert_eq!(refused(&format!("{{{key}: {{x: {{}}}}}}")), key);
    }
    for key in ["tls_disable", "tls_require_and_verify_client_cert"] {
        assert_eq!(
            refused(&format!("{{listener: {{tcp: {{{key}: true}}}}}}")),
            format!("listener.tcp.{key}")
        );
    }
}

#[test]
fn capitals_do_not_get_past_it() {
    assert_eq!(refused("{Seal: {x: {}}}"), "Seal");
    assert_eq!(refused("{Cluster_Name: x}"), "Cluster_Name");
    assert_eq!(
        refused("{LISTENER: {TCP: {Tls_Disable: true}}}"),
        "LISTENER.TCP.Tls_Disable"
    );
    assert_eq!(refused("{Storage: {Raft: {Path: /tmp}}}"), "Storage.Raft.Path");
    assert_eq!(refused("{STORAGE: {file: {}}}"), "STORAGE.file");
}

#[test]
fn shapes_that_mean_nothing_are_refused() {
    assert_eq!(refused("{max_lease_ttl: null}"), "max_lease_ttl");
    assert_eq!(refused("{telemetry: {statsd_address: null}}"), "telemetry");
    assert_eq!(refused("{listener: [1]}"), "listener");
    assert_eq!(refused("{listener: {tcp: 1}}"), "listener.tcp");
    assert_eq!(refused("{'a b': 1}"), "a b");
}

#[test]
fn no_value_leaves_its_place() {
    let text = merged(
        "{default_lease_ttl: \"1h\\\"\\n}\\nseal \\\"x\\\" {\", listener: {tcp: {custom_response_headers: {default: {X-Test: ['a\"b']}}}}}",
    );
    assert!(!text.lines().any(|l| l.starts_with("seal")), "{text}");
    assert!(text.contains(r#"X-Test = ["a\"b"]"#), "{text}");
}

#[test]
fn a_block_without_content_takes_settings_too() {
    let text = merge(
        "storage \"inmem\" {}\n",
        &settings("{storage: {inmem: {max_value_size: '1'}}}"),
    )
    .unwrap();
    assert_eq!(text, "storage \"inmem\" {\n  max_value_size = \"1\"\n}\n");
}

#[test]
fn a_refusal_names_the_key_and_the_remedy() {
    let error = merge(&rendered(), &settings("{seal: {}}"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "spec.serverConfig.seal is the task of spec.seal: remove it"
    );
}

#[test]
fn which_tls_is_spoken_holds_for_the_listener_of_the_metrics_too() {
    let text = merged("{listener: {tcp: {tls_cipher_suites: TLS_A, http_idle_timeout: 1m}}}");
    let of_listeners: Vec<&str> = text.split("listener \"tcp\" {").skip(1).collect();
    let [api, metrics] = of_listeners.as_slice() else {
        panic!("two listeners:\n{text}")
    };
    let listener = |text: &str| text.split("\n}\n").next().unwrap().to_owned();
    assert!(listener(api).contains("tls_cipher_suites = \"TLS_A\""), "{text}");
    assert!(
        listener(metrics).contains("tls_cipher_suites = \"TLS_A\""),
        "{text}"
    );
    assert!(listener(api).contains("http_idle_timeout"), "{text}");
    assert!(!listener(metrics).contains("http_idle_timeout"), "{text}");
}

#[test]
fn a_setting_of_the_telemetry_that_monitoring_needs_says_how_to_have_it() {
    let settings = settings("{telemetry: {statsd_address: '127.0.0.1:8125', prometheus_retention_time: 1h}}");
    let error = merge(&rendered(), &settings).unwrap_err();
    assert_eq!(error.key, "telemetry.prometheus_retention_time");
    assert!(error.problem.contains("spec.monitoring.enabled"), "{error}");
    let text = merged("{telemetry: {statsd_address: '127.0.0.1:8125'}}");
    let telemetry = text.split("\ntelemetry {").nth(1).unwrap();
    assert!(
        telemetry.split("\n}").next().unwrap().contains("statsd_address"),
        "{text}"
    );
}
