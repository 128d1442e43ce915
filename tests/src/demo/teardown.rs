//! `testbed demo-down`.

use vaultkeeper_crds::names;

use super::consent;
use super::place::{self, Place, Target};
use super::{CLUSTER, RELEASE, SHOP_NAMESPACE, SYSTEM_NAMESPACE, VAULT_CLUSTER, VAULT_NAMESPACE, quickstart};
use crate::cluster::Cluster;
use crate::helm;
use crate::progress::say;

/// Removes every trace of the demo; from a cluster that is not ours only what the demo put there.
pub fn down(target: Target) -> anyhow::Result<()> {
    match target {
        Target::Testbed => testbed(),
        Target::Current => current(&place::current()?),
    }
}

fn testbed() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::list()?
        .into_iter()
        .find(|cluster| cluster.name() == CLUSTER)
    else {
        say("the demo is not up: nothing to remove");
        return Ok(());
    };
    cluster.down()?;
    say("the demo is gone");
    Ok(())
}

fn current(place: &Place) -> anyhow::Result<()> {
    let ours = consent::refuse_what_is_not_the_demos(place)?;
    let secrets = key_secrets(&ours);
    consent::ask(place, &question(&secrets))?;
    // VaultRoles and the VaultCluster go before the operator that cleans up after them.
    let mut delete = place.kubectl()?;
    delete.args(["delete", "--ignore-not-found", "--timeout=5m", "-f"]);
    helm::run(delete.arg(quickstart()))?;
    let mut uninstall = place.helm()?;
    uninstall.args(["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait"]);
    helm::run(uninstall.arg("--ignore-not-found"))?;
    if !secrets.is_empty() {
        // Last: until its data is gone these are what opens it.
        let mut delete = place.kubectl()?;
        delete.args([
            "delete",
            "secret",
            "--ignore-not-found",
            "--namespace",
            SYSTEM_NAMESPACE,
        ]);
        helm::run(delete.args(&secrets))?;
    }
    let kubectl = place.kubectl_for_people();
    say(&format!(
        "Left, because other Vaults may need them: the CustomResourceDefinitions, and the namespace {SYSTEM_NAMESPACE}\n\
         with the unseal keys of other Vaults, if there are any. To remove them, too:\n\n  \
         {kubectl} delete crd vaultclusters.vaultkeeper.dev vaultroles.vaultkeeper.dev\n  \
         {kubectl} delete namespace {SYSTEM_NAMESPACE}\n"
    ));
    Ok(())
}

/// The Secrets that outlive the quickstart's Vault. With them a Vault of the same name would wait for the lost data.
/// None if its namespace is not there: then they may be the keys of a Vault that somebody wants back.
fn key_secrets(namespaces: &[&str]) -> Vec<String> {
    if !namespaces.contains(&VAULT_NAMESPACE) {
        return Vec::new();
    }
    vec![
        names::key_secret(VAULT_NAMESPACE, VAULT_CLUSTER),
        names::ca_secret(VAULT_NAMESPACE, VAULT_CLUSTER),
    ]
}

/// Everything that is going to be lost.
fn question(secrets: &[String]) -> String {
    let keys = if secrets.is_empty() {
        String::new()
    } else {
        format!(
            "\nIt deletes the keys of that Vault in namespace {SYSTEM_NAMESPACE}: {}.",
            secrets.join(", ")
        )
    };
    format!(
        "It deletes the namespaces {VAULT_NAMESPACE} and {SHOP_NAMESPACE} with everything in them, the data of the Vault included,\n\
         and uninstalls the Helm release {RELEASE} from namespace {SYSTEM_NAMESPACE}.{keys}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_all_that_is_going_to_be_lost() {
        let secrets = key_secrets(&[VAULT_NAMESPACE, SHOP_NAMESPACE]);
        let question = question(&secrets);
        for lost in [
            "namespaces vault and shop",
            "vaultkeeper-system",
            "vault-keys.vault.main",
            "vault-ca.vault.main",
        ] {
            assert!(
                question.contains(lost),
                "the question should name {lost}: {question}"
            );
        }
    }

    #[test]
    fn keys_of_a_vault_whose_namespace_is_not_the_demos_are_not_touched() {
        assert!(
            key_secrets(&[SHOP_NAMESPACE]).is_empty(),
            "without the quickstart's namespace {VAULT_NAMESPACE} nothing says whose keys they are"
        );
    }
}
