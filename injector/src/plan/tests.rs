use serde_json::{Value, json};

use super::*;
use crate::admit::{Outcome, Verdict, read};
use crate::annotations;
use crate::review;
use crate::settings::Settings;

fn settings() -> Injection {
    use clap::Parser as _;
    Settings::parse_from(["x", "--namespace", "ns"]).injection
}

fn identity() -> Identity {
    Identity {
        role: "shop.app".to_owned(),
        address: "https://main.vault.svc:8200".to_owned(),
        ca_config_map: Some("vaultkeeper.vault.main".to_owned()),
    }
}

fn pod(annotations: &[(&str, &str)]) -> Value {
    let mut all = serde_json::Map::new();
    all.insert("vault.hashicorp.com/agent-inject".to_owned(), json!("true"));
    for (key, value) in annotations {
        all.insert(format!("vault.hashicorp.com/{key}"), json!(value));
    }
    json!({
        "metadata": { "name": "app", "namespace": "shop", "annotations": all },
        "spec": {
            "serviceAccountName": "app",
            "initContainers": [{ "name": "migrate", "image": "x" }],
            "containers": [
                { "name": "app", "image": "x", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
                { "name": "web", "image": "x", "securityContext": { "runAsUser": 4711 } },
            ],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    })
}

fn verdict(pod: &Value) -> Verdict {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "namespace": "shop", "operation": "CREATE", "object": pod },
    });
    let body = serde_json::to_vec(&review).expect("JSON");
    let (_, request) = review::read(&body).expect("a review");
    match read(&request) {
        Ok(wanted) => wanted.inject(identity(), &settings()),
        Err(verdict) => verdict,
    }
}

fn injected(pod: &Value) -> Value {
    match verdict(pod).outcome {
        Outcome::Injected(patch) => {
            let mut patched = pod.clone();
            json_patch::patch(&mut patched, &patch).expect("the patch fits the pod");
            patched
        }
        other => panic!("the pod should be injected: {other:?}"),
    }
}

fn denied(pod: &Value) -> String {
    match verdict(pod).outcome {
        Outcome::Denied(denial) => denial.to_string(),
        other => panic!("the pod should be denied: {other:?}"),
    }
}

fn sidecar(pod: &Value) -> &Value {
    let all = pod["spec"]["initContainers"].as_array().expect("init containers");
    all.iter()
        .find(|container| container["name"] == CONTAINER)
        .expect("the sidecar")
}

fn config(pod: &Value) -> Value {
    use base64::Engine as _;
    let env = sidecar(pod)["env"].as_array().expect("variables");
    let encoded = env
        .iter()
        .find(|e| e["name"] == "VAULT_CONFIG")
        .expect("VAULT_CONFIG")["value"]
        .as_str();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.expect("text"))
        .expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

const SECRET: (&str, &str) = ("agent-inject-secret-Config", "secret/data/shop");

#[test]
fn the_agents_configuration_follows_from_identity_and_annotations() {
    let pod = injected(&pod(&[
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
fn the_sidecar_is_native_last_and_restricted() {
    let pod = injected(&pod(&[SECRET]));
    let all = pod["spec"]["initContainers"].as_array().expect("init containers");
    assert_eq!(all.len(), 2, "one sidecar beside the pod's own init container");
    assert_eq!(
        all[1]["name"], CONTAINER,
        "the pod's own init containers come first"
    );
    let sidecar = sidecar(&pod);
    assert_eq!(
        sidecar["restartPolicy"], "Always",
        "that makes it a native sidecar"
    );
    assert_eq!(
        sidecar["startupProbe"]["exec"]["command"],
        json!(["/bin/vaultkeeper-agent", "ready"]),
        "the app waits"
    );
    assert_eq!(
        sidecar["securityContext"],
        json!({
            "runAsUser": 100, "runAsGroup": 1000, "runAsNonRoot": true, "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        }),
        "Pod Security restricted asks for these"
    );
    assert_eq!(
        sidecar["resources"],
        json!({ "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } }),
        "small, and no CPU limit"
    );
    assert_eq!(
        pod["metadata"]["annotations"]["vault.hashicorp.com/agent-inject-status"], "injected",
        "it is marked"
    );
}

#[test]
fn the_sidecar_comes_first_when_asked_to() {
    let pod = injected(&pod(&[SECRET, ("agent-init-first", "true")]));
    assert_eq!(
        pod["spec"]["initContainers"][0]["name"], CONTAINER,
        "before the pod's own init containers"
    );
    assert_eq!(
        pod["spec"]["initContainers"][1]["volumeMounts"],
        json!([{ "name": "vault-secrets", "mountPath": "/vault/secrets" }]),
        "which still get their mount"
    );
}

#[test]
fn every_container_gets_the_files_and_only_the_sidecar_the_token() {
    let pod = injected(&pod(&[SECRET]));
    let mounts = |container: &Value| {
        let all = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|mount| mount["name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        mounts(&pod["spec"]["containers"][0]),
        ["data", "vault-secrets"],
        "its own mount stays"
    );
    assert_eq!(
        mounts(&pod["spec"]["containers"][1]),
        ["vault-secrets"],
        "a list is made where there was none"
    );
    assert_eq!(
        mounts(&pod["spec"]["initContainers"][0]),
        ["vault-secrets"],
        "init containers too"
    );
    assert_eq!(
        mounts(sidecar(&pod)),
        ["vault-secrets", "vault-agent-token", "vault-agent-ca"],
        "all three"
    );
    assert_eq!(
        pod["spec"]["volumes"][1],
        json!({ "name": "vault-secrets", "emptyDir": { "medium": "Memory", "sizeLimit": "16Mi" } }),
        "in memory, with a limit"
    );
    assert_eq!(
        pod["spec"]["volumes"][3]["configMap"]["name"], "vaultkeeper.vault.main",
        "the cluster's CA"
    );
}

#[test]
fn chosen_containers_alone_get_the_files_and_a_wrong_name_is_warned_about() {
    let source = pod(&[SECRET, ("agent-inject-containers", "web, wbe")]);
    let patched = injected(&source);
    assert_eq!(
        patched["spec"]["containers"][0]["volumeMounts"]
            .as_array()
            .map(Vec::len),
        Some(1),
        "app is not chosen"
    );
    assert!(
        patched["spec"]["containers"][1]["volumeMounts"].is_array(),
        "web is"
    );
    let warnings = verdict(&source).warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("\"wbe\"")),
        "wbe does not exist: {warnings:?}"
    );
}

#[test]
fn a_second_pass_changes_nothing() {
    let again = verdict(&injected(&pod(&[SECRET])));
    assert!(
        matches!(again.outcome, Outcome::Skipped),
        "an injected pod is left alone: {again:?}"
    );
}

#[test]
fn a_pod_without_any_lists_is_injected_too() {
    let bare = json!({
        "metadata": { "annotations": {
            "vaultkeeper.dev/agent-inject": "true", "vaultkeeper.dev/agent-inject-secret-a": "p",
        } },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    });
    let patched = injected(&bare);
    assert_eq!(
        patched["spec"]["initContainers"].as_array().map(Vec::len),
        Some(1),
        "the list is made"
    );
    assert_eq!(
        patched["spec"]["volumes"].as_array().map(Vec::len),
        Some(3),
        "the list is made"
    );
}

#[test]
fn a_broken_template_is_denied_with_annotation_and_line() {
    let denial = denied(&pod(&[("agent-inject-template-a", "one\n{{ nope }}")]));
    assert!(
        denial
            .starts_with("vault.hashicorp.com/agent-inject-template-a: the template does not parse: line 2"),
        "annotation and line are named: {denial}"
    );
    injected(&pod(&[("agent-inject-template-a", "one\n{{ timestamp }}")]));
}

#[test]
fn other_delimiters_are_those_of_the_template_only() {
    let pod = injected(&pod(&[
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
fn names_and_paths_that_are_taken_are_denied() {
    let mut container = pod(&[SECRET]);
    container["spec"]["containers"][1]["name"] = json!("vault-agent");
    assert!(
        denied(&container).contains("container named vault-agent"),
        "the name is taken"
    );
    let mut volume = pod(&[SECRET]);
    volume["spec"]["volumes"][0]["name"] = json!("vault-secrets");
    assert!(
        denied(&volume).contains("volume named vault-secrets"),
        "the name is taken"
    );
    let mut path = pod(&[SECRET]);
    path["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/vault/secrets/");
    let denial = denied(&path);
    assert!(
        denial.contains("container app") && denial.contains("secret-volume-path"),
        "the path is taken: {denial}"
    );
    path["metadata"]["annotations"]["vault.hashicorp.com/secret-volume-path"] = json!("/secrets");
    assert_eq!(
        config(&injected(&path))["template"][0]["destination"],
        "/secrets/config",
        "elsewhere there is room"
    );
}

#[test]
fn files_keep_their_case_when_asked_to() {
    let names = |annotations: &[(&str, &str)]| {
        config(&injected(&pod(annotations)))["template"][0]["destination"]
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
    let warnings = verdict(&pod(&[SECRET, ("agent-inject-secret-config", "p")])).warnings;
    assert!(
        warnings.iter().any(|w| w.contains("/vault/secrets/config")),
        "both are one file: {warnings:?}"
    );
    let warnings = verdict(&pod(&[SECRET, ("agent-inject-secret-other", "p")])).warnings;
    assert!(warnings.is_empty(), "these are two: {warnings:?}");
}

#[test]
fn a_pod_without_secrets_is_injected_with_a_warning() {
    let warnings = verdict(&pod(&[])).warnings;
    assert!(
        warnings.iter().any(|w| w.contains("no secret")),
        "somebody forgot something: {warnings:?}"
    );
}

#[test]
fn an_annotated_ca_replaces_ours() {
    let pod = injected(&pod(&[
        SECRET,
        ("tls-secret", "mine"),
        ("ca-cert", "/vault/tls/ca.crt"),
    ]));
    assert_eq!(
        config(&pod)["vault"]["ca_cert"],
        "/vault/tls/ca.crt",
        "the annotated one"
    );
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(
        volumes.iter().all(|volume| volume["name"] != "vault-agent-ca"),
        "ours is not needed"
    );
    assert!(
        volumes
            .iter()
            .any(|volume| volume["secret"]["secretName"] == "mine"),
        "the Secret is mounted"
    );
}

#[test]
fn user_and_resources_can_be_annotated() {
    let pod_with = |annotations: &[(&str, &str)]| sidecar(&injected(&pod(annotations))).clone();
    let own = pod_with(&[
        SECRET,
        ("agent-run-as-user", "7"),
        ("agent-limits-mem", ""),
        ("agent-limits-cpu", "1"),
    ]);
    assert_eq!(own["securityContext"]["runAsUser"], 7, "the annotated user");
    assert_eq!(
        own["resources"]["limits"],
        json!({ "cpu": "1" }),
        "an empty limit is none"
    );
    let denial = denied(&pod(&[SECRET, ("agent-run-as-same-user", "true")]));
    assert!(
        denial.contains("agent-run-as-same-user"),
        "the first container's user is not known: {denial}"
    );
    let mut known = pod(&[SECRET, ("agent-run-as-same-user", "true")]);
    known["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 4711 });
    assert_eq!(
        sidecar(&injected(&known))["securityContext"]["runAsUser"],
        4711,
        "the first container's user"
    );
}

#[test]
fn a_secret_may_have_a_folder_of_its_own() {
    let pod = injected(&pod(&[
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
    let sinks =
        |annotations: &[(&str, &str)]| config(&injected(&pod(annotations)))["auto_auth"]["sinks"].clone();
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
    let both = verdict(&pod(&[
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
    let pod_with = injected(&pod(&[file, ("agent-extra-secret", "templates")]));
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
    let denial = denied(&pod(&[file]));
    assert!(
        denial.contains("agent-inject-template-file-a: there is no file"),
        "nothing is mounted: {denial}"
    );
    let elsewhere = ("agent-inject-template-file-a", "/etc/a.tmpl");
    assert!(
        denied(&pod(&[elsewhere, ("agent-extra-secret", "x")])).contains("/etc/a.tmpl"),
        "not in the image"
    );
}

#[test]
fn login_and_tls_settings_reach_the_agent() {
    let config = config(&injected(&pod(&[
        SECRET,
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
fn the_agents_own_folders_are_not_for_secrets() {
    for path in ["/bin", "/vault/tls", "/vaultkeeper/ca"] {
        let denial = denied(&pod(&[SECRET, ("secret-volume-path", path)]));
        assert!(
            denial.contains(&format!("the agent itself needs {path}")),
            "{path} must be refused: {denial}"
        );
    }
}

#[test]
fn windows_pods_and_pods_without_containers_are_denied() {
    let mut windows = pod(&[SECRET]);
    windows["spec"]["os"] = json!({ "name": "windows" });
    assert!(denied(&windows).contains("Windows"), "it would never start");
    let mut empty = pod(&[SECRET]);
    empty["spec"]["containers"] = json!([]);
    assert!(
        denied(&empty).contains("no containers"),
        "there is nothing to inject into"
    );
}

#[test]
fn the_same_pod_always_gives_the_same_patch() {
    let source = pod(&[
        SECRET,
        ("agent-inject-secret-b", "p"),
        ("agent-inject-secret-a", "p"),
    ]);
    assert_eq!(
        injected(&source).to_string(),
        injected(&source).to_string(),
        "the order is fixed"
    );
}

#[test]
fn every_planned_field_comes_from_an_annotation_or_a_setting() {
    let parsed = annotations::parse(&BTreeMap::new())
        .expect("nothing is no error")
        .0;
    let pod: Pod = serde_json::from_value(pod(&[])).expect("a pod");
    let settings = settings();
    let (plan, _) = plan(&pod, parsed, identity(), &settings).expect("it can be planned");
    assert_eq!(plan.run_as_user, settings.run_as_user, "the default user");
    assert_eq!(
        plan.config.auto_auth.method.mount_path, settings.auth_path,
        "the default path"
    );
    assert_eq!(plan.containers, [0, 1], "all containers");
}
