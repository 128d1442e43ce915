//! What a VaultRole gives, and that all of it goes with it.

use std::fs;

use serde_json::json;
use vaultkeeper_crds::names;
use vaultkeeper_tests::{helm, wait};
use vaultkeeper_vault::Error;

use super::installation::{DEADLINE, SHOP, installation};

#[test]
fn the_credentials_in_the_secret_do_what_the_policy_allows_and_nothing_else() {
    let Some(installed) = installation() else { return };
    let (own, foreign, written) = installed
        .as_writer(|vault| async move {
            vault
                .write("secret/data/shop/probe", &json!({"data": {"a": "b"}}))
                .await?;
            let own = vault.read("secret/data/shop/probe").await;
            let foreign = vault.read("secret/data/other/probe").await;
            let written = vault
                .write("secret/data/other/probe", &json!({"data": {"a": "b"}}))
                .await;
            Ok((own, foreign, written))
        })
        .unwrap();
    assert!(own.is_ok(), "what the policy allows works: {own:?}");
    assert!(
        matches!(foreign, Err(Error::Denied { .. })),
        "another path is denied, got {foreign:?}"
    );
    assert!(
        matches!(written, Err(Error::Denied { .. })),
        "writing there is denied, got {written:?}"
    );
}

#[test]
fn the_writers_commands_in_readme_work_as_written_and_show_no_credential_to_the_api_server() {
    let Some(installed) = installation() else { return };
    let readme = fs::read_to_string(helm::repository().join("README.md")).unwrap();
    let commands = readme
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("auth/approle/login"))
        .expect("README logs in as the writer");
    installed.write("not yet").unwrap();
    let seen = installed.type_in(commands).unwrap();
    installed
        .until_file("deployment/app", "/vault/secrets/config", "greeting=hello")
        .unwrap();

    // What kubectl is called with is in the audit log, as parameters of the request for `exec`.
    let secret_id = installed
        .kubectl(&[
            "get",
            "secret",
            "-n",
            SHOP,
            "vault-approle",
            "-o",
            "go-template={{index .data \"secret-id\" | base64decode}}",
        ])
        .unwrap();
    assert!(
        seen.contains("vault write -field=token auth/approle/login") && seen.contains("vault kv put"),
        "both commands should go through kubectl exec: {seen}"
    );
    assert!(
        !secret_id.is_empty() && !seen.contains(&secret_id),
        "the secret-id should go in by standard input"
    );
    assert!(!seen.contains("hvs."), "the token should go in by standard input");
}

#[test]
fn a_role_outside_its_namespaces_paths_is_refused_with_the_field_and_makes_nothing() {
    let Some(installed) = installation() else { return };
    installed
        .apply(
            "apiVersion: vaultkeeper.dev/v1alpha1\nkind: VaultRole\nmetadata: {name: greedy, namespace: shop}\nspec:\n  \
             cluster: {name: main, namespace: vault}\n  policy:\n    rules: [{path: secret/data/other/x, capabilities: [read]}]\n  \
             appRole: {secretName: greedy}\n",
        )
        .unwrap();
    let status = wait::until("the refusal", DEADLINE, || {
        let role = installed.get(SHOP, "vaultrole/greedy")?;
        let conditions = role["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .into_iter()
            .find(|c| c["type"] == "Accepted" && c["status"] == "False")
            .ok_or_else(|| anyhow::anyhow!("not yet: {role}"))
    })
    .unwrap();
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("spec.policy.rules") && message.contains("secret/data/other/x"),
        "the field is named: {message}"
    );
    assert!(installed.get(SHOP, "secret/greedy").is_err(), "no Secret is made");
    let policy = installed
        .as_root(|vault| async move { Ok(vault.read_policy(&names::vault_name(SHOP, "greedy")).await) })
        .unwrap();
    assert!(
        matches!(policy, Err(Error::NotFound { .. })),
        "no policy is made: {policy:?}"
    );
    installed
        .kubectl(&["delete", "vr", "-n", SHOP, "greedy"])
        .unwrap();
}

#[test]
fn a_deleted_role_leaves_no_policy_no_role_and_no_secret() {
    let Some(installed) = installation() else { return };
    installed
        .apply(
            "apiVersion: vaultkeeper.dev/v1alpha1\nkind: VaultRole\nmetadata: {name: passing, namespace: shop}\nspec:\n  \
             cluster: {name: main, namespace: vault}\n  policy:\n    rules: [{path: secret/data/shop/passing, capabilities: [read]}]\n  \
             appRole: {secretName: passing}\n  kubernetes: {serviceAccounts: [passing]}\n",
        )
        .unwrap();
    installed.wait_for(SHOP, &["vaultrole/passing"], "Ready").unwrap();
    installed
        .get(SHOP, "secret/passing")
        .expect("the Secret is there");
    assert!(
        left_in_vault(&installed).iter().all(|(_, there)| *there),
        "all is there: {:?}",
        left_in_vault(&installed)
    );

    installed
        .kubectl(&["delete", "vr", "-n", SHOP, "passing", "--timeout=240s"])
        .unwrap();
    let left: Vec<_> = left_in_vault(&installed)
        .into_iter()
        .filter(|(_, there)| *there)
        .collect();
    assert!(left.is_empty(), "left in Vault: {left:?}");
    assert!(
        installed.get(SHOP, "secret/passing").is_err(),
        "the Secret is gone"
    );
}

fn left_in_vault(installed: &super::installation::Installation) -> Vec<(&'static str, bool)> {
    installed
        .as_root(|vault| async move {
            let name = names::vault_name(SHOP, "passing");
            Ok(vec![
                ("policy", is_there(vault.read_policy(&name).await)?),
                (
                    "AppRole role",
                    is_there(vault.approle(names::APPROLE_AUTH_PATH).read_role(&name).await)?,
                ),
                (
                    "Kubernetes role",
                    is_there(
                        vault
                            .kubernetes(names::KUBERNETES_AUTH_PATH)
                            .read_role(&name)
                            .await,
                    )?,
                ),
            ])
        })
        .unwrap()
}

fn is_there<T>(answer: Result<T, Error>) -> anyhow::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
