//! What the agent checks Vault's certificate against, and what it shows of its own.

use super::*;

#[test]
fn an_annotated_ca_replaces_ours() {
    let pod = injected(&annotated_pod(&[
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

/// Identities at a Vault whose CA no VaultRole gives.
fn foreign(address: &str) -> Identity {
    Identity {
        role: "legacy".to_owned(),
        address: address.to_owned(),
        ca_config_map: None,
        auth_path: None,
        namespace: None,
        audience: None,
    }
}

fn planned(identity: Identity, given: &[(&str, &str)]) -> Result<Plan, String> {
    let pod: Pod = serde_json::from_value(annotated_pod(given)).expect("a pod");
    let (parsed, _) = annotations::parse(&pod.metadata.annotations).expect("the annotations are good");
    plan(&pod, parsed, identity, &settings())
        .map(|(plan, _)| plan)
        .map_err(|denial| denial.to_string())
}

#[test]
fn an_https_address_without_a_ca_is_denied_with_the_way_to_give_one() {
    let service = ("service", "https://vault.example:8200");
    let denial = planned(foreign(service.1), &[SECRET, service]).expect_err("nothing vouches for it");
    assert!(
        denial.starts_with("vault.hashicorp.com/service: ")
            && denial.contains("https://vault.example:8200")
            && denial.contains("vault.hashicorp.com/tls-secret")
            && denial.contains("/vault/tls/ca.crt in vault.hashicorp.com/ca-cert"),
        "annotation, address and remedy: {denial}"
    );
    let denial = planned(foreign("https://default:8200"), &[SECRET]).expect_err("nor for the default");
    assert!(
        denial.starts_with("no VaultRole gives the CA of https://default:8200"),
        "the default address is in no annotation: {denial}"
    );
    for ca in [("ca-cert", "/vault/tls/ca.crt"), ("ca-key", "/vault/tls")] {
        planned(foreign(service.1), &[SECRET, service, ("tls-secret", "mine"), ca])
            .unwrap_or_else(|denial| panic!("with {ca:?} there is a CA: {denial}"));
    }
    planned(foreign("http://vault.example:8200"), &[SECRET]).expect("without TLS there is nothing to check");
}

#[test]
fn a_certificate_at_a_path_that_nothing_mounts_is_denied_by_its_annotation() {
    for key in ["ca-cert", "ca-key", "client-cert", "client-key"] {
        for (path, secret) in [
            ("/vault/tls/x", None),
            ("/vault/tls/x", Some("agent-extra-secret")),
            ("/vault/custom/x", Some("tls-secret")),
            ("/vault/tlsx/x", Some("tls-secret")),
            ("/etc/ssl/x", Some("tls-secret")),
            // Left out when another CA is annotated.
            ("/vaultkeeper/ca/ca.crt", Some("tls-secret")),
            ("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", None),
        ] {
            let mut all = vec![SECRET, (key, path)];
            all.extend(secret.map(|key| (key, "mine")));
            let denial = denied(&annotated_pod(&all));
            assert!(
                denial.starts_with(&format!("vault.hashicorp.com/{key}: there is no "))
                    && denial.contains(path)
                    && denial.contains("vault.hashicorp.com/tls-secret"),
                "{key}: {path} with {secret:?} should be denied by key and path with the remedy: {denial}"
            );
        }
    }
}

#[test]
fn certificates_may_come_from_either_secret() {
    for (secret, folder) in [
        ("tls-secret", "/vault/tls"),
        ("agent-extra-secret", "/vault/custom"),
    ] {
        let path = |file: &str| format!("{folder}/{file}");
        let pod = injected(&annotated_pod(&[
            SECRET,
            (secret, "mine"),
            ("ca-cert", &path("ca.crt")),
            ("client-cert", &path("client.crt")),
            ("client-key", &path("client.key")),
        ]));
        assert_eq!(
            config(&pod)["vault"]["client_key"],
            path("client.key"),
            "{secret} is mounted at {folder}"
        );
    }
    let denial = denied(&annotated_pod(&[
        SECRET,
        ("tls-secret", "mine"),
        ("ca-cert", "/vault/tls"),
    ]));
    assert!(
        denial.contains("there is no file /vault/tls"),
        "a folder is no file: {denial}"
    );
}

#[test]
fn the_ca_beside_the_service_accounts_token_may_be_vaults_too() {
    let ca = ("ca-cert", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
    let mut pod = annotated_pod(&[SECRET, ca]);
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "kube-api-access-x", "mountPath": folder }]);
    assert_eq!(
        config(&injected(&pod))["vault"]["ca_cert"],
        ca.1,
        "Kubernetes mounts it into every container of this pod"
    );
}

#[test]
fn a_client_certificate_and_its_key_come_together() {
    for (one, other) in [("client-cert", "client-key"), ("client-key", "client-cert")] {
        let denial = denied(&annotated_pod(&[
            SECRET,
            ("tls-secret", "mine"),
            (one, "/vault/tls/x"),
        ]));
        assert!(
            denial.starts_with(&format!("vault.hashicorp.com/{one}: ")) && denial.contains(other),
            "both halves are named: {denial}"
        );
    }
}
