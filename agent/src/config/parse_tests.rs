use super::*;

/// As vault-k8s writes it.
const INJECTED: &str = r#"{
    "auto_auth": {
        "method": {"type": "kubernetes", "mount_path": "auth/kubernetes", "min_backoff": "2s", "namespace": "team-a",
            "config": {"role": "app", "token_path": "/token"}},
        "sink": [{"type": "file", "config": {"path": "/home/vault/.vault-token"}}]
    },
    "exit_after_auth": false,
    "pid_file": "/home/vault/.pid",
    "vault": {"address": "https://vault.default.svc:8200", "ca_cert": "/vault/tls/ca.crt", "tls_server_name": "bao.internal"},
    "template": [{"destination": "/vault/secrets/db", "contents": "x", "left_delimiter": "{{", "right_delimiter": "}}", "perms": "0440"}],
    "template_config": {"exit_on_retry_failure": true, "static_secret_render_interval": "1m"}
}"#;

fn read(text: &str) -> Result<(Config, Vec<String>), ConfigError> {
    parse(text, &|_| None)
}

fn error(from: &str, to: &str) -> String {
    assert!(INJECTED.contains(from), "the test changes nothing: {from}");
    read(&INJECTED.replace(from, to))
        .expect_err("the configuration must be refused")
        .to_string()
}

#[test]
fn what_the_injector_writes_is_read_without_a_warning() {
    let (config, warnings) = read(INJECTED).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        config.login,
        Login {
            method: Method::Kubernetes {
                role: "app".to_owned(),
                token_path: "/token".into()
            },
            mount: "kubernetes".to_owned(),
            min_backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(60),
        }
    );
    assert_eq!(config.vault.namespace.as_deref(), Some("team-a"));
    assert_eq!(config.templates[0].mode, Some(0o440));
    assert_eq!(config.static_interval, Duration::from_secs(60));
    assert_eq!(
        config.sinks,
        [Sink {
            path: "/home/vault/.vault-token".into(),
            mode: 0o640
        }]
    );
}

#[test]
fn an_unknown_key_is_warned_about_with_its_path() {
    let (_, warnings) = read(&INJECTED.replace("\"perms\"", "\"perm\"")).unwrap();
    assert_eq!(warnings, ["unknown key template[0].perm"]);
}

#[test]
fn a_key_without_effect_is_warned_about() {
    let (_, warnings) = read(&INJECTED.replace("\"perms\": \"0440\"", "\"command\": \"reload\"")).unwrap();
    assert_eq!(warnings.len(), 1, "one warning is due: {warnings:?}");
    assert!(
        warnings[0].starts_with("template[0].command is ignored"),
        "the key is not named: {warnings:?}"
    );
}

#[test]
fn a_wrong_key_is_refused_with_its_path() {
    for (from, to, part) in [
        ("\"0440\"", "\"rw\"", "template[0].perms must be a file mode"),
        (
            "\"1m\"",
            "\"soon\"",
            "template_config.static_secret_render_interval must be a duration",
        ),
        (
            "\"contents\": \"x\"",
            "\"contents\": 5",
            "template[0].contents must be a string",
        ),
        (
            "\"role\": \"app\",",
            "",
            "auto_auth.method.config.role is missing",
        ),
        (
            "\"kubernetes\", \"mount",
            "\"ldap\", \"mount",
            "auto_auth.method.type is \"ldap\"",
        ),
        (
            "\"https://vault.default.svc:8200\"",
            "\"\"",
            "vault.address is missing",
        ),
        (
            "\"tls_server_name\": \"bao.internal\"",
            "\"tls_skip_verify\": true",
            "vault.tls_skip_verify is not offered",
        ),
    ] {
        let error = error(from, to);
        assert!(error.contains(part), "expected {part:?}, got {error:?}");
    }
}

#[test]
fn stanzas_in_lists_of_one_are_taken_as_hcl_writes_them() {
    let text = INJECTED
        .replace("\"vault\": {", "\"vault\": [{")
        .replace("bao.internal\"}", "bao.internal\"}]");
    assert_eq!(read(&text).unwrap().0, read(INJECTED).unwrap().0);
}

#[test]
fn the_environment_fills_in_what_the_configuration_leaves_out() {
    let env = |name: &str| match name {
        "VAULT_ADDR" => Some("https://other:8200".to_owned()),
        "VAULT_CACERT" => Some("/ca".to_owned()),
        _ => None,
    };
    let text = INJECTED.replace(
        "\"address\": \"https://vault.default.svc:8200\", \"ca_cert\": \"/vault/tls/ca.crt\",",
        "",
    );
    let (config, _) = parse(&text, &env).unwrap();
    assert_eq!(config.vault.address, "https://other:8200");
    assert_eq!(config.vault.ca_cert, Some("/ca".into()));
    let (config, _) = parse(INJECTED, &env).unwrap();
    assert_eq!(
        config.vault.address, "https://vault.default.svc:8200",
        "the configuration wins"
    );
}

#[test]
fn text_that_is_not_json_is_refused_without_showing_it() {
    let error = read("{\"a\": hunter2").expect_err("not JSON").to_string();
    assert!(
        error.contains("line 1") && !error.contains("hunter2"),
        "place without content: {error}"
    );
}
