use super::super::*;
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
            exit_on_err: false,
            follow_credentials: false,
            read_period: Duration::from_secs(60),
            revoke_on_shutdown: None,
        }
    );
    assert_eq!(config.vault.namespace.as_deref(), Some("team-a"));
    assert_eq!(config.templates[0].mode, Some(0o440));
    assert_eq!(config.static_interval, Duration::from_secs(60));
    assert_eq!(
        config.sinks,
        [Sink {
            path: "/home/vault/.vault-token".into(),
            mode: 0o640,
            owner: None,
            group: None,
            wrap_ttl: None,
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
    let exec = r#""exec": {"command": ["reload", "now"], "kill_signal": "SIGHUP"}"#;
    let (_, warnings) = read(&INJECTED.replace("\"perms\": \"0440\"", exec)).unwrap();
    assert_eq!(warnings.len(), 1, "one warning is due: {warnings:?}");
    assert!(
        warnings[0].starts_with("template[0].exec.kill_signal is ignored"),
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
            "\"aws\", \"mount",
            "auto_auth.method.type is \"aws\"",
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
        config.vault.address, "https://other:8200",
        "the environment wins, as with Vault Agent"
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

#[test]
fn every_mistake_is_told_at_once() {
    let text = INJECTED
        .replace("\"0440\"", "\"rw\"")
        .replace("\"role\": \"app\",", "")
        .replace("\"1m\"", "\"soon\"");
    let error = read(&text).expect_err("three mistakes").to_string();
    for path in [
        "template[0].perms must",
        "auto_auth.method.config.role is missing",
        "template_config.static_secret_render_interval must",
    ] {
        assert!(error.contains(path), "{path:?} is not in {error:?}");
    }
}

/// The method of a configuration with this `method`.
fn method(text: &str) -> Result<(Login, Vec<String>), String> {
    let text = format!(r#"{{"vault": {{"address": "https://v:8200"}}, "auto_auth": {{"method": {text}}}}}"#);
    let read = read(&text).map_err(|error| error.to_string());
    read.map(|(config, warnings)| (config.login, warnings))
}

#[test]
fn each_method_is_read_with_the_peers_keys_and_defaults() {
    for (text, expected) in [
        (
            r#"{"type": "approle", "config": {"role_id_file_path": "/r", "secret_id_file_path": "/s",
                "secret_id_response_wrapping_path": "auth/approle/role/app/secret-id"}}"#,
            Method::AppRole {
                role_id_path: "/r".into(),
                secret_id_path: Some("/s".into()),
                remove_secret_id: true,
                wrapping_path: Some("auth/approle/role/app/secret-id".to_owned()),
            },
        ),
        (
            r#"{"type": "jwt", "config": {"path": "/j", "role": "app", "remove_jwt_after_reading": "false"}}"#,
            Method::Jwt {
                role: "app".to_owned(),
                path: "/j".into(),
                removal: Removal::Keep,
            },
        ),
        (
            r#"{"type": "cert", "config": {"name": "web", "client_cert": "/c", "client_key": "/k", "reload": true}}"#,
            Method::Cert {
                name: Some("web".to_owned()),
                client_cert: Some("/c".into()),
                client_key: Some("/k".into()),
                ca_cert: None,
            },
        ),
        (
            r#"{"type": "userpass", "config": {"username": "bob", "password_file_path": "/p"}}"#,
            Method::Password {
                kind: PasswordKind::Userpass,
                username: "bob".to_owned(),
                password_path: "/p".into(),
                removal: Removal::Remove,
            },
        ),
        (
            r#"{"ldap": {"config": {"username": "bob", "password_file_path": "/p", "remove_password_follows_symlinks": true}}}"#,
            Method::Password {
                kind: PasswordKind::Ldap,
                username: "bob".to_owned(),
                password_path: "/p".into(),
                removal: Removal::RemoveTarget,
            },
        ),
        (
            r#"{"type": "token_file", "config": {"token_file_path": "/t"}}"#,
            Method::TokenFile { path: "/t".into() },
        ),
    ] {
        let (login, warnings) = method(text).unwrap();
        assert_eq!(login.method, expected, "{text}");
        assert_eq!(login.mount, expected.name(), "the default mount of {text}");
        assert!(warnings.is_empty(), "{text} needs no warning: {warnings:?}");
    }
}

#[test]
fn a_method_that_cannot_work_is_refused() {
    for (text, part) in [
        (
            r#"{"type": "cert"}"#,
            "auto_auth.method.config.client_cert is missing",
        ),
        (
            r#"{"type": "jwt", "config": {"role": "app"}}"#,
            "auto_auth.method.config.path is missing",
        ),
        (
            r#"{"type": "jwt", "wrap_ttl": "5m", "config": {"role": "app", "path": "/j"}}"#,
            "auto_auth.method.wrap_ttl is not offered",
        ),
        (r#"{"type": "jwt"}"#, "auto_auth.method.config is missing"),
        (r#"{"config": {}}"#, "auto_auth.method.type is missing"),
        (
            r#"{"type": "approle", "config": {"role_id_file_path": "/r", "secret_id_response_wrapping_path": "x"}}"#,
            "auto_auth.method.config.secret_id_file_path is missing",
        ),
        (
            r#"{"type": "aws", "config": {}}"#,
            "auto_auth.method.type is \"aws\"",
        ),
        (
            r#"{"type": "token_file", "min_backoff": "5m", "max_backoff": "1m", "config": {"token_file_path": "/t"}}"#,
            "auto_auth.method.min_backoff must not be longer",
        ),
    ] {
        let error = method(text).expect_err("it cannot work");
        assert!(error.contains(part), "expected {part:?}, got {error:?}");
    }
}

#[test]
fn a_long_shortest_delay_moves_the_longest() {
    let (login, _) =
        method(r#"{"type": "token-file", "min_backoff": "5m", "config": {"token_file_path": "/t"}}"#)
            .unwrap();
    assert_eq!(login.max_backoff, Duration::from_secs(300));
}

#[test]
fn what_is_rendered_and_run_is_read_into_types() {
    let text = INJECTED.replace(
        "\"perms\": \"0440\"",
        r#""wait": "5s:20s", "command": "nginx -s reload", "command_timeout": "10s", "backup": true, "uid": 7,
           "sandbox_path": "/s", "function_denylist": ["file"]"#,
    );
    let (config, _) = read(&text).unwrap();
    let template = &config.templates[0];
    let wait = Wait {
        min: Duration::from_secs(5),
        max: Duration::from_secs(20),
    };
    assert_eq!(template.wait, Some(wait));
    let run = Run {
        command: Command::Line("nginx -s reload".to_owned()),
        timeout: Duration::from_secs(10),
        environment: Environment::default(),
    };
    assert_eq!(template.run, Some(run));
    assert!(template.backup, "asked for");
    assert_eq!(template.user, Some(Owner::Id(7)));
    assert_eq!(template.limits.sandbox_path, Some("/s".into()));
    assert_eq!(template.limits.function_denylist, ["file"]);

    let text = INJECTED.replace(
        "\"perms\": \"0440\"",
        r#""wait": {"min": "2s"}, "command": "one two", "exec": {"command": ["a", "b c"], "timeout": "1m",
           "env": {"pristine": true, "custom": ["A=b"], "whitelist": ["PATH"]}}"#,
    );
    let (config, _) = read(&text).unwrap();
    let wait = Wait {
        min: Duration::from_secs(2),
        max: Duration::from_secs(8),
    };
    assert_eq!(config.templates[0].wait, Some(wait), "max is four times min");
    let run = Run {
        command: Command::Arguments(vec!["a".to_owned(), "b c".to_owned()]),
        timeout: Duration::from_secs(60),
        environment: Environment {
            pristine: true,
            custom: vec!["A=b".to_owned()],
            allowlist: vec!["PATH".to_owned()],
            denylist: Vec::new(),
        },
    };
    assert_eq!(config.templates[0].run, Some(run), "exec wins over command");
}

#[test]
fn a_supervised_program_and_its_variables_belong_together() {
    let exec = r#""exec": {"command": ["app", "-v"], "restart_on_secret_changes": "never", "restart_stop_signal": "SIGINT"}"#;
    let templates = r#""env_template": {"PASSWORD": {"contents": "x"}, "OTHER": {"source": "/t"}}"#;
    let with = |keys: &str| {
        let auth = r#""vault": {"address": "https://v:8200"},
            "auto_auth": {"method": {"type": "token_file", "config": {"token_file_path": "/t"}}}"#;
        read(&format!("{{{auth}, {keys}}}")).map_err(|error| error.to_string())
    };
    let (config, _) = with(&format!("{exec}, {templates}")).unwrap();
    assert_eq!(
        config.exec,
        Some(Exec {
            command: vec!["app".to_owned(), "-v".to_owned()],
            restart_on_secret_changes: false,
            restart_stop_signal: rustix::process::Signal::INT,
        })
    );
    let mut names: Vec<_> = config
        .env_templates
        .iter()
        .map(|template| &*template.name)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["OTHER", "PASSWORD"]);
    assert!(with(exec).is_err_and(|error| error.contains("env_template is missing")));
    assert!(with(templates).is_err_and(|error| error.contains("exec is missing")));
    let both = format!(r#"{exec}, {templates}, "template": {{"contents": "x", "destination": "/d"}}"#);
    assert!(with(&both).is_err_and(|error| error.contains("exclude each other")));
    let wrong = exec.replace("SIGINT", "SIGNAL");
    assert!(
        with(&format!("{wrong}, {templates}")).is_err_and(|error| error.contains("exec.restart_stop_signal"))
    );
}

#[test]
fn listeners_and_the_cache_are_read_into_types() {
    let text = INJECTED.replace(
        "\"exit_after_auth\": false,",
        r#""listener": [{"type": "tcp", "address": "127.0.0.1:8200", "tls_disable": true, "agent_api": {"enable_quit": true}},
            {"unix": {"address": "/run/vault.sock", "socket_mode": "0660", "tls_disable": true, "role": "metrics_only"}}],
           "cache": {"use_auto_auth_token": "force", "persist": {"type": "kubernetes", "path": "/vault/agent-cache"}},
           "template_config": {"exit_on_retry_failure": true},"#,
    );
    let text = text.replace(
        "\"template_config\": {\"exit_on_retry_failure\": true, \"static_secret_render_interval\": \"1m\"}",
        "\"api_proxy\": {\"use_auto_auth_token\": true}",
    );
    let (config, _) = read(&text).unwrap();
    let [tcp, unix] = config.listeners.as_slice() else {
        panic!("two listeners: {:?}", config.listeners)
    };
    assert_eq!(tcp.socket, Socket::Tcp("127.0.0.1:8200".to_owned()));
    assert!(tcp.enable_quit && tcp.tls.is_none() && !tcp.metrics_only);
    assert!(unix.metrics_only, "its role");
    let cache = config.cache.unwrap();
    assert_eq!(cache.use_auto_auth_token, Some(AutoAuthToken::Always));
    assert_eq!(
        cache.persist.unwrap().path,
        std::path::Path::new("/vault/agent-cache")
    );
    assert_eq!(
        config.api_proxy.unwrap().use_auto_auth_token,
        Some(AutoAuthToken::WhenNone)
    );
    assert_eq!(config.retries, Some(12), "the peer's default, where it is to end");
    assert_eq!(
        read(&text.replace("true},\n", "false},\n")).unwrap().0.retries,
        None
    );
}

#[test]
fn a_template_may_have_an_interval_of_its_own() {
    let with = |interval: &str| {
        let perms = "\"perms\": \"0440\"";
        let text = INJECTED.replace(
            perms,
            &format!("{perms}, \"static_secret_render_interval\": \"{interval}\""),
        );
        let (config, warnings) = read(&text).unwrap();
        assert_eq!(warnings, Vec::<String>::new(), "it is acted on");
        config.templates[0].interval
    };
    assert_eq!(with("20s"), Some(Duration::from_secs(20)));
    assert_eq!(
        with("0s"),
        None,
        "zero is the interval of all, as in template_config"
    );
    assert_eq!(read(INJECTED).unwrap().0.templates[0].interval, None);
}

/// As a person writes it for `agent-configmap`.
const WRITTEN: &str = r#"
# Where Vault is
vault {
  address = "https://vault.default.svc:8200"
  ca_cert = "/vault/tls/ca.crt"
  tls_server_name = "bao.internal"
}

auto_auth {
  method "kubernetes" {
    mount_path  = "auth/kubernetes"
    min_backoff = "2s"
    namespace   = "team-a"
    config = {
      role       = "app"
      token_path = "/token"
    }
  }

  sink "file" {
    config = { path = "/home/vault/.vault-token" }
  }
}

exit_after_auth = false
pid_file = "/home/vault/.pid"

template {
  destination = "/vault/secrets/db"
  contents    = <<-EOT
    {{ with secret "secret/data/db" }}{{ .Data.data.password }}{{ end }}
    EOT
  perms = 0440
}

template {
  source      = "/templates/other.ctmpl"
  destination = "/vault/secrets/other"
  wait {
    min = "2s"
    max = "10s"
  }
}

template_config { static_secret_render_interval = "1m" }
"#;

#[test]
fn hcl_means_the_same_as_json() {
    let (written, warnings) = read(WRITTEN).unwrap();
    let (injected, _) = read(INJECTED).unwrap();
    assert_eq!(written.login, injected.login);
    assert_eq!(written.vault, injected.vault);
    assert_eq!(written.sinks, injected.sinks);
    assert_eq!(written.static_interval, injected.static_interval);
    let [first, second] = written.templates.as_slice() else {
        panic!("two templates: {:?}", written.templates)
    };
    let text = "{{ with secret \"secret/data/db\" }}{{ .Data.data.password }}{{ end }}\n";
    assert_eq!(
        first.source,
        Source::Text(text.to_owned()),
        "without its indentation"
    );
    assert_eq!(first.mode, Some(0o440), "a number with a leading zero is octal");
    assert_eq!(second.source, Source::File("/templates/other.ctmpl".into()));
    assert!(
        warnings
            .iter()
            .all(|warning| warning.starts_with("template[1].wait")),
        "nothing is unknown: {warnings:?}"
    );
}

#[test]
fn in_hcl_what_is_wrong_is_told_with_its_line() {
    for (from, to, part) in [
        (
            "perms = 0440",
            "perms = \"rw\"",
            "template[0].perms (line 33) must be a file mode",
        ),
        (
            "role       = \"app\"",
            "",
            "auto_auth.method.config.role (line 14) is missing",
        ),
        (
            "exit_after_auth = false",
            "exit_after_auth = false\nexit_after_auth = true",
            "exit_after_auth (line 26) is given a second time",
        ),
        (
            "vault {",
            "vault { }\nvault {",
            "vault (line 4) is given a second time",
        ),
    ] {
        assert!(WRITTEN.contains(from), "the test changes nothing: {from}");
        let error = read(&WRITTEN.replacen(from, to, 1))
            .expect_err("it is wrong")
            .to_string();
        assert!(error.contains(part), "expected {part:?}, got {error:?}");
    }
    let (_, warnings) = read(&WRITTEN.replacen("min_backoff", "minbackoff", 1)).unwrap();
    assert!(
        warnings.contains(&"unknown key auto_auth.method.minbackoff (line 12)".to_owned()),
        "{warnings:?}"
    );
}

#[test]
fn keys_are_the_same_in_any_case() {
    let text = WRITTEN
        .replace("vault {", "Vault {")
        .replace("address =", "Address =");
    let (config, warnings) = read(&text).unwrap();
    assert_eq!(config.vault.address, "https://vault.default.svc:8200");
    assert_eq!(
        warnings,
        read(WRITTEN).unwrap().1,
        "no key is unknown for its case"
    );
}

#[test]
fn variables_of_hcl_are_named_by_their_blocks() {
    let text = r#"
vault { address = "https://v:8200" }
auto_auth {
  method {
    type = "token_file"
    config { token_file_path = "/t" }
  }
}
exec { command = ["app"] }
env_template "PASSWORD" { contents = "x" }
env_template "USER" {
  contents = "y"
  perms    = "0400"
}
"#;
    let error = read(text).expect_err("a variable has no mode").to_string();
    assert!(
        error.contains("env_template[1].perms (line 13) has no meaning"),
        "{error}"
    );
    let (config, _) = read(&text.replace("perms    = \"0400\"", "")).unwrap();
    let names: Vec<_> = config
        .env_templates
        .iter()
        .map(|template| &*template.name)
        .collect();
    assert_eq!(names, ["PASSWORD", "USER"]);
}

#[test]
fn how_an_application_is_told_is_read_and_checked() {
    let with =
        |block: &str| read(&INJECTED.replace("\"perms\": \"0440\"", &format!("\"after_change\": {block}")));
    let text = r#"{"signal": "HUP", "process": "nginx", "url": "http://127.0.0.1:80/-/reload", "on_first_render": true}"#;
    let (config, warnings) = with(text).unwrap();
    assert_eq!(warnings, [""; 0], "every key is known");
    let after = config.templates[0].after_change.clone().unwrap();
    assert_eq!(after.on_first_render, Some(true));
    assert_eq!(
        after.call.as_ref().map(|call| call.method.as_str()),
        Some("POST"),
        "the default"
    );
    assert!(after.signal.is_some(), "a signal was asked for");

    for (block, part) in [
        (
            r#"{"signal": "HUP"}"#,
            "template[0].after_change.process is missing",
        ),
        (
            r#"{"process": "nginx"}"#,
            "template[0].after_change.signal is missing",
        ),
        (
            r#"{"signal": "HUP", "process": "a", "pid_file": "/b"}"#,
            "exclude each other",
        ),
        (
            r#"{"url": "https://app/reload"}"#,
            "template[0].after_change.url must begin with http://",
        ),
        (
            r#"{"url": "http://app/reload", "method": "DELETE"}"#,
            "template[0].after_change.method",
        ),
    ] {
        let error = with(block).expect_err(part);
        assert!(
            format!("{error:?}{error}").contains(part),
            "expected {part:?}, got {error:?}"
        );
    }
}

mod any_text {
    use proptest::prelude::*;

    /// Words of the schema, in HCL, that may stand anywhere.
    const WORDS: [&str; 34] = [
        "vault {",
        "auto_auth {",
        "method \"approle\" {",
        "method {",
        "sink \"file\" {",
        "config {",
        "template {",
        "env_template \"A\" {",
        "exec {",
        "listener \"tcp\" {",
        "cache {",
        "persist \"kubernetes\" {",
        "template_config {",
        "retry {",
        "wait {",
        "}",
        "}",
        "}",
        "address = \"https://v:8200\"",
        "type = \"jwt\"",
        "type = 5",
        "path = \"/p\"",
        "role = \"\"",
        "wait = \"99h:1h\"",
        "wait = \"5s\"",
        "min = \"876000h\"",
        "perms = 0640",
        "mode = -1",
        "max_backoff = 1e300",
        "min_backoff = \"3\"",
        "command = [\"a\", \"b\"]",
        "contents = <<X\nx\nX\n",
        "destination = [{}]",
        "lease_renewal_threshold = 2",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_configuration_makes_it_panic(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..40)) {
            let _ = super::read(&format!("{}\n", words.join("\n")));
        }
    }
}
