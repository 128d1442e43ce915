//! No root token is alive or stored once a cluster is set up.

use serde_json::Value;
use vaultkeeper_vault::Error;

use super::installation::{Installation, SHOP, SYSTEM, VAULT, installation};

#[test]
fn the_first_root_token_is_refused_and_no_other_is_alive() {
    let Some(installed) = installation() else { return };
    let token = installed.first_root_token.clone();
    let leader = installed.leader().unwrap();
    let answer = installed
        .at_member(leader, |vault| async move {
            Ok(vault.with_token(&token).lookup_self().await)
        })
        .unwrap();
    assert!(
        matches!(answer, Err(Error::Denied { .. })),
        "the first root token must be refused, got {answer:?}"
    );

    let (own_is_listed, alive) = installed
        .as_root(|vault| async move {
            let own = vault.lookup_self().await?.accessor;
            let accessors = vault.list_accessors().await?;
            let own_is_listed = accessors.contains(&own);
            let mut roots = Vec::new();
            for accessor in accessors {
                match vault.lookup_accessor(&accessor).await {
                    Ok(info) if info.is_root() && info.accessor != own => roots.push(accessor),
                    // It expired between the two calls.
                    Ok(_) | Err(Error::BadRequest { .. } | Error::Denied { .. } | Error::NotFound { .. }) => {
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok((own_is_listed, roots))
        })
        .unwrap();
    assert!(
        own_is_listed,
        "the list of accessors should hold that of the asking root token: else it would miss others, too"
    );
    assert!(
        alive.is_empty(),
        "accessors of root tokens that are alive: {alive:?}"
    );
}

#[test]
fn no_secret_anywhere_holds_a_root_token_and_the_keys_lie_with_the_operator_only() {
    let Some(installed) = installation() else { return };
    let all: Value = serde_json::from_str(
        &installed
            .kubectl(&["get", "secrets", "-A", "-o", "json"])
            .unwrap(),
    )
    .unwrap();
    let secrets = all["items"].as_array().unwrap();
    assert!(!secrets.is_empty(), "there are Secrets to look at");
    for secret in secrets {
        let (namespace, name) = (
            secret["metadata"]["namespace"].as_str().unwrap(),
            secret["metadata"]["name"].as_str().unwrap(),
        );
        let Some(data) = secret["data"].as_object() else {
            continue;
        };
        assert!(
            !data.contains_key("root-token"),
            "{namespace}/{name} holds a root token"
        );
        for (key, value) in data {
            let text = decode(value);
            assert!(
                !text.contains(installed.first_root_token.expose()),
                "{namespace}/{name} holds the first root token in {key}"
            );
            assert!(
                !key.starts_with("share-") || namespace == SYSTEM,
                "{namespace}/{name} holds a share beside the apps"
            );
        }
    }
}

/// Values of Secrets that open something, by their keys.
fn what_opens(installed: &Installation) -> Vec<(String, String)> {
    let opens = |key: &str| key.starts_with("share-") || ["ca.key", "tls.key", "secret-id"].contains(&key);
    let mut found = vec![(
        "the first root token".to_owned(),
        installed.first_root_token.expose().to_owned(),
    )];
    for namespace in [SYSTEM, VAULT, SHOP] {
        let all = installed.get(namespace, "secrets").unwrap();
        for secret in all["items"].as_array().unwrap() {
            let data = secret["data"].as_object().into_iter().flatten();
            for (key, value) in data.filter(|(key, _)| opens(key)) {
                // Of a key in PEM its second line.
                let text = decode(value);
                let line = text.lines().find(|line| !line.starts_with("-----"));
                found.push((key.clone(), line.unwrap_or_default().trim().to_owned()));
            }
        }
    }
    found.retain(|(_, text)| text.len() >= 20);
    found
}

#[test]
fn nobody_finds_a_secret_in_logs_events_or_descriptions() {
    let Some(installed) = installation() else { return };
    let secrets = what_opens(&installed);
    for key in ["share-1", "ca.key", "tls.key", "secret-id"] {
        assert!(
            secrets.iter().any(|(k, _)| k == key),
            "{key} should be among what is looked for"
        );
    }
    let mut looks = vec![vec!["get", "events", "-A", "-o", "yaml"]];
    for selector in [
        "app.kubernetes.io/component=operator",
        "app.kubernetes.io/component=injector",
    ] {
        looks.push(vec![
            "logs",
            "-n",
            SYSTEM,
            "-l",
            selector,
            "--tail=-1",
            "--all-containers",
        ]);
    }
    for kind in ["vc,vr", "pods,statefulsets,configmaps,secrets"] {
        looks.push(vec!["describe", kind, "-A"]);
    }
    for look in looks {
        let text = installed.kubectl(&look).unwrap();
        assert!(text.len() > 200, "{look:?} should show something: {text}");
        for (key, value) in &secrets {
            assert!(!text.contains(value.as_str()), "kubectl {look:?} shows {key}");
        }
    }
}

fn decode(value: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
