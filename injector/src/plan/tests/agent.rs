//! What the agent is told to do.

use super::*;

#[test]
fn the_agents_configuration_follows_from_identity_and_annotations() {
    let pod = injected(&annotated_pod(&[
        SECRET,
        (
            "agent-inject-template-db",
            "{{ with secret \"db/creds/app\" }}{{ .Data.password }}{{ end }}",
        ),
        ("agent-inject-file-db", "sub/db.txt"),
        ("agent-inject-perms-db", "0400"),
        ("error-on-missing-key-db", "true"),
        ("template-static-secret-render-interval", "10s"),
        ("namespace", "team"),
        ("tls-server-name", "vault.internal"),
    ]));
    assert_eq!(
        config(&pod),
        json!({
            "vault": {
                "address": "https://main.vault.svc:8200",
                "ca_cert": "/vaultkeeper/ca/ca.crt",
                "tls_server_name": "vault.internal",
            },
            "auto_auth": { "method": {
                "type": "kubernetes", "mount_path": "auth/kubernetes", "namespace": "team",
                "config": {
                    "role": "shop.app",
                    "token_path": "/var/run/secrets/vaultkeeper.dev/serviceaccount/token",
                },
            } },
            "template": [
                {
                    "destination": "/vault/secrets/config",
                    "contents": "{{ with secret \"secret/data/shop\" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}",
                },
                {
                    "destination": "/vault/secrets/sub/db.txt",
                    "contents": "{{ with secret \"db/creds/app\" }}{{ .Data.password }}{{ end }}",
                    "perms": "0400",
                    "error_on_missing_key": true,
                },
            ],
            "template_config": { "static_secret_render_interval": "10s" },
        }),
        "the configuration is not the expected one"
    );
}

#[test]
fn a_broken_template_is_denied_with_annotation_and_line() {
    let denial = denied(&annotated_pod(&[("agent-inject-template-a", "one\n{{ nope }}")]));
    assert!(
        denial
            .starts_with("vault.hashicorp.com/agent-inject-template-a: the template does not parse: line 2"),
        "annotation and line are named: {denial}"
    );
    injected(&annotated_pod(&[(
        "agent-inject-template-a",
        "one\n{{ timestamp }}",
    )]));
}

#[test]
fn other_delimiters_are_those_of_the_template_only() {
    let pod = injected(&annotated_pod(&[
        ("agent-inject-template-a", "<< timestamp >> {{ nope }}"),
        ("agent-template-left-delim-a", "<<"),
        ("agent-template-right-delim-a", ">>"),
        ("agent-inject-secret-b", "p"),
        ("agent-template-left-delim-b", "<<"),
        ("agent-template-right-delim-b", ">>"),
    ]));
    let templates = &config(&pod)["template"];
    assert_eq!(templates[0]["left_delimiter"], "<<", "the template's own");
    assert_eq!(
        templates[1].get("left_delimiter"),
        None,
        "the default template is written with {{ }}"
    );
}

#[test]
fn files_keep_their_case_when_asked_to() {
    let names = |annotations: &[(&str, &str)]| {
        config(&injected(&annotated_pod(annotations)))["template"][0]["destination"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(
        names(&[SECRET]).as_deref(),
        Some("/vault/secrets/config"),
        "lower case by default"
    );
    assert_eq!(
        names(&[SECRET, ("preserve-secret-case", "true")]).as_deref(),
        Some("/vault/secrets/Config"),
        "all"
    );
    assert_eq!(
        names(&[
            SECRET,
            ("preserve-secret-case", "true"),
            ("preserve-secret-case-Config", "false")
        ])
        .as_deref(),
        Some("/vault/secrets/config"),
        "the one for this NAME wins"
    );
}

#[test]
fn two_secrets_in_one_file_are_warned_about() {
    let warnings = verdict(&annotated_pod(&[SECRET, ("agent-inject-secret-config", "p")])).warnings;
    assert!(
        warnings.iter().any(|w| w.contains("/vault/secrets/config")),
        "both are one file: {warnings:?}"
    );
    let warnings = verdict(&annotated_pod(&[SECRET, ("agent-inject-secret-other", "p")])).warnings;
    assert!(warnings.is_empty(), "these are two: {warnings:?}");
}

#[test]
fn a_pod_without_secrets_is_injected_with_a_warning() {
    let warnings = verdict(&annotated_pod(&[])).warnings;
    assert!(
        warnings.iter().any(|w| w.contains("no secret")),
        "somebody forgot something: {warnings:?}"
    );
}

#[test]
fn a_secret_may_have_a_folder_of_its_own() {
    let pod = injected(&annotated_pod(&[
        SECRET,
        ("agent-inject-secret-b", "p"),
        ("secret-volume-path-b", "/etc/app"),
    ]));
    assert_eq!(
        config(&pod)["template"][0]["destination"],
        "/etc/app/b",
        "its file is there"
    );
    for container in [
        &pod["spec"]["containers"][1],
        &pod["spec"]["initContainers"][0],
        sidecar(&pod),
    ] {
        let mount = &container["volumeMounts"][1];
        assert_eq!(mount["mountPath"], "/etc/app", "everybody sees it: {container}");
    }
    let names: Vec<_> = pod["spec"]["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .map(|v| &v["name"])
        .collect();
    assert!(
        names.contains(&&json!("vault-secrets-custom-0")),
        "it is a volume of its own: {names:?}"
    );
}

#[test]
fn the_token_is_written_when_asked_for() {
    let sinks = |annotations: &[(&str, &str)]| {
        config(&injected(&annotated_pod(annotations)))["auto_auth"]["sinks"].clone()
    };
    let expected = json!([{ "type": "file", "config": { "path": "/vault/secrets/token" } }]);
    assert_eq!(
        sinks(&[SECRET, ("agent-inject-token", "true")]),
        expected,
        "as with the existing injector"
    );
    assert_eq!(
        sinks(&[SECRET, ("agent-inject-token", "false")]),
        Value::Null,
        "not otherwise"
    );
    let both = verdict(&annotated_pod(&[
        ("agent-inject-token", "true"),
        ("agent-inject-secret-token", "p"),
    ]))
    .warnings;
    assert!(
        both.iter().any(|w| w.contains("/vault/secrets/token")),
        "two files of one path: {both:?}"
    );
}

#[test]
fn a_template_may_come_from_the_extra_secret_and_from_nowhere_else() {
    let file = ("agent-inject-template-file-a", "/vault/custom/a.tmpl");
    let pod_with = injected(&annotated_pod(&[file, ("agent-extra-secret", "templates")]));
    assert_eq!(
        config(&pod_with)["template"][0]["source"],
        "/vault/custom/a.tmpl",
        "the agent reads the file"
    );
    let volumes = pod_with["spec"]["volumes"].as_array().expect("volumes");
    assert!(
        volumes.iter().any(|v| v["secret"]["secretName"] == "templates"),
        "the Secret is mounted"
    );
    let denial = denied(&annotated_pod(&[file]));
    assert!(
        denial.contains("agent-inject-template-file-a: there is no file"),
        "nothing is mounted: {denial}"
    );
    let elsewhere = ("agent-inject-template-file-a", "/etc/a.tmpl");
    assert!(
        denied(&annotated_pod(&[elsewhere, ("agent-extra-secret", "x")])).contains("/etc/a.tmpl"),
        "not in the image"
    );
}

#[test]
fn login_and_tls_settings_reach_the_agent() {
    let config = config(&injected(&annotated_pod(&[
        SECRET,
        ("tls-secret", "mine"),
        ("auth-min-backoff", "2s"),
        ("auth-max-backoff", "1m"),
        ("ca-key", "/vault/tls"),
        ("client-cert", "/vault/tls/c.crt"),
        ("client-key", "/vault/tls/c.key"),
        ("template-lease-renewal-threshold", "0.5"),
    ])));
    let method = &config["auto_auth"]["method"];
    assert_eq!(
        (&method["min_backoff"], &method["max_backoff"]),
        (&json!("2s"), &json!("1m")),
        "the backoffs"
    );
    let expected = json!({
        "address": "https://main.vault.svc:8200", "ca_path": "/vault/tls",
        "client_cert": "/vault/tls/c.crt", "client_key": "/vault/tls/c.key",
    });
    assert_eq!(
        config["vault"], expected,
        "the annotated CA folder replaces our CA"
    );
    assert_eq!(
        config["template_config"],
        json!({ "lease_renewal_threshold": 0.5 }),
        "the threshold"
    );
}

#[test]
fn a_configuration_too_large_for_a_variable_is_denied_by_its_largest_template() {
    let (fits, large) = ("x".repeat(80 << 10), "x".repeat(60 << 10));
    injected(&annotated_pod(&[("agent-inject-template-a", &fits)]));
    let denial = denied(&annotated_pod(&[
        ("agent-inject-template-a", &large),
        ("agent-inject-template-b", &large[..40 << 10]),
    ]));
    assert!(
        denial.starts_with("vault.hashicorp.com/agent-inject-template-a: ") && denial.contains("120 KiB"),
        "annotation and limit are named: {denial}"
    );
    let many: Vec<String> = (0..2000)
        .map(|n| format!("agent-inject-secret-{n:040}"))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "secret/data/x")).collect();
    assert!(
        denied(&annotated_pod(&many)).contains("fewer secrets"),
        "without templates the number is what is wrong"
    );
}

#[test]
fn a_template_that_would_overflow_the_stack_is_denied() {
    let text = format!("{{{{if 1}}}}a{}{{{{end}}}}", "{{else if 1}}".repeat(4000));
    let denial = denied(&annotated_pod(&[("agent-inject-template-a", &text)]));
    assert!(
        denial.contains("agent-inject-template-a: ") && denial.contains("else if"),
        "annotation and reason: {denial}"
    );
}
