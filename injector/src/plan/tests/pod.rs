//! What becomes of the pod.

use super::*;

#[test]
fn the_sidecar_is_native_last_and_restricted() {
    let pod = injected(&annotated_pod(&[SECRET]));
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
fn at_a_vault_elsewhere_the_agent_shows_a_token_that_the_api_server_does_not_take() {
    let elsewhere = Identity {
        address: "https://vault.example.com:8200".to_owned(),
        audience: Some("vaultkeeper.dev/clients/u-1/vault.example.com:8200".to_owned()),
        auth_path: Some("auth/clusters/prod".to_owned()),
        namespace: Some("team".to_owned()),
        ..identity()
    };
    let token = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        let found = volumes.iter().find(|volume| volume["name"] == TOKEN_VOLUME);
        found.expect("the token's volume")["projected"]["sources"][0]["serviceAccountToken"].clone()
    };
    let pod = injected_as(elsewhere, &annotated_pod(&[SECRET]));
    assert_eq!(
        token(&pod)["audience"],
        "vaultkeeper.dev/clients/u-1/vault.example.com:8200"
    );
    let method = &config(&pod)["auto_auth"]["method"];
    assert_eq!(
        (&method["mount_path"], &method["namespace"]),
        (&json!("auth/clusters/prod"), &json!("team"))
    );
    let here = injected(&annotated_pod(&[SECRET]));
    assert_eq!(token(&here)["audience"], Value::Null, "the usual one");
}

#[test]
fn the_agent_knows_that_the_kubelet_starts_it_again_whenever_it_ends() {
    let pod = injected(&annotated_pod(&[SECRET]));
    let sidecar = sidecar(&pod);
    assert_eq!(sidecar["restartPolicy"], "Always", "a native sidecar");
    let env = sidecar["env"].as_array().unwrap();
    assert!(
        env.contains(&json!({ "name": "VAULTKEEPER_NATIVE_SIDECAR", "value": "true" })),
        "it is told so: {env:?}"
    );
}

#[test]
fn the_sidecar_comes_first_when_asked_to() {
    let pod = injected(&annotated_pod(&[SECRET, ("agent-init-first", "true")]));
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
    let pod = injected(&annotated_pod(&[SECRET]));
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
    let source = annotated_pod(&[SECRET, ("agent-inject-containers", "web, wbe")]);
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
    let again = verdict(&injected(&annotated_pod(&[SECRET])));
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
fn names_and_paths_that_are_taken_are_denied() {
    let mut container = annotated_pod(&[SECRET]);
    container["spec"]["containers"][1]["name"] = json!("vault-agent");
    assert!(
        denied(&container).contains("container named vault-agent"),
        "the name is taken"
    );
    let mut volume = annotated_pod(&[SECRET]);
    volume["spec"]["volumes"][0]["name"] = json!("vault-secrets");
    assert!(
        denied(&volume).contains("volume named vault-secrets"),
        "the name is taken"
    );
    let mut path = annotated_pod(&[SECRET]);
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
fn the_user_can_be_annotated() {
    let own = injected(&annotated_pod(&[SECRET, ("agent-run-as-user", "7")]));
    assert_eq!(
        sidecar(&own)["securityContext"]["runAsUser"],
        7,
        "the annotated user"
    );
    let denial = denied(&annotated_pod(&[SECRET, ("agent-run-as-same-user", "true")]));
    assert!(
        denial.contains("agent-run-as-same-user"),
        "the first container's user is not known: {denial}"
    );
    let mut known = annotated_pod(&[SECRET, ("agent-run-as-same-user", "true")]);
    known["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 4711 });
    assert_eq!(
        sidecar(&injected(&known))["securityContext"]["runAsUser"],
        4711,
        "the first container's user"
    );
}

#[test]
fn the_agents_own_folders_are_not_for_secrets() {
    for path in ["/bin", "/vault/tls", "/vaultkeeper/ca"] {
        let denial = denied(&annotated_pod(&[SECRET, ("secret-volume-path", path)]));
        assert!(
            denial.contains(&format!("the agent itself needs {path}")),
            "{path} must be refused: {denial}"
        );
    }
}

#[test]
fn windows_pods_and_pods_without_containers_are_denied() {
    let mut windows = annotated_pod(&[SECRET]);
    windows["spec"]["os"] = json!({ "name": "windows" });
    assert!(denied(&windows).contains("Windows"), "it would never start");
    let mut empty = annotated_pod(&[SECRET]);
    empty["spec"]["containers"] = json!([]);
    assert!(
        denied(&empty).contains("no containers"),
        "there is nothing to inject into"
    );
}

#[test]
fn the_same_pod_always_gives_the_same_patch() {
    let source = annotated_pod(&[
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
    let pod: Pod = serde_json::from_value(annotated_pod(&[])).expect("a pod");
    let settings = settings();
    let (plan, _) = plan(&pod, parsed, identity(), &settings).expect("it can be planned");
    assert_eq!(plan.run_as_user, settings.run_as_user, "the default user");
    assert_eq!(
        plan.config.auto_auth.method.mount_path, settings.auth_path,
        "the default path"
    );
    assert_eq!(plan.containers, [0, 1], "all containers");
}

#[test]
fn a_pod_marked_as_injected_is_left_alone_and_told_so_unless_the_agent_is_there() {
    let marked = annotated_pod(&[SECRET, ("agent-inject-status", "injected")]);
    let answer = verdict(&marked);
    assert!(
        matches!(answer.outcome, Outcome::Skipped),
        "the mark is honoured: {:?}",
        answer.outcome
    );
    assert!(
        answer.warnings.len() == 1
            && answer.warnings[0].contains("vault.hashicorp.com/agent-inject-status")
            && answer.warnings[0].contains("remove the annotation"),
        "the reason and the remedy: {:?}",
        answer.warnings
    );
    let again = verdict(&injected(&annotated_pod(&[SECRET])));
    assert!(
        matches!(again.outcome, Outcome::Skipped) && again.warnings.is_empty(),
        "a second invocation is no news: {again:?}"
    );
}
