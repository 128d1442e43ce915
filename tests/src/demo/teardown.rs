//! `testbed demo-down`.

use super::place::{self, Place, Target};
use super::{CLUSTER, RELEASE, SYSTEM_NAMESPACE, quickstart};
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
    place::confirm(
        place,
        &format!(
            "It deletes what examples/quickstart.yaml holds, with the data of that Vault, and uninstalls the\n\
             Helm release {RELEASE}."
        ),
    )?;
    // VaultRoles and the VaultCluster go before the operator that cleans up after them.
    let mut delete = place.kubectl()?;
    delete.args(["delete", "--ignore-not-found", "--timeout=5m", "-f"]);
    helm::run(delete.arg(quickstart()))?;
    let mut uninstall = place.helm()?;
    uninstall.args(["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait"]);
    helm::run(uninstall.arg("--ignore-not-found"))?;
    let kubectl = place.kubectl_for_people();
    say(&format!(
        "Left, because other Vaults may need them: the CustomResourceDefinitions, and the namespace {SYSTEM_NAMESPACE}\n\
         with the unseal keys. To remove them, too:\n\n  \
         {kubectl} delete crd vaultclusters.vaultkeeper.dev vaultroles.vaultkeeper.dev\n  \
         {kubectl} delete namespace {SYSTEM_NAMESPACE}\n"
    ));
    Ok(())
}
